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

/// Run the daemon: serve the release and accept updates
///
/// Verifies the installed release, loads its components and models, and serves samples until SIGTERM or SIGINT; without a release it waits
/// for one. Meanwhile it fetches, verifies and tries releases that are published to its site, and keeps them or rolls them back. At the
/// end it accepts no more samples, finishes the queued ones within `[drain] deadline-ms`, and exits; a second signal ends it at once.
/// SIGHUP reads the configuration again and applies it; the log and `hotshoe status` name the keys that need a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe run --config hotshoe.toml

Exit codes: 0 drained, 1 could not start, did not drain in time or lost a vital thread, 2 wrong usage.
Logs go to standard error: as text on a terminal, as JSON lines otherwise. `[log] filter` sets the level; RUST_LOG takes precedence.")]
pub struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = "hotshoe.toml")]
    config: PathBuf,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::default();
    let log = logging::serve(&supervisor)?;
    let mut config = Config::load(&args.config)
        .with_context(|| format!("cannot use {}", args.config.display()))?;
    log.apply(&config.log)?;
    // First: a signal during the start must not kill the process.
    let tasks = signals::serve(&supervisor)?;
    descriptors::fit(&mut config);
    // Before the daemon accepts samples, because an error of this port ends the start.
    let bound = config.oip.as_ref().map(Bound::bind).transpose();
    let bound = bound.context("cannot serve the Open Inference Protocol")?;
    let daemon = Daemon::start_with(config, supervisor).context("cannot start the daemon")?;
    let server = bound.map(|bound| bound.serve(daemon.local_client()));
    print_started(&daemon.status(), terminal);
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
            "the daemon ended because its part {} ended: {}; start it again",
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
        tracing::warn!("requests of the Open Inference Protocol were aborted");
    }
    tracing::info!(
        finished = report.finished,
        dropped = report.dropped,
        "drained"
    );
    if !report.finished {
        bail!(
            "{} samples were not finished within {} ms and are counted as dropped; raise `[drain] deadline-ms` if they need longer",
            report.dropped,
            deadline.as_millis()
        );
    }
    Ok(())
}

/// Reads the configuration again. After an error the daemon continues with the old one.
fn reload(daemon: &Daemon, server: Option<&Server>, log: &Log, path: &Path) {
    let status = match try_reload(daemon, server, log, path) {
        Ok(status) => status,
        Err(error) => {
            let status = daemon.refuse(format!("{error:#}"));
            tracing::error!(
                path = %path.display(),
                error = status.error,
                "the configuration was not reloaded; the old one stays in effect"
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
    let mut new = Config::load(path)?;
    descriptors::fit(&mut new);
    if logging::is_pinned() {
        new.log.filter.clone_from(&daemon.config().log.filter);
        tracing::info!(
            "`log.filter` is ignored: the environment variable RUST_LOG takes precedence"
        );
    }
    let change = daemon.change(&new)?;
    if change.trust_changed {
        tracing::warn!(
            "the trusted keys have changed and are not reloaded: publish them with `hotshoe trust publish`, or restart the daemon"
        );
    }
    // Read everything before anything changes.
    let oip = server.zip(change.config.oip.as_ref());
    let oip = oip.map(|(server, oip)| server.renew(oip)).transpose()?;
    let metrics = daemon.renew_metrics(&change.config)?;
    log.apply(&change.config.log)?;
    for renewal in oip.into_iter().chain(metrics) {
        renewal.apply();
    }
    Ok(daemon.apply(change))
}

fn print_started(status: &Status, terminal: &Terminal) {
    if terminal.json
        && let Err(error) = terminal.json_line(status)
    {
        tracing::warn!(
            error = format!("{error:#}"),
            "cannot write to standard output"
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
