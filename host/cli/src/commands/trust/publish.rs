use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{collections::BTreeMap, thread};

use anyhow::Context;
use hotshoe_delivery::Publisher;
use hotshoe_link::device_list::{DeviceList, Unproven};
use hotshoe_trust::TrustRoot;
use serde::Serialize;

use super::sign::read_update;
use crate::fleet::error::FleetError;
use crate::fleet::follow::{SiteUpdate, listen, next};
use crate::fleet::network::NetworkArgs;
use hotshoe_release::signals;
use hotshoe_release::terminal::Terminal;

/// How long to wait before the seen devices count as all.
const SETTLE: Duration = Duration::from_secs(5);

/// Publish a signed update of trust.toml to the devices of a site
///
/// Shows the version of each device, and ends when all present devices have this one. A registry keeps the update for devices that come
/// later.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe trust publish update.json --site-dir lab

Exit code 1 if a device does not accept it in time; the device's log says why.")]
pub(super) struct Args {
    /// The update from `hotshoe trust sign`
    #[arg(value_name = "UPDATE.JSON")]
    update: PathBuf,
    /// The site [default: that of --config]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Keep publishing until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Timeout in seconds; none with --serve
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Read the network and the site from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A Zenoh endpoint to listen on, for devices that connect to this machine; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    site: &'a str,
    version: u64,
    /// Whether all present devices have it.
    ok: bool,
    /// The version of each device; none if it did not answer, or did not sign its answer although it has to.
    devices: BTreeMap<String, Option<u64>>,
    /// Whether the answers are only claimed, because no signature was checked.
    claimed: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let listening = Some(args.listen.as_slice());
    let (zenoh, site) =
        args.network
            .site(args.site.as_deref(), args.config.as_deref(), listening)?;
    let list = args.network.devices()?;
    let update = read_update(&args.update)?;
    let root = TrustRoot::parse(&update.trust)
        .with_context(|| format!("cannot use {}", args.update.display()))?;
    let publisher = Publisher::open(&zenoh, &site).with_context(|| args.network.cannot_open())?;
    publisher.update_trust(update.to_bytes())?;
    let devices = follow(
        args,
        &publisher,
        list.as_ref(),
        &site,
        root.version(),
        terminal,
    )?;
    publisher.close();
    if devices.is_empty() && !args.serve {
        return Err(FleetError::NoDevice {
            site,
            whom: String::new(),
            seconds: args.timeout,
        }
        .into());
    }
    let has = |version: &Option<u64>| version.is_some_and(|version| version >= root.version());
    let report = Report {
        site: &site,
        version: root.version(),
        ok: devices.values().all(has),
        devices,
        claimed: list.is_none(),
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        let taken = report.devices.values().filter(|it| has(it)).count();
        terminal.print(format!(
            "version {} on {taken} of {} devices{}",
            report.version,
            report.devices.len(),
            if report.claimed { ", as claimed" } else { "" }
        ))?;
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the version of each device, once all have this one or the timeout is reached.
fn follow(
    args: &Args,
    publisher: &Publisher,
    list: Option<&DeviceList>,
    site: &str,
    version: u64,
    terminal: &Terminal,
) -> anyhow::Result<BTreeMap<String, Option<u64>>> {
    let (sender, updates) = channel();
    let stop = sender.clone();
    signals::on_first(move |_| drop(stop.send(SiteUpdate::Stop)))?;
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let deadline = (!args.serve).then(|| begun + Duration::from_secs(args.timeout));
    let mut devices = BTreeMap::new();
    thread::scope(|scope| {
        let listening = listen(scope, publisher.client(), site, &over, &sender);
        let mut is_over = listening.is_err();
        while !is_over {
            match next(&updates, deadline) {
                None | Some(SiteUpdate::Stop) => is_over = true,
                Some(SiteUpdate::Event(_) | SiteUpdate::Registries(_)) => {}
                Some(SiteUpdate::Round { statuses, present }) => {
                    for device in present {
                        devices.entry(device).or_insert(None);
                    }
                    for said in statuses {
                        if let Err(why) = said.check(list)
                            && why != Unproven::NoList
                        {
                            terminal.note(format!("{}  claimed, not verified: {why}", said.device));
                            devices.entry(said.device).or_insert(None);
                            continue;
                        }
                        let status = said.value;
                        let now = Some(status.trust_version);
                        let before = devices.insert(status.device.clone(), now);
                        if before.flatten() != now && !terminal.json {
                            terminal.note(format!(
                                "{}  version {}",
                                status.device, status.trust_version
                            ));
                        }
                    }
                    let have = |it: &Option<u64>| it.is_some_and(|it| it >= version);
                    is_over = !args.serve
                        && begun.elapsed() >= SETTLE
                        && !devices.is_empty()
                        && devices.values().all(have);
                }
            }
        }
        over.store(true, Ordering::Release);
        listening
    })?;
    Ok(devices)
}
