use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_daemon::config::ZENOH_BLOCK_LIMIT_MS;
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_daemon::deploy::Command;
use hotshoe_daemon::{Client, Config, Status, ZenohConfig};

use crate::fleet::local::CONFIG;
use crate::fleet::overview::{Overview, table};
use crate::fleet::reach::ReachArgs;
use crate::fleet::report;
use crate::fleet::survey::survey;
use crate::logging;
use crate::terminal::Terminal;

/// Longer than the longest time that a full queue with `when-full = "block"` holds up an answer, in seconds.
const TIMEOUT_S: u64 = ZENOH_BLOCK_LIMIT_MS.div_ceil(1_000) + 1;

/// Ask daemons how they are
///
/// Of one device, by its configuration or by --device, it shows the releases in its slots, what is being worked on, the queue,
/// the counters and latencies. Of a site it shows a table of all devices: one that is there but does not answer is listed too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the device on this machine
  hotshoe status --config hotshoe.toml

Example: a whole site, through its registry
  hotshoe status --site lab --connect tcp/192.0.2.7:7447
  hotshoe status --site lab --connect tcp/192.0.2.7:7447 --json | jq -r '.[] | select(.last_rollback) | .device'

Example: one device of it
  hotshoe status --site lab --device line-4 --connect tcp/192.0.2.7:7447

With --json, a list of devices; of those of a site each says whether it `answered`. Exit code 1 if no device answers, or a part of
one does not run.")]
pub struct Args {
    /// The device of this configuration, or its network [default: hotshoe.toml, unless --connect is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// All devices of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// The device of this name alone
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// How long to wait for answers
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_S)]
    timeout: u64,
    #[command(flatten)]
    reach: ReachArgs,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let is_own = args.reach.connect.is_empty() && args.site.is_none() && args.device.is_none();
    if is_own {
        let statuses = own(&args)?;
        return details(statuses, &args, terminal);
    }
    let config = args.config.as_deref().or_else(|| {
        let default = Path::new(CONFIG);
        (args.reach.connect.is_empty() && default.exists()).then_some(default)
    });
    let reached = args.reach.resolve(config, None)?;
    let own = reached.own.map(|(site, _)| site);
    let site = args.site.clone().or(own);
    let client = Client::open(&reached.zenoh).with_context(|| args.reach.cannot_open())?;
    let timeout = Duration::from_secs(args.timeout);
    let found = survey(&client, site.as_deref(), args.device.as_deref(), timeout)?;
    client.close();
    if args.device.is_some() {
        return details(found.statuses, &args, terminal);
    }
    let overviews = Overview::join(found.statuses, found.present);
    if overviews.is_empty() {
        return nobody(&args);
    }
    if terminal.json {
        terminal.json(&overviews)?;
    } else {
        terminal.print(table(&overviews, site.is_none(), terminal))?;
    }
    let answered: Vec<&Status> = overviews
        .iter()
        .filter_map(|it| it.status.as_ref())
        .collect();
    Ok(if answered.is_empty() {
        ExitCode::FAILURE
    } else {
        ending(answered)
    })
}

/// A failure where a part of any daemon does not run.
fn ending<'a>(statuses: impl IntoIterator<Item = &'a Status>) -> ExitCode {
    let mut statuses = statuses.into_iter();
    if statuses.any(|status| status.broken().next().is_some()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Asks the device on this machine: through its socket, which needs no network, else over Zenoh.
fn own(args: &Args) -> anyhow::Result<Vec<Status>> {
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = Config::load(path).context("give --config or --connect")?;
    match control::call(&config.data, &Command::Status) {
        Ok(status) => {
            let status = serde_json::from_value(status).context("the answer is no status")?;
            return Ok(vec![status]);
        }
        // The configuration may be a copy, on another machine.
        Err(ControlError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let zenoh: ZenohConfig = config.zenoh.client();
    let client = Client::open(&zenoh).context("cannot reach any device")?;
    let timeout = Duration::from_secs(args.timeout);
    let found = survey(&client, Some(&config.site), Some(&config.device), timeout)?;
    client.close();
    Ok(found.statuses)
}

fn nobody(args: &Args) -> anyhow::Result<ExitCode> {
    let of = args
        .site
        .as_ref()
        .map_or_else(String::new, |site| format!(" of site {site}"));
    bail!("no device{of} answered within {} s", args.timeout)
}

fn details(
    mut statuses: Vec<Status>,
    args: &Args,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    if statuses.is_empty() {
        return nobody(args);
    }
    statuses.sort_by(|a, b| (&a.site, &a.device).cmp(&(&b.site, &b.device)));
    if terminal.json {
        terminal.json(&statuses)?;
        return Ok(ending(&statuses));
    }
    for status in &statuses {
        report::show(status, terminal)?;
    }
    Ok(ending(&statuses))
}
