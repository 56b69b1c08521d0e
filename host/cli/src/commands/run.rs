use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Instant;

use anyhow::{Context, bail};
use hotshoe_daemon::{Config, Daemon, Status};
use hotshoe_oip::Bound;

use crate::terminal::Terminal;
use crate::{logging, signals};

/// Serve this device's release, and take new ones
///
/// Starts the daemon: it verifies the release that it has, loads its components and models, and serves samples until it
/// gets SIGTERM or SIGINT. Without a release it waits for one. A release that is published to its site is fetched, verified,
/// tried and kept, or rolled back, meanwhile. At the end it takes no more samples, finishes those that it has within
/// `[drain] deadline-ms`, and exits. A second signal ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe run --config hotshoe.toml

Exit codes: 0 drained, 1 could not start or did not drain in time, 2 wrong usage.
Logs go to standard error: for people on a terminal, as JSON lines otherwise. RUST_LOG sets the level (default: info).")]
pub struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = "hotshoe.toml")]
    config: PathBuf,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("info,zenoh=warn,tract=warn")?;
    let config = Config::load(&args.config)
        .with_context(|| format!("cannot use {}", args.config.display()))?;
    let deadline = config.drain.deadline();
    // First: a signal during the start must not kill the process half-way.
    let (sender, signals) = channel();
    signals::on_first(move |name| {
        // Where nobody receives it, the run is ending anyway.
        let _ = sender.send(name);
    })?;
    // Before the daemon takes samples: what is wrong with this port ends the start.
    let bound = config.oip.as_ref().map(Bound::bind).transpose();
    let bound = bound.context("cannot serve the Open Inference Protocol")?;
    let daemon = Daemon::start(config).context("cannot start the daemon")?;
    let mut server = bound.map(|bound| bound.serve(daemon.door()));
    say_started(&daemon.status(), terminal)?;
    let signal = signals.recv().context("nobody waits for signals")?;
    tracing::info!(signal, "draining");
    let began = Instant::now();
    if let Some(server) = &mut server {
        server.close();
    }
    let report = daemon.drain(deadline);
    let answered = server.is_none_or(|server| {
        let left = deadline.saturating_sub(began.elapsed());
        server.join(left)
    });
    if !answered {
        tracing::warn!("requests of the Open Inference Protocol were cut off");
    }
    tracing::info!(
        finished = report.finished,
        dropped = report.dropped,
        "drained"
    );
    if !report.finished {
        bail!(
            "{} samples were not finished within {} ms, and are counted as dropped; raise `[drain] deadline-ms` if they need longer",
            report.dropped,
            deadline.as_millis()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn say_started(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json_line(status);
    }
    if status.release.is_none() {
        tracing::info!(
            site = status.site,
            device = status.device,
            "no release yet: waiting for one to be published"
        );
    }
    Ok(())
}
