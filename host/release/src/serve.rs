//! A daemon in this process, from its configuration to its drain.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_config::descriptors;
use hotshoe_daemon::deploy::load_config;
use hotshoe_daemon::service_manager::ServiceManager;
use hotshoe_daemon::{Daemon, LocalClient, Request};
use hotshoe_protocol::status::ReloadStatus;
use hotshoe_protocol::status::Status;
use hotshoe_supervisor::{FOLDER_VARIABLE, RESTART};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::logging::{self, Log};
use crate::signals::{self, End, Task};
use crate::terminal::Terminal;

/// The servers beside the daemon, as one: `B` is what is bound, `S` what serves.
pub struct Endpoint<B, S> {
    /// Binds the port, if the configuration has one.
    pub bind: fn(&Config) -> anyhow::Result<Option<B>>,
    /// Starts the server.
    pub serve: fn(B, LocalClient) -> S,
    /// Reads what a reload changes, and returns what applies it.
    pub renew: fn(&S, &Config) -> anyhow::Result<Option<Renew>>,
    /// Stops accepting requests.
    pub close: fn(&S),
    /// Waits for the accepted requests; false if some were aborted.
    pub join: fn(S, Duration) -> bool,
}

/// Applies what [`Endpoint::renew`] has read.
pub type Renew = Box<dyn FnOnce()>;

/// Runs a daemon until a signal ends it, or until it asks its supervisor for a restart. Returns the exit code.
///
/// # Errors
/// The daemon cannot start, loses a part of itself, or does not finish its samples within the drain's deadline.
pub fn serve<B, S>(
    path: &Path,
    endpoint: &Endpoint<B, S>,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    if env::var_os(FOLDER_VARIABLE).is_some() {
        // Where the supervisor dies, another one will start the daemon: there must not be two.
        set_parent_process_death_signal(Some(Signal::TERM))
            .context("cannot follow the supervisor")?;
    }
    let supervisor = Supervisor::default();
    let log = logging::serve(&supervisor)?;
    let (local, mut config) = load_config(path, supervisor.clock())
        .with_context(|| format!("cannot use {}", path.display()))?;
    log.apply(&config.log)?;
    // Below this, other parts of the start would fail with less to say.
    descriptors::require()?;
    // First: a signal during the start must not kill the process.
    let tasks = signals::serve(&supervisor)?;
    descriptors::fit(&mut config);
    // Before the daemon accepts samples, because an error of this port ends the start.
    let bound = (endpoint.bind)(&config)?;
    let manager = ServiceManager::of_environment();
    let daemon =
        Daemon::start_with(config, supervisor, manager).context("cannot start the daemon")?;
    daemon.set_file(local);
    let requested = Arc::clone(&tasks);
    daemon.follow_requests(move |request| match request {
        Request::Reload => requested.reload(),
        Request::Restart => requested.end(End::Restart),
    });
    let server = bound.map(|bound| (endpoint.serve)(bound, daemon.local_client()));
    daemon.service_manager().ready();
    print_started(&daemon.status(), terminal);
    let end = loop {
        match tasks.next() {
            Task::Reload => {
                let renew = |config: &Config| match &server {
                    Some(server) => (endpoint.renew)(server, config),
                    None => Ok(None),
                };
                daemon.service_manager().reloading();
                reload(&daemon, renew, &log, path);
                daemon.service_manager().ready();
            }
            Task::End(end) => break end,
        }
    };
    match &end {
        End::Signal(signal) => tracing::info!(signal, "draining"),
        End::Restart => tracing::info!("draining for a restart by the supervisor"),
        End::Dead(dead) => tracing::error!(part = dead.name, cause = dead.cause, "draining"),
    }
    drain(daemon, endpoint, server)?;
    match end {
        End::Dead(dead) => bail!(
            "the daemon ended because its part {} ended: {}; start it again",
            dead.name,
            dead.cause
        ),
        End::Restart => Ok(ExitCode::from(RESTART)),
        End::Signal(_) => Ok(ExitCode::SUCCESS),
    }
}

fn drain<B, S>(daemon: Daemon, endpoint: &Endpoint<B, S>, server: Option<S>) -> anyhow::Result<()> {
    let deadline = daemon.config().drain.deadline();
    let began = Instant::now();
    if let Some(server) = &server {
        (endpoint.close)(server);
    }
    let report = daemon.drain(deadline);
    let answered = server.is_none_or(|server| {
        let left = deadline.saturating_sub(began.elapsed());
        (endpoint.join)(server, left)
    });
    if !answered {
        tracing::warn!("requests of the Open Inference Protocol or of the page were aborted");
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
fn reload(
    daemon: &Daemon,
    renew: impl FnOnce(&Config) -> anyhow::Result<Option<Renew>>,
    log: &Log,
    path: &Path,
) {
    let status = match try_reload(daemon, renew, log, path) {
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
    renew: impl FnOnce(&Config) -> anyhow::Result<Option<Renew>>,
    log: &Log,
    path: &Path,
) -> anyhow::Result<ReloadStatus> {
    let mut new = daemon.read_config(path)?;
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
    let endpoint = renew(&change.config)?;
    let metrics = daemon.renew_metrics(&change.config)?;
    log.apply(&change.config.log)?;
    if let Some(apply) = endpoint {
        apply();
    }
    if let Some(renewal) = metrics {
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
    if !terminal.json && status.release.is_none() && status.cannot_serve.is_none() {
        tracing::info!(
            site = status.site,
            device = status.device,
            "no release yet: waiting for one to be published"
        );
    }
}
