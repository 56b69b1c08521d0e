use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_config::descriptors;
use hotshoe_daemon::Daemon;
use hotshoe_oip::{Bound, Server};
use hotshoe_protocol::status::ReloadStatus;
use hotshoe_protocol::status::Status;

use crate::logging::{self, Log};
use crate::signals::{self, End, Task};
use crate::terminal::Terminal;

/// Serve this device's release, and take new ones
///
/// Starts the daemon: it verifies the release that it has, loads its components and models, and serves samples until it
/// gets SIGTERM or SIGINT. Without a release it waits for one. A release that is published to its site is fetched, verified,
/// tried and kept, or rolled back, meanwhile. At the end it takes no more samples, finishes those that it has within
/// `[drain] deadline-ms`, and exits. A second signal ends it at once.
///
/// SIGHUP reads the configuration again: what changed is applied, or the log and `hotshoe status` name the keys that need a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe run --config hotshoe.toml

Exit codes: 0 drained, 1 could not start, did not drain in time or lost a part of itself, 2 wrong usage.
Logs go to standard error: for people on a terminal, as JSON lines otherwise. `[log] filter` sets the level, and RUST_LOG wins over it.")]
pub struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = "hotshoe.toml")]
    config: PathBuf,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let parts = Supervisor::default();
    let log = logging::serve(&parts)?;
    let mut config = Config::load(&args.config)
        .with_context(|| format!("cannot use {}", args.config.display()))?;
    log.apply(&config.log)?;
    // First: a signal during the start must not kill the process half-way.
    let tasks = signals::serve(&parts)?;
    descriptors::fit(&mut config);
    // Before the daemon takes samples: what is wrong with this port ends the start.
    let bound = config.oip.as_ref().map(Bound::bind).transpose();
    let bound = bound.context("cannot serve the Open Inference Protocol")?;
    let daemon = Daemon::start_with(config, parts).context("cannot start the daemon")?;
    let server = bound.map(|bound| bound.serve(daemon.door()));
    say_started(&daemon.status(), terminal);
    let end = loop {
        match tasks.next() {
            Task::Reload => reload(&daemon, server.as_ref(), &log, &args.config),
            Task::End(end) => break end,
        }
    };
    match &end {
        End::Signal(signal) => tracing::info!(signal, "draining"),
        End::Dead(dead) => tracing::error!(part = dead.name, cause = dead.cause, "draining"),
    }
    drain(daemon, server)?;
    if let End::Dead(dead) = end {
        bail!(
            "the daemon ended because a part of it did: {}: {}; start it again",
            dead.name,
            dead.cause
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn drain(daemon: Daemon, server: Option<Server>) -> anyhow::Result<()> {
    let deadline = daemon.config().drain.deadline();
    let began = Instant::now();
    if let Some(server) = &server {
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
    Ok(())
}

/// Reads the configuration again. Whatever is wrong with it, the daemon serves on as it did.
fn reload(daemon: &Daemon, server: Option<&Server>, log: &Log, path: &Path) {
    let status = match try_reload(daemon, server, log, path) {
        Ok(status) => status,
        Err(error) => {
            let status = daemon.refuse(format!("{error:#}"));
            tracing::error!(
                path = %path.display(),
                error = status.error,
                "the configuration was not reloaded, and nothing of it is applied"
            );
            return;
        }
    };
    tracing::info!(
        applied = status.applied.join(", "),
        path = %path.display(),
        "the configuration was reloaded"
    );
    if !status.needs_restart.is_empty() {
        tracing::warn!(
            keys = status.needs_restart.join(", "),
            "these keys changed and need a restart"
        );
    }
}

fn try_reload(
    daemon: &Daemon,
    server: Option<&Server>,
    log: &Log,
    path: &Path,
) -> anyhow::Result<ReloadStatus> {
    // A pipe would hold up this thread, and with it the end.
    let kind = path.metadata().context("cannot read the configuration")?;
    if !kind.is_file() {
        bail!("the configuration is not a file");
    }
    let mut new = Config::load(path)?;
    descriptors::fit(&mut new);
    if logging::is_pinned() {
        new.log.filter.clone_from(&daemon.config().log.filter);
        tracing::info!("`log.filter` is not looked at: the environment's RUST_LOG wins over it");
    }
    let change = daemon.change(&new)?;
    if change.trust_changed {
        tracing::warn!(
            "the file of the trusted keys has changed and is not read now: publish it with `hotshoe trust publish`, or start the daemon again"
        );
    }
    // All is read before anything is changed.
    let oip = server.zip(change.config.oip.as_ref());
    let oip = oip.map(|(server, oip)| server.renew(oip)).transpose()?;
    let metrics = daemon.renew_metrics(&change.config)?;
    log.apply(&change.config.log)?;
    for renewal in oip.into_iter().chain(metrics) {
        renewal.apply();
    }
    Ok(daemon.apply(change))
}

fn say_started(status: &Status, terminal: &Terminal) {
    if terminal.json
        && let Err(error) = terminal.json_line(status)
    {
        tracing::warn!(
            error = format!("{error:#}"),
            "that the daemon has started could not be said"
        );
    }
    if !terminal.json && status.release.is_none() {
        tracing::info!(
            site = status.site,
            device = status.device,
            "no release yet: waiting for one to be published"
        );
    }
}
