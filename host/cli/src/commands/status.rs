use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_daemon::config::ZENOH_BLOCK_LIMIT_MS;
use hotshoe_daemon::{Client, Config, Status, ZenohConfig};

use crate::logging;
use crate::terminal::Terminal;

/// Longer than the longest time that a full queue with `when-full = "block"` holds up an answer, in seconds.
const TIMEOUT_S: u64 = ZENOH_BLOCK_LIMIT_MS.div_ceil(1_000) + 1;

/// Ask daemons how they are
///
/// Asks over Zenoh, and shows each device's release, queue, counters and latencies: the device of a configuration, or every
/// device that can be reached from an endpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe status --config hotshoe.toml
  hotshoe status --connect tcp/192.0.2.7:7447 --site lab --json

Exit code 1 if no device answers.")]
pub struct Args {
    /// Ask the device of this configuration [default: hotshoe.toml, unless --connect is given]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["connect", "site", "device", "namespace"])]
    config: Option<PathBuf>,
    /// A Zenoh endpoint to connect to; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// Devices of this site alone
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// The device of this name alone
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The prefix that the devices' keys have
    #[arg(long, value_name = "PREFIX")]
    namespace: Option<String>,
    /// How long to wait for answers
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_S)]
    timeout: u64,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (zenoh, site, device) = if args.connect.is_empty() {
        let path = args.config.as_deref().unwrap_or(Path::new("hotshoe.toml"));
        let config = Config::load(path).context("give --config or --connect")?;
        (
            config.zenoh.client(),
            args.site.or(Some(config.site)),
            args.device.or(Some(config.device)),
        )
    } else {
        let zenoh = ZenohConfig {
            connect: args.connect,
            namespace: args.namespace,
            ..ZenohConfig::default()
        };
        (zenoh, args.site, args.device)
    };
    let client = Client::open(&zenoh).context("cannot reach any device")?;
    let mut statuses = client.statuses(
        site.as_deref(),
        device.as_deref(),
        Duration::from_secs(args.timeout),
    )?;
    client.close();
    if statuses.is_empty() {
        bail!("no device answered within {} s", args.timeout);
    }
    statuses.sort_by(|a, b| (&a.site, &a.device).cmp(&(&b.site, &b.device)));
    if terminal.json {
        terminal.json(&statuses)?;
    } else {
        for status in &statuses {
            show(status, terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let release = &status.release;
    let counters = &status.counters;
    terminal.print(format!(
        "{}  hotshoe {}, up {} s",
        terminal.bold(&format!("{}/{}", status.site, status.device)),
        status.version,
        status.uptime_s
    ))?;
    terminal.print(format!(
        "release   {} generation {}, signed by {}",
        release.name,
        release.generation,
        release.signers.join(", ")
    ))?;
    terminal.print(format!(
        "          {}",
        terminal.dim(&release.digest.to_string())
    ))?;
    terminal.print(format!(
        "queue     {} of {}, {} when full, {} workers",
        status.queue.len, status.queue.capacity, status.queue.policy, status.workers
    ))?;
    terminal.print(format!(
        "samples   {} accepted, {} results, {} dropped, {} failed, {} in flight",
        counters.accepted,
        counters.results,
        counters.dropped_total(),
        counters.failed,
        counters.in_flight
    ))?;
    for (what, names) in [("dropped", &counters.dropped), ("failed", &counters.faults)] {
        for (name, count) in names {
            terminal.print(terminal.warning(&format!("          {what}: {name} {count}")))?;
        }
    }
    let rows = status.stages.iter().map(|stage| {
        vec![
            stage.name.clone(),
            stage.count.to_string(),
            stage.p50_us.to_string(),
            stage.p95_us.to_string(),
        ]
    });
    terminal.print(terminal.table(&["stage", "samples", "p50 us", "p95 us"], rows))
}
