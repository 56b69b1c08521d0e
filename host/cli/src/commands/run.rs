use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_daemon::{Config, Daemon};
use tokio::signal::unix::{SignalKind, signal};

use crate::logging;
use crate::terminal::Terminal;

/// Serve the installed release on this device
///
/// Starts the daemon: it verifies the installed release, loads its components and models, and serves samples until it
/// gets SIGTERM or SIGINT. Then it takes no more samples, finishes those that it has within `[drain] deadline-ms`, and exits.
/// A second signal ends it at once.
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime that waits for signals")?;
    // Handlers first: a signal during the start must not kill the process half-way.
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::terminate()).context("cannot handle SIGTERM")?,
            signal(SignalKind::interrupt()).context("cannot handle SIGINT")?,
        )
    };
    let daemon = Daemon::start(config).context("cannot start the daemon")?;
    if terminal.json {
        terminal.json_line(&daemon.status())?;
    }
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "draining"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "draining"),
        }
    });
    runtime.spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        tracing::warn!("a second signal: ending at once");
        std::process::exit(1);
    });
    let report = daemon.drain(deadline);
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
