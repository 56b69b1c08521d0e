use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::ZenohMode;
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_trust::Digest;
use serde::Serialize;

use crate::fleet::error::FleetError;
use crate::fleet::reach::ReachArgs;
use crate::logging::{self, Log};
use crate::signals::{self, End, Task};
use crate::terminal::{Terminal, size};

/// What a registry is called where nothing else is said: what `hotshoe zenoh-acl` expects in its certificate.
const DEFAULT_NAME: &str = "registry";

/// Hold a site's releases
///
/// Takes every release that is published to its site and that trusted keys signed, keeps it in its data folder, and answers for
/// it, so that devices find it when the publisher has gone. Two registries of one site are redundant. With --router it also
/// passes messages on between all that connect to it, so that a site needs no other server. It runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the one server of a site, from the file that `hotshoe site init` makes; flags win over it
  hotshoe registry --config lab/registry/registry.toml
  hotshoe publish my-release --site-dir lab

Example: on this machine alone, without certificates
  hotshoe registry --site lab --data registry --trust trust.toml --router --listen tcp/127.0.0.1:7447
  hotshoe publish my-release --site lab --connect tcp/127.0.0.1:7447

registry.toml:
  site = \"lab\"
  name = \"registry\"
  data = \"data\"
  trust = \"trust.toml\"
  quota-mib = 16384
  [zenoh]
  mode = \"router\"
  listen = [\"tls/0.0.0.0:7447\"]
  access-control = \"acl.json\"          # see `hotshoe zenoh-acl`
  [zenoh.tls]
  ca = \"ca.pem\"
  certificate = \"registry.pem\"
  key = \"registry.key\"

SIGHUP reads the file again: `quota-mib`, `keep`, `max-bytes-per-second` and `[log]` are applied, and the log names the other keys that
changed, which need a restart.

With --json, a line when it listens, and a line with what it holds at the end.")]
pub struct Args {
    /// The site
    #[arg(long, value_name = "SITE", required_unless_present = "config")]
    site: Option<String>,
    /// Its folder; it is created
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Whose signatures it accepts (trust.toml)
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    trust: Option<PathBuf>,
    /// Its name, different from that of the site's other registries [default: registry]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A Zenoh endpoint to listen on; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Pass messages on between all that connect to it
    #[arg(long)]
    router: bool,
    /// Most that its releases may take on the disk; the oldest go first
    #[arg(long, value_name = "MIB")]
    quota_mib: Option<u64>,
    /// Take all of this from a file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
}

/// A line when it has begun.
#[derive(Serialize)]
struct Begun<'a> {
    site: &'a str,
    name: &'a str,
    locators: Vec<String>,
}

/// A release that it holds.
#[derive(Serialize)]
struct Row {
    name: String,
    generation: u64,
    release: Digest,
}

