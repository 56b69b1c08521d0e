//! The daemon: takes samples from Zenoh and from a watched folder, runs them through the installed release, and publishes the
//! results.
//!
//! [`Daemon::start`] verifies and loads the release before it accepts samples; [`Daemon::drain`] finishes the accepted ones. Every
//! accepted sample ends exactly once, as a result, as a drop with a reason, or as a failure with a fault, and [`Status`] has the
//! counts. All calls block. Do not call them from a single-threaded tokio runtime, which Zenoh does not support.
#![forbid(unsafe_code)]

pub mod answer;
pub mod control;
pub mod deploy;
pub mod device_key;
pub mod events;
pub mod intake;
pub mod log;
pub mod media;
mod memory;
pub mod metrics;
pub mod output;
pub mod queue;
pub mod recording;
pub mod reload;
mod service;
pub mod tally;
pub mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{Config, descriptors};
use hotshoe_link::LinkError;
use hotshoe_link::{Link, Orders, Serving};
use hotshoe_protocol::status::Status;

use crate::answer::ReplyTo;
use crate::deploy::{Deployment, PublishedStatus, StartupState};
use crate::metrics::{Endpoint, MetricsError};
use crate::reload::RunningConfig;
use crate::service::{Service, WorkerPool};
use crate::watch::{FolderWatch, WatchError};

pub use deploy::DeployError;
pub use service::{CallError, CallOutput, CallRelease, DrainReport, LocalClient};

/// The least time that the deploy thread has to write what it knows when the daemon stops.
const LEAST_STOP: Duration = Duration::from_secs(2);

