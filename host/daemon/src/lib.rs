//! The daemon: takes samples from Zenoh and from a watched folder, runs them through the installed release, and publishes the
//! results.
//!
//! [`Daemon::start`] verifies and loads the release before it accepts samples; [`Daemon::drain`] finishes the accepted ones. Every
//! accepted sample ends exactly once, as a result, as a drop with a reason, or as a failure with a fault, and [`Status`] has the
//! counts. All calls block. Do not call them from a single-threaded tokio runtime, which Zenoh does not support.
#![forbid(unsafe_code)]

pub mod alerts;
mod audit;
pub mod command;
pub mod control;
pub mod deploy;
pub mod device_key;
pub mod ending;
pub mod events;
pub mod governor;
mod hardware;
pub mod in_force;
mod liveness;
pub mod log;
pub mod media;
mod memory;
pub mod metrics;
mod outbox;
mod private_telemetry;
pub mod recording;
pub mod reload;
mod requests;
pub mod service_manager;
pub mod serving;
mod shared_data;
pub mod stored_data;
pub mod watch;
pub mod watched;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_audit::{Actor, AuditError, AuditKind, Entry, HeldHead, SignedHead, Signer};
use hotshoe_base::chain;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{Config, ConfigError, FleetError, LocalConfig, descriptors};
use hotshoe_delivery::{HeadLimits, keep_heads};
use hotshoe_egress::Classifier;
use hotshoe_http::Renewal;
use hotshoe_link::LinkError;
use hotshoe_link::{HeadSubscription, Link, Orders, Serving};
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};
use hotshoe_protocol::status::{KeyStatus, ReloadStatus, Status};
use hotshoe_sealing::{AtRest, SealingKeyError};

use crate::alerts::{Alerts, AlertsThread};
use crate::audit::{AuditPart, AuditRecorder};
use crate::command::Command;
use crate::control::Control;
use crate::deploy::{Deployment, StartRecord, StartupState};
use crate::governor::GovernorThread;
use crate::liveness::{Liveness, Watched};
use crate::metrics::{Endpoint, MetricsError};
use crate::outbox::OutboxPart;
use crate::private_telemetry::{PrivateTelemetry, PrivateTelemetryThread};
use crate::reload::{Change, RunningConfig};
pub use crate::requests::Request;
use crate::service_manager::ServiceManager;
use crate::serving::answer::ReplyTo;
use crate::serving::{PublishedStatus, Service, ServingRelease, WorkerPool};
use crate::shared_data::SharedData;
use crate::stored_data::StoredData;
use crate::watch::{FolderWatch, WatchError};

pub use deploy::DeployError;
pub use hardware::hardware;
pub use private_telemetry::PrivateTelemetryError;
pub use serving::{
    Arrival, CallError, CallOutput, CallRelease, DrainReport, LocalClient, Output, OutputKind,
    RecordsTrace, TracedEnd, TracedSample, Tracer, Viewer, new_span_id,
};

/// The least time that the deploy thread has to write what it knows when the daemon stops.
const LEAST_STOP: Duration = Duration::from_secs(2);

