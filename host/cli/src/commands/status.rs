use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::ZENOH_BLOCK_LIMIT_MS;
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_link::Client;
use hotshoe_link::device_list::DeviceList;
use hotshoe_protocol::status::Status;

use crate::fleet::local::CONFIG;
use crate::fleet::network::NetworkArgs;
use crate::fleet::overview::{DeviceReport, Overview, table};
use crate::fleet::registries;
use crate::fleet::report;
use crate::fleet::survey::survey;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// The default timeout in seconds: longer than a full queue with `when-full = "block"` can delay an answer.
const TIMEOUT_S: u64 = ZENOH_BLOCK_LIMIT_MS.div_ceil(1_000) + 1;
/// How long registries have to answer.
const REGISTRIES_TIMEOUT: Duration = Duration::from_secs(2);
/// The note if no signature was checked.
const CLAIMED: &str =
    "claimed: not signed by the device; give --site-dir or --device-keys to check signatures";

/// Show the status of devices
///
/// For one device, given by its configuration or by --device, shows the releases in its slots, the update in progress, the queue, the
/// counters and the latencies. For a site, shows a table of all devices, including those that are present but do not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the device on this machine
  hotshoe status --config hotshoe.toml

Example: a whole site, through its registry
  hotshoe status --site-dir lab
  hotshoe status --site-dir lab --json | jq -r '.[] | select(.last_rollback) | .device'

Example: one device of it
  hotshoe status --site-dir lab --device line-4

Example: without certificates
  hotshoe status --site lab --connect tcp/127.0.0.1:7447

With --site-dir or --device-keys, each answer is `signed` by its device, or only `claimed`. With --json, a list of devices, each with
`claimed`, `daemons` if several have one name and, for a site, `answered`. Exit code 1 if no daemon runs on this device (error `not_running`), no device
answers, an answer is not signed although it has to be, the live release cannot serve, or a part of a daemon does not run.")]
pub(crate) struct Args {
    /// A device's configuration: that device, or its network [default: hotshoe.toml, unless --connect is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// All devices of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only the device with this name
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Timeout in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_S)]
    timeout: u64,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let is_own = !args.network.is_given() && args.site.is_none() && args.device.is_none();
    let list = args.network.devices()?;
    if is_own {
        let answers = own(&args, list.as_ref())?;
        return details(answers, &args, list.is_some(), terminal);
    }
    let config = args.config.as_deref().or_else(|| {
        let default = Path::new(CONFIG);
        (!args.network.is_given() && default.exists()).then_some(default)
    });
    let network = args.network.resolve(config, None)?;
    let site = args.site.clone().or(network.site);
    let client = Client::open(&network.zenoh).with_context(|| args.network.cannot_open())?;
    let timeout = Duration::from_secs(args.timeout);
    let found = survey(&client, site.as_deref(), args.device.as_deref(), timeout)?;
    let registries = match (&site, &args.device) {
        (Some(site), None) => client
            .registries(site, REGISTRIES_TIMEOUT)
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    client.close();
    let answers = DeviceReport::of(found.statuses, list.as_ref());
    if args.device.is_some() {
        return details(answers, &args, list.is_some(), terminal);
    }
    let are_proven = list.is_none() || answers.iter().all(|it| it.unproven.is_none());
    let overviews = Overview::of_site(answers, found.present, site.as_deref(), list.as_ref());
    if overviews.is_empty() {
        return no_answer(&args);
    }
    if terminal.json {
        terminal.json(&overviews)?;
    } else {
        terminal.print(table(&overviews, site.is_none(), terminal))?;
        for line in registries::lines(&registries) {
            terminal.print(line)?;
        }
        if list.is_none() {
            terminal.note(CLAIMED);
        }
    }
    Ok(
        if are_proven && overviews.iter().any(|it| it.answer.is_some()) {
            exit_code(overviews.iter().filter_map(|it| it.answer.as_ref()))
        } else {
            ExitCode::FAILURE
        },
    )
}

/// A failure if a part of any daemon does not run, or its live release cannot serve.
fn exit_code<'a>(answers: impl IntoIterator<Item = &'a DeviceReport>) -> ExitCode {
    let mut answers = answers.into_iter();
    let is_broken =
        |status: &Status| status.broken().next().is_some() || status.cannot_serve.is_some();
    if answers.any(|answer| is_broken(&answer.status)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Asks the device on this machine: through its control socket, which needs no network, otherwise over Zenoh.
fn own(args: &Args, list: Option<&DeviceList>) -> anyhow::Result<Vec<DeviceReport>> {
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = Config::load(path).context("give --config or --connect")?;
    let begun = Instant::now();
    let timeout = Duration::from_secs(args.timeout);
    match control::call_within(&config.data, &Command::Status, timeout) {
        Ok(status) => {
            let status = serde_json::from_value(status).context("the answer is not a status")?;
            return Ok(vec![DeviceReport::own(status)]);
        }
        // Without a data folder, the configuration may be a copy, on another machine.
        Err(ControlError::NotRunning { .. }) if !config.data.exists() => {}
        Err(error) => return Err(error.into()),
    }
    let not_here = || {
        format!(
            "no daemon runs here: there is no data folder {}; start one with `hotshoe run`",
            config.data.display()
        )
    };
    let mut zenoh: ZenohConfig = config.zenoh.client();
    zenoh.insecure |= args.network.insecure;
    let client = Client::open(&zenoh)
        .with_context(not_here)
        .context("cannot reach any device")?;
    let left = timeout.saturating_sub(begun.elapsed());
    let found = survey(&client, Some(&config.site), Some(&config.device), left)?;
    client.close();
    Ok(DeviceReport::of(found.statuses, list))
}

fn no_answer(args: &Args) -> anyhow::Result<ExitCode> {
    let of = args
        .site
        .as_ref()
        .map_or_else(String::new, |site| format!(" of site {site}"));
    bail!("no device{of} answered within {} s", args.timeout)
}

fn details(
    answers: Vec<DeviceReport>,
    args: &Args,
    are_checked: bool,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    if answers.is_empty() {
        return no_answer(args);
    }
    let code = if are_checked && answers.iter().any(|it| it.unproven.is_some()) {
        ExitCode::FAILURE
    } else {
        exit_code(&answers)
    };
    if terminal.json {
        terminal.json(&answers)?;
        return Ok(code);
    }
    for answer in &answers {
        if let Some(text) = answer.unproven_text() {
            terminal.print(terminal.warning(&text))?;
        }
        if let Some(text) = answer.conflict_text() {
            terminal.print(terminal.bad(&text))?;
        }
        report::show(&answer.status, terminal)?;
    }
    Ok(code)
}
