use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_config::{LocalConfig, Origin};
use hotshoe_daemon::deploy::installed_keys;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use serde::Serialize;
use serde_json::Value;

use crate::fleet::local::CONFIG;

/// Show the configuration of this device, with the origin of each value
///
/// Lists every key of hotshoe.toml with its value, and whether the device's own file sets it, a release of kind `config`, or neither. A key
/// of the own file always wins. It works with and without a running daemon, and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe config --config hotshoe.toml
  hotshoe config --set --json | jq '.keys[] | select(.from == \"fleet\")'

Exit codes: 0 shown, 1 the configuration cannot be used, 2 wrong usage.")]
pub(crate) struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Leave out the keys with their default value
    #[arg(long)]
    set: bool,
}

#[derive(Serialize)]
struct Report {
    /// The `config` release. `None` without one.
    release: Option<FleetRelease>,
    /// The keys.
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct FleetRelease {
    name: String,
    generation: u64,
    release: String,
    /// Whether it is not confirmed yet.
    trial: bool,
    /// Its keys that the device's own file sets too, which has the last word.
    overridden: Vec<String>,
}

#[derive(Serialize)]
struct Key {
    key: String,
    value: Value,
    from: Origin,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let path = args.config.as_path();
    let local = LocalConfig::load(path);
    let local = local.with_context(|| format!("cannot use {}", path.display()))?;
    let report = report(&local, args.set)?;
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(it) = &report.release {
        let trial = if it.trial { ", on trial" } else { "" };
        terminal.print(format!("{} generation {}{trial}", it.name, it.generation))?;
        for key in &it.overridden {
            terminal.print(format!("{key} is set by the device's own file"))?;
        }
    }
    let rows = report.keys.iter().map(|key| {
        vec![
            key.key.clone(),
            key.value.to_string(),
            key.from.name().to_owned(),
        ]
    });
    terminal.print(terminal.table(&["key", "value", "from"], rows))?;
    Ok(ExitCode::SUCCESS)
}

fn report(local: &LocalConfig, only_set: bool) -> anyhow::Result<Report> {
    let installed = installed_keys(local)?;
    let (config, fleet) = match &installed {
        Some(installed) => (local.with(&installed.fleet)?, installed.fleet.keys()),
        None => (local.config().clone(), Default::default()),
    };
    let mut keys = Vec::new();
    collect(
        String::new(),
        serde_json::to_value(config)?,
        &mut |key, value| {
            let from = local.origin(&fleet, &key);
            if !only_set || from != Origin::Default {
                keys.push(Key { key, value, from });
            }
        },
    );
    let release = installed.map(|installed| {
        let open = local.left_open(&installed.fleet);
        FleetRelease {
            name: installed.slot.name,
            generation: installed.slot.generation,
            release: installed.slot.release.to_string(),
            trial: installed.is_trial,
            overridden: fleet.difference(&open).cloned().collect(),
        }
    });
    Ok(Report { release, keys })
}

/// Gives `found` each value that is not a table, with its key.
fn collect(above: String, value: Value, found: &mut impl FnMut(String, Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let key = if above.is_empty() {
                    name
                } else {
                    format!("{above}.{name}")
                };
                collect(key, value, found);
            }
        }
        value => found(above, value),
    }
}