/// Why a daemon did not start. Everything that was started is stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The deployment cannot start.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The key that the device's files are encrypted with cannot be used. The daemon never makes another one in its place.
    #[error("cannot use the key of the device's files")]
    Key(#[from] SealingKeyError),
    /// The figures of `[private-telemetry]` cannot be measured.
    #[error("cannot measure the figures of `[private-telemetry]`")]
    PrivateTelemetry(#[from] PrivateTelemetryError),
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
    /// The thread that looks whether the daemon goes on cannot be started.
    #[error("cannot start the thread that looks whether the daemon goes on")]
    Liveness(#[source] io::Error),
    /// The governor's thread cannot be started.
    #[error("cannot start the governor's thread")]
    Governor(#[source] io::Error),
}

/// Why a configuration could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum ConfigReadError {
    /// The device's own file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file no longer fits the `config` release.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

/// A running daemon.
pub struct Daemon {
    service: Arc<Service>,
    workers: WorkerPool,
    link: Arc<Link>,
    serving: Serving,
    watch: Option<FolderWatch>,
    governor: Option<GovernorThread>,
    alerts: Option<AlertsThread>,
    private_telemetry: Option<PrivateTelemetryThread>,
    control: Option<Control>,
    deployment: Deployment,
    supervisor: Supervisor,
    running: Arc<RunningConfig>,
    starts: Arc<StartRecord>,
    manager: Arc<ServiceManager>,
    liveness: Liveness,
    /// Those of recorders and of shared data.
    _requests: (Orders, Orders),
    /// Keeps the heads of other devices' audit logs.
    _heads: Option<HeadSubscription>,
    metrics: Option<Endpoint>,
    outbox: Option<OutboxPart>,
    /// Stopped last, so that it records what the others do while they stop.
    audit: Option<AuditPart>,
}

impl Daemon {
    /// Starts the daemon: verifies and loads the installed release, then accepts samples. Without a release, samples are dropped as
    /// `no_release` until the first one arrives over Zenoh.
    ///
    /// # Errors
    /// [`StartError`] names what is wrong and what to do.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Supervisor::default(), ServiceManager::default())
    }

    /// Like [`Self::start`], with its threads registered in `supervisor`. All of them get the time from its clock. `manager` is told that the
    /// daemon goes on; that it is ready is for the caller to say.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(
        mut config: Config,
        supervisor: Supervisor,
        manager: ServiceManager,
    ) -> Result<Self, StartError> {
        let manager = Arc::new(manager);
        manager.set_status("loads the release");
        let _more_time = manager.more_time(liveness::longest_step(&config), &supervisor);
        // Before the first socket is opened.
        descriptors::fit(&mut config);
        let endpoint = crate::metrics::start(&config, &supervisor)?;
        let at_rest = config.encryption.open()?;
        let figures = config.private_telemetry.as_ref();
        let figures = figures.map(PrivateTelemetry::new).transpose()?;
        let startup = StartupState::open(&config, at_rest.clone(), supervisor.clock().clone())?;
        let (serving, shared_texts) = (startup.serving(), startup.shared_texts());
        let (trust, starts) = (startup.trust(), startup.starts());
        crate::metrics::release(None, serving.as_deref().map(ServingRelease::release));
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
        let link = Arc::new(signing(link, &config, &at_rest));
        let audit = open_audit((&config, &at_rest), &published_status, &link, &startup);
        let running = RunningConfig::new(config.clone(), supervisor.clock().clone());
        // Stopped when it is dropped.
        let outbox = OutboxPart::start(&config, &at_rest, Arc::clone(&trust), &link);
        let service = Service::new(
            Arc::clone(&running),
            serving,
            Arc::clone(&published_status),
            Arc::clone(&link),
            outbox.as_ref().map(OutboxPart::outputs),
            startup.kept_back(),
        );
        // Ends when it is dropped.
        let private_telemetry = figures.and_then(|figures| {
            let figures = Arc::new(figures);
            service.add_to(Arc::clone(&figures));
            let outbox = outbox.as_ref().map(OutboxPart::outputs);
            PrivateTelemetryThread::start(&config, &figures, outbox, &supervisor)
        });
        let workers = service
            .spawn_workers()
            .map_err(|source| StartError::Workers {
                threads: config.workers.threads,
                source,
            })?;
        let abort = |workers, error: StartError| {
            supervisor.close();
            service.drain(workers, Duration::ZERO);
            link.close();
            error
        };
        // Ends when it is dropped.
        let governor =
            match GovernorThread::start(&service, &running, &published_status, &supervisor) {
                Ok(governor) => governor,
                Err(error) => return Err(abort(workers, StartError::Governor(error))),
            };
        let recorder = audit.as_ref().map(|audit| audit.recorder().clone());
        let alerts = Alerts::open(
            &config,
            &at_rest,
            &published_status,
            outbox.as_ref().map(OutboxPart::outputs),
            recorder.clone(),
            supervisor.clock(),
        );
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
            Err(error) => return Err(abort(workers, error.into())),
        };
        let heads = follow_heads(&config, &link);
        let stored_data =
            StoredData::new(outbox.as_ref().map(OutboxPart::outputs), recorder.clone());
        let secret_changes = recorder.clone();
        let shared_data = SharedData::new(
            (&config, &at_rest),
            &running,
            trust,
            &link,
            shared_texts,
            recorder,
        );
        let alerts_thread = AlertsThread::start(&alerts, &service, &running, &supervisor);
        let control = open_control(
            &config,
            &service,
            &deployment,
            (&shared_data, stored_data, alerts, secret_changes),
            &supervisor,
        );
        // Before the intake, which shows that the device is there.
        let requests = match answer_requests(&link, &service, shared_data) {
            Ok(requests) => requests,
            Err(error) => {
                supervisor.close();
                deployment.stop(LEAST_STOP, || drop(control));
                return Err(abort(workers, error.into()));
            }
        };
        let (serving, watch) = match open_intake(&config, &service, &link, &supervisor) {
            Ok(open) => open,
            Err(error) => {
                supervisor.close();
                deployment.stop(LEAST_STOP, || drop(control));
                return Err(abort(workers, error));
            }
        };
        let watched = Watched {
            service: Arc::clone(&service),
            steps: deployment.steps(),
            starts: Arc::clone(&starts),
            manager: Arc::clone(&manager),
        };
        let liveness = match Liveness::start(watched, &config, &supervisor) {
            Ok(liveness) => liveness,
            Err(error) => {
                supervisor.close();
                deployment.stop(LEAST_STOP, || drop(control));
                return Err(abort(workers, StartError::Liveness(error)));
            }
        };
        if let Some(endpoint) = &endpoint {
            let asked = Arc::clone(&service);
            endpoint.ask_readiness(move || asked.not_ready());
        }
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
            governor,
            alerts: alerts_thread,
            private_telemetry,
            control,
            deployment,
            supervisor,
            running,
            starts,
            manager,
            liveness,
            _requests: requests,
            _heads: heads,
            metrics: endpoint,
            outbox,
            audit,
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

    /// The service manager, which is told when the daemon is ready.
    pub fn service_manager(&self) -> &ServiceManager {
        &self.manager
    }

    /// A client in this process, without Zenoh.
    pub fn local_client(&self) -> LocalClient {
        LocalClient::new(Arc::clone(&self.service))
    }

    /// Follows what the daemon asks of its process, from the start on.
    pub fn follow_requests(&self, follow: impl Fn(Request) + Send + 'static) {
        self.running.requests().follow(follow);
    }

    /// The device's own file, from which the running configuration was made. Without it, `config` releases are refused.
    pub fn set_file(&self, local: LocalConfig) {
        self.running.set_local(local);
    }

    /// Reads the device's own file again, and returns the configuration with the keys of the `config` release that is in effect.
    ///
    /// # Errors
    /// [`ConfigReadError`] names the key or the file.
    pub fn read_config(&self, path: &Path) -> Result<Config, ConfigReadError> {
        let local = LocalConfig::load(path)?;
        let config = match self.running.fleet() {
            Some(fleet) => local.with(&fleet)?,
            None => local.config().clone(),
        };
        self.running.set_local(local);
        Ok(config)
    }

    /// The endpoints that the daemon listens on, with their actual ports.
    pub fn locators(&self) -> Vec<String> {
        self.link.status().locators
    }

    /// The configuration that is in effect.
    pub fn config(&self) -> Arc<Config> {
        self.running.config()
    }

    /// Computes the effect of a new configuration. A process with further servers prepares them before [`Daemon::apply`].
    ///
    /// # Errors
    /// [`ConfigError`] if the resulting configuration is not valid.
    pub fn change(&self, new: &Config) -> Result<Change, ConfigError> {
        self.running.change(new)
    }

    /// Prepares the Prometheus endpoint for a configuration, without applying it.
    ///
    /// # Errors
    /// [`MetricsError`] names what is wrong.
    pub fn renew_metrics(&self, config: &Config) -> Result<Option<Renewal>, MetricsError> {
        match &self.metrics {
            Some(endpoint) => endpoint.renew(config),
            None => Ok(None),
        }
    }

    /// Applies a change, and records it in the status. The deploy thread follows with its next step.
    pub fn apply(&self, change: Change) -> ReloadStatus {
        let status = self.running.apply(change);
        self.service.reconfigure();
        self.audit_reload(AuditKind::ConfigReloaded, |entry| {
            entry
                .with("applied", status.applied.join(" "))
                .with("needs_restart", status.needs_restart.join(" "))
        });
        status
    }

    /// Records in the status that a new configuration was refused.
    pub fn refuse(&self, error: String) -> ReloadStatus {
        self.audit_reload(AuditKind::ConfigRefused, |entry| {
            entry.with("error", &error)
        });
        self.running.refuse(error)
    }

    /// Records a reload, which an operator causes by a signal.
    fn audit_reload(&self, kind: AuditKind, with: impl FnOnce(Entry) -> Entry) {
        if let Some(audit) = &self.audit {
            let entry = audit.recorder().entry(kind).by(Actor::Operator);
            audit.recorder().record(with(entry));
        }
    }

    /// Stops the intake, finishes the accepted samples, and drops as `drain_deadline` those that are not finished after `deadline`.
    pub fn drain(mut self, deadline: Duration) -> DrainReport {
        self.manager.stopping(deadline);
        if self.supervisor.dead().is_empty() {
            self.starts.end();
        } else {
            // The release may be the reason.
            self.starts.let_count();
        }
        drop(self.liveness);
        self.supervisor.close();
        self.serving.stop_input();
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        drop(self.private_telemetry);
        if let Some(alerts) = self.alerts {
            alerts.stop(LEAST_STOP);
        }
        let clock = self.supervisor.clock();
        let begun = clock.now();
        let report = self.service.drain(self.workers, deadline);
        if let Some(outbox) = self.outbox {
            // Sends the answers that wait for it.
            outbox.stop(LEAST_STOP);
        }
        if let Some(watch) = self.watch {
            watch.join();
        }
        // Its fan runs until the last sample has ended.
        if let Some(governor) = self.governor {
            governor.stop(LEAST_STOP);
        }
        let left = deadline.saturating_sub(clock.elapsed(begun));
        let control = self.control;
        self.deployment.stop(left.max(LEAST_STOP), || drop(control));
        drop(self.serving);
        drop(self.audit);
        self.link.close();
        report
    }
}

/// Adds the device's key to the session. Without a key the device serves all the same, unsigned.
fn signing(link: Link, config: &Config, at_rest: &AtRest) -> Link {
    match device_key::open(&config.data, at_rest) {
        Ok(key) => link.signing(key),
        Err(error) => {
            let cause = chain(&error);
            tracing::error!(
                cause,
                "this device cannot sign its status, events and answers"
            );
            link
        }
    }
}

/// Answers recorders, and requests about shared data.
fn answer_requests(
    link: &Link,
    service: &Arc<Service>,
    shared_data: Arc<SharedData>,
) -> Result<(Orders, Orders), LinkError> {
    let asked = Arc::clone(service);
    let recordings = link.recordings(move |request| asked.record_request(&request))?;
    let shared_data = link.shared_data(move |request| shared_data.answer(&request))?;
    Ok((recordings, shared_data))
}

/// Starts the part that writes the audit log. The daemon also runs without it.
fn open_audit(
    (config, at_rest): (&Config, &AtRest),
    published_status: &Arc<PublishedStatus>,
    link: &Arc<Link>,
    startup: &StartupState,
) -> Option<AuditPart> {
    let (site, device) = (config.site.clone(), config.device.clone());
    // Without a key, the session says so.
    let key = device_key::open(&config.data, at_rest).ok();
    let signer = key.map(|key| Signer::new(key, site.clone(), device.clone()));
    let (shown, told) = (Arc::clone(published_status), Arc::clone(published_status));
    let (publisher, key) = (Arc::clone(link), link.key().and_then(KeyStatus::of));
    let on_head = move |head: SignedHead| {
        shown.change(|view| view.audit = Some(head.clone()));
        if let Some(key) = &key {
            let public_key = key.public_key.clone();
            if let Err(error) = publisher.publish_head(&HeldHead { head, public_key }) {
                tracing::debug!(%error, "cannot publish the head of the audit log");
            }
        }
    };
    let on_failure = move |error: &AuditError| {
        let path = hotshoe_audit::FOLDER.to_owned();
        let cause = EventCause::new(error.name(), chain(error));
        let subject = Subject::File { path };
        let events = told.events();
        events.record(KnownKind::DiskWriteFailed, subject, Some(cause), &[]);
    };
    let audit = AuditPart::start(&config.data, signer, link.parts(), on_head, on_failure)
        .inspect_err(|error| tracing::error!(%error, "cannot start a thread; nothing is audited"))
        .ok()?;
    let recorder = audit.recorder().clone();
    let serving = startup.serving();
    let release = serving.map_or_else(
        || "none".to_owned(),
        |serving| serving.release().digest().to_string(),
    );
    let started = recorder
        .entry(AuditKind::DaemonStarted)
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("site", site)
        .with("device", device)
        .with("development", config.development.to_string())
        .with("trust_version", startup.trust_version().to_string())
        .with("release", release);
    recorder.record(started);
    published_status.events().audit_to(recorder);
    Some(audit)
}

/// Keeps the heads of the audit logs of the site's other devices: where one of them is cut off, its neighbours can tell.
fn follow_heads(config: &Config, link: &Link) -> Option<HeadSubscription> {
    let (site, own) = (link.site_session(), Some(config.device.as_str()));
    keep_heads(&config.data, HeadLimits::DEVICE, own, site, link.parts())
        .inspect_err(|error| {
            tracing::warn!(%error, "the heads of other devices' audit logs are not kept");
        })
        .ok()
}

/// Opens the operator's socket. The daemon also runs without one.
fn open_control(
    config: &Config,
    service: &Arc<Service>,
    deployment: &Deployment,
    (shared_data, stored_data, alerts, secret_changes): (
        &Arc<SharedData>,
        StoredData,
        Arc<Alerts>,
        Option<AuditRecorder>,
    ),
    supervisor: &Supervisor,
) -> Option<Control> {
    let (service, deployment) = (Arc::clone(service), deployment.handle());
    let shared_data = Arc::clone(shared_data);
    let follow = move |command: Command| match command {
        Command::Status => Ok(serde_json::to_value(service.status()).unwrap_or_default()),
        Command::SharedData { action } => shared_data.command(action),
        Command::Data { action } => stored_data.command(action),
        Command::Alerts { action } => alerts.command(action),
        command @ Command::Secret { .. } => {
            if let Some(audit) = &secret_changes {
                let entry = audit.entry(AuditKind::Command).by(Actor::Operator);
                audit.record(command.described(entry).with("outcome", "done"));
            }
            Ok(serde_json::json!({}))
        }
        command => deployment.send(command),
    };
    Control::open(&config.data, supervisor, follow)
        .inspect_err(|error| tracing::warn!(%error, data = %config.data.display(), "cannot open the control socket; this daemon takes commands over Zenoh only"))
        .ok()
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
        move || Classifier::host(&asked.status()),
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
