//! The daemon: it takes samples from Zenoh and from a watched folder, runs them through the release that is installed, and
//! publishes what comes of them.
//!
//! [`Daemon::start`] verifies and loads the release before anything is accepted; [`Daemon::drain`] finishes what was accepted. In
//! between, every accepted sample ends exactly once, as a result, a named drop or a named failure, and
//! [`status::Status`] has the counts. All calls block the calling thread; none may come from a single-threaded
//! tokio runtime, which Zenoh does not support.
#![forbid(unsafe_code)]

pub mod answer;
pub mod control;
pub mod deploy;
pub mod device_key;
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

use crate::answer::Answer;
use crate::deploy::{Board, Boot, Deployment};
use crate::metrics::{Endpoint, MetricsError};
use crate::reload::Running;
use crate::service::{Crew, Service};
use crate::watch::{Watch, WatchError};

pub use deploy::DeployError;
pub use service::{CallError, Called, CalledRelease, Door, DrainReport};

/// Why a daemon did not start. Nothing is left running then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No release can serve.
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
        /// How many there were to be.
        threads: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A daemon that serves.
pub struct Daemon {
    service: Arc<Service>,
    crew: Crew,
    link: Arc<Link>,
    serving: Serving,
    watch: Option<Watch>,
    deployment: Deployment,
    parts: Supervisor,
    running: Arc<Running>,
    _recordings: Orders,
    metrics: Option<Endpoint>,
}

impl Daemon {
    /// Starts to serve the installed release: first it is verified and loaded, then samples are taken. Where none is installed, samples
    /// are dropped by name until the first release has come over Zenoh.
    ///
    /// # Errors
    /// [`StartError`] names what is wrong and what to do.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Supervisor::default())
    }

    /// The same, beside other parts of the process that die or live with it.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(mut config: Config, parts: Supervisor) -> Result<Self, StartError> {
        // Before the first door opens.
        descriptors::fit(&mut config);
        let endpoint = config
            .metrics
            .clone()
            .map(|metrics| crate::metrics::serve(metrics, &parts))
            .transpose()?;
        let boot = Boot::open(&config)?;
        let serving = boot.serving();
        crate::metrics::release(None, serving.as_deref().map(deploy::Served::release));
        let board = Arc::new(Board::default());
        let memory = boot.memory().clone();
        tracing::info!(
            mode = memory.mode.name(),
            reason = memory.reason,
            "memories of components"
        );
        board.change(|view| view.memory = Some(memory));
        let link = Link::open_with(&config.zenoh, &config.site, &config.device, &parts)?;
        let link = Arc::new(signing(link, &config));
        let running = Running::new(config.clone());
        let service = Service::new(
            Arc::clone(&running),
            serving,
            Arc::clone(&board),
            Arc::clone(&link),
        );
        let crew = service.hire().map_err(|source| StartError::Workers {
            threads: config.workers.threads,
            source,
        })?;
        let give_up = |crew, error| {
            parts.close();
            service.drain(crew, Duration::ZERO);
            link.close();
            error
        };
        // First, so that the status says from the start what is in the slots.
        let deployment = match Deployment::start(boot, &config, &running, &service, board, &link) {
            Ok(deployment) => deployment,
            Err(error) => return Err(give_up(crew, error)),
        };
        let (serving, watch) = match open_intake(&config, &service, &link, &parts) {
            Ok(open) => open,
            Err(error) => {
                parts.close();
                deployment.stop();
                return Err(give_up(crew, error));
            }
        };
        let asked = Arc::clone(&service);
        let recordings = match link.recordings(move |request| asked.record_request(&request)) {
            Ok(recordings) => recordings,
            Err(error) => {
                parts.close();
                deployment.stop();
                return Err(give_up(crew, error.into()));
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
            crew,
            link,
            serving,
            watch,
            deployment,
            parts,
            running,
            _recordings: recordings,
            metrics: endpoint,
        })
    }

    /// The state at this moment.
    pub fn status(&self) -> Status {
        self.service.status()
    }

    /// Its threads. A part of them that is dead is a reason to drain, and to end with a failure.
    pub const fn parts(&self) -> &Supervisor {
        &self.parts
    }

    /// A way in that is not Zenoh.
    pub fn door(&self) -> Door {
        Door::new(Arc::clone(&self.service))
    }

    /// The endpoints that the daemon listens on, with the ports that it was given.
    pub fn locators(&self) -> Vec<String> {
        self.link.status().locators
    }

    /// Takes no more samples, finishes those that were accepted, and drops by name those that are not finished after
    /// `deadline`.
    pub fn drain(mut self, deadline: Duration) -> DrainReport {
        self.parts.close();
        self.serving.stop_input();
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        let report = self.service.drain(self.crew, deadline);
        if let Some(watch) = self.watch {
            watch.join();
        }
        self.deployment.stop();
        drop(self.serving);
        self.link.close();
        report
    }
}

/// A device whose key cannot be had serves all the same; whoever asks for signatures sees that it has none.
fn signing(link: Link, config: &Config) -> Link {
    match device_key::open(&config.data) {
        Ok(key) => link.signing(key),
        Err(error) => {
            let cause = deploy::chain(&error);
            tracing::error!(cause, "what this device says is not signed");
            link
        }
    }
}

fn open_intake(
    config: &Config,
    service: &Arc<Service>,
    link: &Link,
    parts: &Supervisor,
) -> Result<(Serving, Option<Watch>), StartError> {
    let offered = Arc::clone(service);
    let asked = Arc::clone(service);
    let serving = link.serve(
        &config.intake.subscribe,
        move |incoming, asker| {
            offered.offer(incoming, asker.map_or(Answer::Nobody, Answer::Query));
        },
        move || serde_json::to_vec(&asked.status()).unwrap_or_default(),
    )?;
    let watched = Arc::clone(service);
    let watch = config.watch.as_ref().zip(service.aside());
    let watch = watch
        .map(|(watch, aside)| {
            let max_bytes = config.intake.max_sample_bytes;
            Watch::start(watch, max_bytes, aside, parts, move |incoming, answer| {
                watched.offer_patiently(incoming, answer);
            })
        })
        .transpose()?;
    Ok((serving, watch))
}
