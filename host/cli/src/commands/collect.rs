use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_base::chain;
use hotshoe_base::disk::Disk;
use hotshoe_collect::{Conflict, ReceiveError, Received, Receiver, Store};
use hotshoe_config::check_name;
use hotshoe_link::{Client, DeviceMessage};
use hotshoe_protocol::outbox::Batch;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{logging, signals};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::fleet::network::NetworkArgs;

/// Most conflicts that are listed. All are stored and counted.
const LISTED_CONFLICTS: usize = 1_000;

/// Collect what the devices of a site keep until it has arrived
///
/// Takes the records of durable outputs ([outbox] in hotshoe.toml) from all devices of a site that it reaches, or from one, stores each once
/// and durably, and acknowledges it then; a device deletes what was acknowledged. It runs until Ctrl-C, or with --once until nothing came for
/// some seconds. Lost records are named with their cause, and so are conflicts: two devices that run with copies of one outbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: into lines of JSON, for ever
  hotshoe collect --site lab --jsonl collected --connect tcp/192.0.2.7:7447

Example: what one device has now, into SQLite
  hotshoe collect --site lab --device line-4 --sqlite collected.db --once --connect tcp/192.0.2.7:7447

On the device, in hotshoe.toml:
  [outbox]
  durable = { insight = \"normal\", action = \"high\" }

Devices with `statements = \"signed\"` need --key or --site-dir: a key that has `@outbox` in its `shared-data` in trust.toml, or
`releases = [\"*\"]`.

Exit codes: 0 done, also with losses and conflicts, which the report has; 1 failed, or with --once records are left; 2 wrong usage.")]
pub(crate) struct Args {
    /// The site [default: that of --config or --site-dir]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// A single device [default: all of the site]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The folder of a store of lines of JSON, `records.jsonl`; its index takes about 100 bytes of memory for each record
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "sqlite",
        conflicts_with = "sqlite"
    )]
    jsonl: Option<PathBuf>,
    /// A database of SQLite, with the tables `records` and `losses`
    #[arg(long, value_name = "FILE")]
    sqlite: Option<PathBuf>,
    /// End when nothing came for --idle seconds
    #[arg(long)]
    once: bool,
    /// The time of --once in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "once")]
    idle: u64,
    /// Sign acknowledgements with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read the site and the endpoints from a device's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// What a device sent.
#[derive(Debug, Default, Serialize)]
struct OfDevice {
    /// Records that were stored.
    stored: u64,
    /// Records that were there already.
    duplicates: u64,
    /// Lost records, by cause.
    lost: BTreeMap<String, u64>,
    /// Records that waited behind the last batch.
    left: u64,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    stored: u64,
    duplicates: u64,
    lost: BTreeMap<String, u64>,
    /// Records that conflict with others; the first ones are listed.
    conflicting: u64,
    conflicts: Vec<Conflict>,
    /// Devices whose outbox another device sent from, too.
    cloned: Vec<String>,
    /// Batches that were refused, by reason.
    refused: BTreeMap<String, u64>,
    devices: BTreeMap<String, OfDevice>,
}