/// A line at the end.
#[derive(Serialize)]
struct Ended {
    held: Vec<Row>,
    /// Bytes of releases that were sent.
    sent: u64,
    /// Statements and releases that were refused.
    refused: u64,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let parts = Supervisor::default();
    let log = logging::serve(&parts)?;
    let config = args.settings()?;
    log.apply(&config.log)?;
    let tasks = signals::serve(&parts)?;
    let (site, name) = (config.site.clone(), config.name.clone());
    let registry = Registry::start_with(&config, parts).context("cannot start the registry")?;
    let begun = Begun {
        site: &site,
        name: &name,
        locators: registry.locators(),
    };
    say_begun(&begun, terminal).unwrap_or_else(|error| not_said(&error));
    let end = loop {
        match tasks.next() {
            Task::Reload => reload(&registry, &log, &args),
            Task::End(end) => break end,
        }
    };
    match &end {
        End::Signal(signal) => tracing::info!(signal, "ending"),
        End::Dead(dead) => tracing::error!(part = dead.name, cause = dead.cause, "ending"),
    }
    let ended = Ended {
        held: held(&registry),
        sent: registry.sent(),
        refused: registry.refused(),
    };
    registry.stop();
    if terminal.json {
        terminal
            .json_line(&ended)
            .unwrap_or_else(|error| not_said(&error));
    } else {
        terminal.note(format!(
            "{} releases kept, {} sent, {} refused",
            ended.held.len(),
            size(ended.sent),
            ended.refused
        ));
    }
    if let End::Dead(dead) = end {
        bail!(
            "the registry ended because a part of it did: {}: {}; start it again",
            dead.name,
            dead.cause
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn say_begun(begun: &Begun<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json_line(begun);
    }
    let Begun { site, name, .. } = begun;
    for locator in &begun.locators {
        terminal.print(format!("registry {name} of site {site} at {locator}"))?;
    }
    Ok(())
}

/// Standard output cannot be written: a registry serves all the same.
fn not_said(error: &anyhow::Error) {
    tracing::warn!(
        error = format!("{error:#}"),
        "what the registry has to say could not be said"
    );
}

/// Reads the configuration again. Whatever is wrong with it, the registry serves on as it did.
fn reload(registry: &Registry, log: &Log, args: &Args) {
    let Some(path) = &args.config else {
        tracing::warn!(
            "there is no configuration to read again: this registry was started with flags alone, and a restart changes them"
        );
        return;
    };
    if let Err(error) = try_reload(registry, log, args, path) {
        tracing::error!(
            path = %path.display(),
            error = format!("{error:#}"),
            "the configuration was not reloaded, and nothing of it is applied"
        );
    }
}

fn try_reload(registry: &Registry, log: &Log, args: &Args, path: &Path) -> anyhow::Result<()> {
    // A pipe would hold up this thread, and with it the end.
    let kind = path.metadata().context("cannot read the configuration")?;
    if !kind.is_file() {
        bail!("the configuration is not a file");
    }
    let new = args.settings()?;
    let reloaded = registry.reload(&new)?;
    log.apply(&new.log)?;
    if logging::is_pinned() {
        tracing::info!("`log.filter` is not looked at: the environment's RUST_LOG wins over it");
    }
    if reloaded.trust_changed {
        tracing::warn!(
            "the file of the trusted keys has changed and is not read now: publish it with `hotshoe trust publish`, or start the registry again"
        );
    }
    let words = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>().join(", ");
    tracing::info!(
        applied = words(reloaded.applied),
        path = %path.display(),
        "the configuration was reloaded"
    );
    if !reloaded.needs_restart.is_empty() {
        tracing::warn!(
            keys = words(reloaded.needs_restart),
            "these keys changed and need a restart"
        );
    }
    Ok(())
}

fn held(registry: &Registry) -> Vec<Row> {
    let held = registry.held().into_iter();
    held.map(|it| Row {
        name: it.name,
        generation: it.generation,
        release: it.release,
    })
    .collect()
}

impl Args {
    /// The file, with the flags over it.
    fn settings(&self) -> anyhow::Result<RegistryConfig> {
        if let Some(folder) = &self.reach.site_dir {
            bail!(
                "--site-dir is for those who publish; give --config {}",
                folder.join("registry/registry.toml").display()
            );
        }
        let mut config = match (&self.config, &self.site, &self.data, &self.trust) {
            (Some(path), ..) => RegistryConfig::load(path)
                .with_context(|| format!("cannot use {}", path.display()))?,
            (None, Some(site), Some(data), Some(trust)) => {
                let mut config = RegistryConfig::new(site, DEFAULT_NAME);
                config.data.clone_from(data);
                config.trust.clone_from(trust);
                config
            }
            _ => bail!("give --site, --data and --trust, or --config"),
        };
        if self.config.is_some() {
            config.site = self.site.clone().unwrap_or(config.site);
            config.data = self.data.clone().unwrap_or(config.data);
            config.trust = self.trust.clone().unwrap_or(config.trust);
        }
        if let Some(name) = &self.name {
            config.name.clone_from(name);
        }
        if let Some(quota) = self.quota_mib {
            config.quota_mib = quota;
        }
        self.reach.apply(&mut config.zenoh);
        config.zenoh.listen.extend(self.listen.iter().cloned());
        if self.router {
            config.zenoh.mode = ZenohMode::Router;
        }
        let zenoh = &config.zenoh;
        if zenoh.listen.is_empty() && zenoh.connect.is_empty() && !zenoh.scouting {
            return Err(FleetError::Nowhere { may_listen: true }.into());
        }
        Ok(config)
    }
}