/// Why a daemon did not start. Everything that was started is stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The deployment cannot start.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The Zenoh session cannot be set up.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The folder cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The Prometheus endpoint cannot be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The worker threads cannot be started.
    #[error("cannot start {threads} worker threads; lower `workers.threads`")]
    Workers {
        /// The configured number.
        threads: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running daemon.
pub struct Daemon {
    service: Arc<Service>,
    workers: WorkerPool,
    link: Arc<Link>,
    serving: Serving,
    watch: Option<FolderWatch>,
    deployment: Deployment,
    supervisor: Supervisor,
    running: Arc<RunningConfig>,
    _recordings: Orders,
    metrics: Option<Endpoint>,
}

impl Daemon {
    /// Starts the daemon: verifies and loads the installed release, then accepts samples. Without a release, samples are dropped as
    /// `no_release` until the first one arrives over Zenoh.
    ///
    /// # Errors
    /// [`StartError`] names what is wrong and what to do.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Supervisor::default())
    }

    /// Like [`Self::start`], with its threads registered in `supervisor`. All of them get the time from its clock.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(mut config: Config, supervisor: Supervisor) -> Result<Self, StartError> {
        // Before the first socket is opened.
        descriptors::fit(&mut config);
        let endpoint = config
            .metrics
            .clone()
            .map(|metrics| crate::metrics::serve(metrics, &supervisor))
            .transpose()?;
        let startup = StartupState::open(&config, supervisor.clock().clone())?;
        let serving = startup.serving();
        crate::metrics::release(
            None,
            serving.as_deref().map(deploy::ServingRelease::release),
        );
        let published_status = Arc::new(PublishedStatus::timed_by(supervisor.clock().clone()));
        published_status.events().follow_parts(&supervisor);
        let memory = startup.memory().clone();
        tracing::info!(
            mode = memory.mode.name(),
            reason = memory.reason,
            "memories of components"
        );
        published_status.change(|view| view.memory = Some(memory));
        let link = Link::open_with(&config.zenoh, &config.site, &config.device, &supervisor)?;
        let link = Arc::new(signing(link, &config));
        let running = RunningConfig::new(config.clone(), supervisor.clock().clone());
        let service = Service::new(
            Arc::clone(&running),
            serving,
            Arc::clone(&published_status),
            Arc::clone(&link),
        );
        let workers = service
            .spawn_workers()
            .map_err(|source| StartError::Workers {
                threads: config.workers.threads,
                source,
            })?;
        let abort = |workers, error| {
            supervisor.close();
            service.drain(workers, Duration::ZERO);
            link.close();
            error
        };
        // Before the intake, so that the first status has the slots.
        let deployment = match Deployment::start(
            startup,
            &config,
            &running,
            &service,
            published_status,
            &link,
        ) {
            Ok(deployment) => deployment,
            Err(error) => return Err(abort(workers, error)),
        };
        let (serving, watch) = match open_intake(&config, &service, &link, &supervisor) {
            Ok(open) => open,
            Err(error) => {
                supervisor.close();
                deployment.stop(LEAST_STOP);
                return Err(abort(workers, error));
            }
        };
        let asked = Arc::clone(&service);
        let recordings = match link.recordings(move |request| asked.record_request(&request)) {
            Ok(recordings) => recordings,
            Err(error) => {
                supervisor.close();
                deployment.stop(LEAST_STOP);
                return Err(abort(workers, error.into()));
            }
        };
        tracing::info!(
            site = config.site,
            device = config.device,
            locators = link.status().locators.join(", "),
            "serving"
        );
        Ok(Self {
            service,
            workers,
            link,
            serving,
            watch,
            deployment,
            supervisor,
            running,
            _recordings: recordings,
            metrics: endpoint,
        })
    }

    /// The current status.
    pub fn status(&self) -> Status {
        self.service.status()
    }

    /// Its threads. If one of them is dead, drain the daemon and exit with a failure.
    pub const fn parts(&self) -> &Supervisor {
        &self.supervisor
    }

    /// A client in this process, without Zenoh.
    pub fn local_client(&self) -> LocalClient {
        LocalClient::new(Arc::clone(&self.service))
    }

    /// The endpoints that the daemon listens on, with their actual ports.
    pub fn locators(&self) -> Vec<String> {
        self.link.status().locators
    }

    /// Stops the intake, finishes the accepted samples, and drops as `drain_deadline` those that are not finished after `deadline`.
    pub fn drain(mut self, deadline: Duration) -> DrainReport {
        self.supervisor.close();
        self.serving.stop_input();
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        let clock = self.supervisor.clock();
        let begun = clock.now();
        let report = self.service.drain(self.workers, deadline);
        if let Some(watch) = self.watch {
            watch.join();
        }
        let left = deadline.saturating_sub(clock.elapsed(begun));
        self.deployment.stop(left.max(LEAST_STOP));
        drop(self.serving);
        self.link.close();
        report
    }
}

/// Adds the device's key to the session. Without a key the device serves all the same, unsigned.
fn signing(link: Link, config: &Config) -> Link {
    match device_key::open(&config.data) {
        Ok(key) => link.signing(key),
        Err(error) => {
            let cause = deploy::chain(&error);
            tracing::error!(
                cause,
                "this device cannot sign its status, events and answers"
            );
            link
        }
    }
}

fn open_intake(
    config: &Config,
    service: &Arc<Service>,
    link: &Link,
    supervisor: &Supervisor,
) -> Result<(Serving, Option<FolderWatch>), StartError> {
    let offered = Arc::clone(service);
    let asked = Arc::clone(service);
    let serving = link.serve(
        &config.intake.subscribe,
        move |incoming, responder| {
            offered.offer(incoming, responder.map_or(ReplyTo::None, ReplyTo::Query));
        },
        move || serde_json::to_vec(&asked.status()).unwrap_or_default(),
    )?;
    let watched = Arc::clone(service);
    let watch = config.watch.as_ref().zip(service.failed_files());
    let watch = watch
        .map(|(watch, failed_files)| {
            let max_bytes = config.intake.max_sample_bytes;
            FolderWatch::start(
                watch,
                max_bytes,
                failed_files,
                supervisor,
                move |incoming, answer| {
                    watched.offer_patiently(incoming, answer);
                },
            )
        })
        .transpose()?;
    Ok((serving, watch))
}