/// What the thread of the batches tells.
enum Told {
    Received(Received),
    Refused { device: String, error: ReceiveError },
    Ended,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let network = &args.network;
    let (zenoh, site) = network.site(args.site.as_deref(), args.config.as_deref(), None)?;
    check_name("site", &site)?;
    if let Some(device) = &args.device {
        check_name("device", device)?;
    }
    // Before the session opens, because this may ask for a passphrase.
    let key = network.signing_key(args.key.as_deref())?;
    let list = network.devices()?;
    let store = match (&args.jsonl, &args.sqlite) {
        (Some(folder), _) => Store::jsonl(folder, Disk::shared())?,
        (None, Some(file)) => Store::sqlite(file)?,
        (None, None) => bail!("give --jsonl or --sqlite"),
    };
    let receiver = Receiver::new(store, list, key);
    let (told, heard) = channel();
    let stop = told.clone();
    signals::on_first(move |_| drop(stop.send(Told::Ended)))?;
    let client = Client::open(&zenoh).with_context(|| network.cannot_open())?;
    let name = Uuid::new_v4().simple().to_string();
    let collecting = client.collect(&site, args.device.as_deref(), &name, take(receiver, told))?;
    let idle = args.once.then(|| Duration::from_secs(args.idle));
    let report = follow(&heard, idle, terminal);
    drop(collecting);
    client.close();
    let (report, failure) = report;
    print(&report, terminal)?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    let left = report.devices.values().any(|device| device.left > 0);
    if args.once && left {
        terminal.note("records are left on devices; run it again");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What receives the batches, on its own thread.
fn take(
    mut receiver: Receiver,
    told: Sender<Told>,
) -> impl FnMut(DeviceMessage<Batch>) -> Result<Vec<u8>, Vec<u8>> + Send + 'static {
    move |message| match receiver.receive(&message) {
        Ok(mut received) => {
            let acknowledgement = std::mem::take(&mut received.acknowledgement);
            // The command may have ended.
            let _ = told.send(Told::Received(received));
            Ok(acknowledgement)
        }
        Err(error) => {
            let body = json!({"name": error.name(), "message": chain(&error)});
            let device = message.device;
            let _ = told.send(Told::Refused { device, error });
            Err(body.to_string().into_bytes())
        }
    }
}

/// Follows until a signal, the end of `idle`, or a failure of the store, which is returned.
fn follow(
    heard: &Channel<Told>,
    idle: Option<Duration>,
    terminal: &Terminal,
) -> (Report, Option<ReceiveError>) {
    let mut report = Report::default();
    let progress = terminal.progress();
    let task = (!terminal.json).then(|| progress.spinner("collecting"));
    let mut last = Instant::now();
    loop {
        let next = match idle {
            Some(idle) => heard.recv_timeout(idle.saturating_sub(last.elapsed())),
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Told::Received(received)) => {
                last = Instant::now();
                for line in report.take(received) {
                    terminal.note(line);
                }
                if let Some(task) = &task {
                    let devices = report.devices.len();
                    task.detail(&format!("{} records of {devices} devices", report.stored));
                }
            }
            Ok(Told::Refused {
                error: error @ ReceiveError::Store(_),
                ..
            }) => return (report, Some(error)),
            Ok(Told::Refused { device, error }) => {
                last = Instant::now();
                let count = report.refused.entry(error.name().to_owned()).or_default();
                *count += 1;
                if *count == 1 {
                    terminal.note(format!(
                        "refused a batch of device `{device}`: {}",
                        chain(&error)
                    ));
                }
            }
            Ok(Told::Ended) | Err(_) => return (report, None),
        }
    }
}

impl Report {
    /// Counts a batch. Returns what is to be said about it.
    fn take(&mut self, received: Received) -> Vec<String> {
        let Received {
            device,
            left,
            outcome,
            is_cloned,
            acknowledgement: _,
        } = received;
        let mut said = Vec::new();
        self.stored += outcome.stored;
        self.duplicates += outcome.duplicates;
        let own = self.devices.entry(device.clone()).or_default();
        own.stored += outcome.stored;
        own.duplicates += outcome.duplicates;
        own.left = left;
        for (cause, count) in outcome.lost {
            *self.lost.entry(cause.clone()).or_default() += count;
            *own.lost.entry(cause).or_default() += count;
        }
        for loss in outcome.losses {
            said.push(format!(
                "device `{device}` lost records {} to {} of `{}`: {}",
                loss.from, loss.to, loss.source, loss.cause
            ));
        }
        for conflict in outcome.conflicts {
            self.conflicting += 1;
            said.push(format!(
                "conflict: record {} of `{}` of device `{device}` is there with other bytes; two devices run with copies of one card",
                conflict.sequence, conflict.source
            ));
            if self.conflicts.len() < LISTED_CONFLICTS {
                self.conflicts.push(conflict);
            }
        }
        if is_cloned && !self.cloned.contains(&device) {
            said.push(format!(
                "conflict: two devices called `{device}` run with copies of one card; give one of them a new name and a new data folder"
            ));
            self.cloned.push(device);
        }
        said
    }
}

fn print(report: &Report, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(report);
    }
    let rows = report.devices.iter().map(|(name, device)| {
        let lost: u64 = device.lost.values().sum();
        vec![
            name.clone(),
            device.stored.to_string(),
            device.duplicates.to_string(),
            lost.to_string(),
            device.left.to_string(),
        ]
    });
    let header = ["device", "stored", "there already", "lost", "left"];
    terminal.print(terminal.table(&header, rows))?;
    if report.conflicting > 0 {
        let count = report.conflicting;
        terminal.print(terminal.warning(&format!("{count} records conflict with others")))?;
    }
    Ok(())
}
