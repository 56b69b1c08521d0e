//! The deploy thread, which owns the ledger and brings the device to the wanted state step by step.
//!
//! It runs at low priority, so that loading and compiling does not delay samples. It never waits for the network: at most one thread
//! fetches a package, and one fetches blobs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_delivery::{FetchError, Fetcher, TransferStats};
use hotshoe_engine::{RaisedInterrupt, low_priority};
use hotshoe_protocol::event::{self, EventCause, KnownKind};
use hotshoe_protocol::status::{RollbackStatus, SlotsStatus};
use hotshoe_store::{Catalogue, Cause, Event, Store, Transition};
use hotshoe_trust::{Digest, Package, Time, TrustRoot};
use serde_json::Value;

use crate::deploy::candidate::Candidate;
use crate::deploy::command::{Command, CommandError};
use crate::deploy::loader::Loader;
use crate::deploy::package_queue::{PackageQueue, WantedRelease};
use crate::deploy::peer_monitor::PeerMonitor;
use crate::deploy::probation::Probation;
use crate::deploy::reporter::{Reporter, Subject};
use crate::deploy::serving_release::ServingRelease;
use crate::deploy::startup::StartupState;
use crate::reload::RunningConfig;
use crate::service::Service;

/// Interval of the thread's periodic work, in milliseconds.
const TICK_MS: u64 = 100;
/// Least time between two writes of the components' state, in milliseconds.
const SAVE_MS: u64 = 1_000;
/// Time after the start before the age of statements is checked, in seconds.
const FRESH_AFTER_S: u64 = 60;

/// Destination of an answer.
pub struct Reply {
    /// The channel of the waiting caller.
    pub to: SyncSender<Result<Value, CommandError>>,
    /// When the caller stops waiting.
    pub until: Instant,
    /// Keeps components from being compiled until the message is received.
    pub interrupt: Option<RaisedInterrupt>,
}

/// A message to the deploy thread.
pub enum Message {
    /// A statement of what the site should run.
    Statement(Vec<u8>),
    /// An order to this device.
    Order(Vec<u8>, Reply),
    /// A command of the operator.
    Command(Command, Reply),
    /// New trusted keys.
    Trust(Vec<u8>),
    /// The fetch of a package has ended.
    Package(u64, Result<Package, FetchError>),
    /// The fetch of a release's blobs has ended.
    Blobs(u64, Result<TransferStats, FetchError>),
    /// The daemon stops.
    Stop,
}

/// The state of the deploy thread.
pub struct Reconciler {
    pub(super) store: Store,
    pub(super) loader: Loader,
    pub(super) trust: TrustRoot,
    /// The configuration, as of the last update from `running`.
    pub(super) config: Arc<Config>,
    running: Arc<RunningConfig>,
    pub(super) service: Arc<Service>,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) parts: Supervisor,
    /// For the threads that fetch.
    pub(super) sender: SyncSender<Message>,
    /// The release that serves.
    pub(super) serving: Option<Arc<ServingRelease>>,
    /// The release before the trial, if it is kept in memory.
    pub(super) old: Option<Arc<ServingRelease>>,
    /// Replaced releases that a worker still uses.
    pub(super) retired: Vec<Arc<ServingRelease>>,
    pub(super) probation: Option<Probation>,
    /// Transitions that are not in the ledger yet.
    pub(super) pending_transitions: VecDeque<Transition>,
    pub(super) write_due: Instant,
    pub(super) candidate: Option<Candidate>,
    pub(super) packages: PackageQueue,
    pub(super) is_fetching_package: bool,
    pub(super) is_fetching_blobs: bool,
    /// Packages that were refused since the start.
    pub(super) refused: BTreeSet<Digest>,
    /// Releases that were cancelled before they were verified, and the newest statement that wanted each.
    pub(super) cancelled: BTreeMap<Digest, Time>,
    /// The time of the newest valid statement.
    pub(super) newest_heard: Option<Time>,
    /// The time of the last order that was carried out.
    pub(super) last_order: Option<Time>,
    pub(super) peer_monitor: PeerMonitor,
    /// The time of the newest statement whose release was verified or refused since the start.
    pub(super) judged: Option<Time>,
    pub(super) started: Instant,
    catalogue: Catalogue,
    /// Releases in the catalogue.
    shared_releases: BTreeSet<Digest>,
    last_fetch_id: u64,
    /// The release whose state was saved last, at which count of changes, and when.
    saved: Option<(Digest, u64, Instant)>,
}

/// The parts of the daemon that the deploy thread uses.
pub struct Dependencies {
    /// The service with the workers.
    pub service: Arc<Service>,
    /// Fetches releases.
    pub fetcher: Arc<Fetcher>,
    /// The objects that the device serves to neighbours.
    pub catalogue: Catalogue,
    /// Publishes the progress of releases.
    pub reporter: Arc<Reporter>,
    /// The parts that its threads are registered in.
    pub parts: Supervisor,
    /// Sends messages to the deploy thread.
    pub sender: SyncSender<Message>,
}

impl Reconciler {
    /// Takes over the state of the start.
    pub fn new(startup: StartupState, running: Arc<RunningConfig>, with: Dependencies) -> Self {
        let newest_heard = startup
            .store
            .ledger()
            .statement_seen
            .values()
            .copied()
            .max();
        let mut reconciler = Self {
            store: startup.store,
            loader: startup.loader,
            trust: startup.trust,
            config: running.config(),
            running,
            service: with.service,
            fetcher: with.fetcher,
            reporter: with.reporter,
            parts: with.parts,
            sender: with.sender,
            serving: startup.serving,
            old: startup.old,
            retired: Vec::new(),
            probation: None,
            pending_transitions: startup.pending_transitions,
            write_due: Instant::now(),
            candidate: None,
            packages: PackageQueue::default(),
            is_fetching_package: false,
            is_fetching_blobs: false,
            refused: BTreeSet::new(),
            cancelled: BTreeMap::new(),
            newest_heard,
            last_order: None,
            peer_monitor: PeerMonitor::new(),
            judged: None,
            started: Instant::now(),
            catalogue: with.catalogue,
            shared_releases: BTreeSet::new(),
            last_fetch_id: 0,
            saved: None,
        };
        reconciler.resume();
        reconciler
    }

    /// Resumes from the ledger: the staged candidate, the trial, and pending transitions.
    fn resume(&mut self) {
        let ledger = self.store.ledger().clone();
        let of_release = |event: &&Event| event.release.is_some();
        if let Some(last) = ledger.history.iter().rev().find(of_release)
            && let Some(release) = last.release
        {
            let subject = Subject {
                release,
                name: last.name.clone(),
                generation: last.generation,
                statement: None,
            };
            self.reporter
                .phase(&subject, last.phase, last.cause.clone());
        }
        if let Some(slot) = &ledger.staged {
            match self.loader.verified(&self.store, slot, &self.trust) {
                Ok(release) => {
                    let wanted = WantedRelease {
                        subject: Subject::of(slot),
                        bundles: slot.bundles.clone(),
                        activate: ledger.activate == Some(slot.release),
                        issued: ledger
                            .statement_seen
                            .get(&slot.name)
                            .copied()
                            .unwrap_or(slot.installed),
                        signed: false,
                    };
                    self.candidate = Some(Candidate::staged(wanted, release, slot.clone()));
                }
                Err(error) => self
                    .pending_transitions
                    .push_back(Transition::Unstage(error.cause())),
            }
        }
        // Not if the trial was rolled back and the ledger could not be written yet.
        if let (Some(trial), Some(serving)) = (&ledger.trial, &self.serving)
            && serving.release().digest() == trial.slot.release
        {
            let gate = serving.release().health.bounded(&self.config.deploy.health);
            self.enter_probation(Subject::of(&trial.slot), gate, None);
        }
        self.write_pending();
        self.slots_changed();
    }

    /// Runs until [`Message::Stop`].
    pub fn run(mut self, messages: &Receiver<Message>) {
        if let Err(error) = low_priority() {
            tracing::warn!(%error, "cannot lower the priority of the deploy thread; it runs at the priority of the workers");
        }
        let mut tick = Instant::now();
        let mut stated = None;
        loop {
            let pause = tick.saturating_duration_since(Instant::now());
            match messages.recv_timeout(pause) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => {
                    self.reconfigure();
                    if is_urgent(&message, &mut stated) {
                        tick = Instant::now();
                    }
                    self.take(message);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Checked after each message too, so that a flood does not delay the checks of a trial.
            if tick <= Instant::now() {
                self.tick();
                tick = Instant::now() + Duration::from_millis(TICK_MS);
            }
        }
        self.stop();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Statement(bytes) => self.on_statement(&bytes),
            // The caller was told to try again. If this were carried out too, the retry of a rollback would undo it.
            Message::Order(_, reply) | Message::Command(_, reply)
                if reply.until <= Instant::now() =>
            {
                answer_with(&reply, Err(CommandError::Busy));
            }
            Message::Order(bytes, reply) => {
                let answer = self.on_order(&bytes);
                if let Err(error) = &answer {
                    self.reporter.ignored(error.name());
                }
                answer_with(&reply, answer);
            }
            Message::Command(command, mut reply) => {
                // It no longer waits for a compilation.
                drop(reply.interrupt.take());
                tracing::info!(?command, "command from the operator");
                let answer = self.on_command(&command);
                answer_with(&reply, answer);
            }
            Message::Trust(bytes) => self.on_trust(&bytes),
            Message::Package(fetch_id, package) => self.on_package(fetch_id, package),
            Message::Blobs(fetch_id, moved) => self.fetched(fetch_id, moved),
            Message::Stop => {}
        }
    }

    /// Applies changes of the configuration.
    fn reconfigure(&mut self) {
        let config = self.running.config();
        let rate = config.deploy.max_bytes_per_second;
        if rate != self.config.deploy.max_bytes_per_second {
            self.fetcher.limit(rate);
        }
        self.config = config;
    }

    fn tick(&mut self) {
        self.reconfigure();
        self.write_pending();
        self.retire(None);
        if self.pending_transitions.is_empty() {
            self.watch();
            while self.advance() {}
        }
        self.fetch_next_package();
        if let Some(serving) = &self.serving {
            self.loader
                .remember_switches(&self.store, serving.pipeline());
        }
        if self
            .saved
            .is_none_or(|(.., at)| at.elapsed() >= Duration::from_millis(SAVE_MS))
        {
            self.save_state();
        }
        self.check_fresh();
        self.check_peers();
    }

    /// A new id, which tells the end of a fetch from that of an earlier one.
    pub(super) fn next_fetch_id(&mut self) -> u64 {
        self.last_fetch_id += 1;
        self.last_fetch_id
    }

    /// Saves the state of the serving components, if it has changed.
    pub(super) fn save_state(&mut self) {
        let Some(serving) = &self.serving else {
            return;
        };
        let digest = serving.release().digest();
        let changes = serving.pipeline().state_changes();
        let saved = self.saved.filter(|(release, ..)| *release == digest);
        if saved.map_or(0, |(_, changes, _)| changes) == changes {
            return;
        }
        let bytes = serving.pipeline().state_snapshot().to_bytes();
        let mut on_disk = changes;
        if let Err(error) = self.store.save_state(digest, &bytes) {
            tracing::warn!(
                cause = super::chain(&error),
                "cannot save the state of the components"
            );
            // So that it is retried even without further changes.
            on_disk = saved.map_or(0, |(_, changes, _)| changes);
        }
        self.saved = Some((digest, on_disk, Instant::now()));
    }

    fn check_fresh(&self) {
        let Some(within) = self.config.deploy.fresh_within() else {
            return;
        };
        if self.started.elapsed() < Duration::from_secs(FRESH_AFTER_S) {
            return;
        }
        let age = self
            .newest_heard
            .map(|newest| Time::now().duration_since(newest));
        let stale = age.is_none_or(|age| age.unsigned_abs() > within && age.is_positive());
        self.reporter.published_status().change(|view| {
            if stale && !view.stale {
                let message = "check the connection: an attacker may be blocking statements";
                self.reporter.published_status().events().record(
                    KnownKind::StatementsStale,
                    event::Subject::Device,
                    Some(EventCause::new("not_fresh", message)),
                    &[("hours", (within.as_secs() / 3_600).into())],
                );
            }
            view.stale = stale;
        });
    }

    /// Updates the published status and the catalogue from the ledger.
    pub(super) fn slots_changed(&mut self) {
        let ledger = self.store.ledger();
        let held: BTreeSet<Digest> = ledger.slots().map(|slot| slot.release).collect();
        for gone in self.shared_releases.difference(&held) {
            self.catalogue.remove_release(*gone);
        }
        let mut shared: BTreeSet<Digest> =
            self.shared_releases.intersection(&held).copied().collect();
        for slot in ledger.slots() {
            if shared.contains(&slot.release) {
                continue;
            }
            match self
                .catalogue
                .add_release(&self.store.blobs(), slot.release, &slot.bundles)
            {
                Ok(_) => {
                    shared.insert(slot.release);
                }
                Err(error) => tracing::warn!(
                    release = slot.name,
                    cause = super::chain(&error),
                    "cannot share a release"
                ),
            }
        }
        self.shared_releases = shared;
        let (ledger, trust_version) = (self.store.ledger(), self.trust.version());
        self.reporter.published_status().change(|view| {
            view.slots = SlotsStatus::of(ledger);
            view.last_rollback = RollbackStatus::latest(ledger);
            view.trust_version = trust_version;
            self.show_probation(view);
        });
    }

    fn stop(mut self) {
        self.packages.stop();
        if let Some(candidate) = &self.candidate {
            candidate.stop();
        }
        self.service.shadow(None);
        self.write_due = Instant::now();
        self.write_pending();
        self.save_state();
        if !self.pending_transitions.is_empty() {
            let cause = Cause::new("unsettled", "the ledger could not be written");
            tracing::error!(
                cause = cause.message,
                "the rollback of a trial is not in the ledger; the next start tries the trial again"
            );
        }
    }
}

/// Sends an answer. The caller may have stopped waiting.
fn answer_with(reply: &Reply, answer: Result<Value, CommandError>) {
    let _ = reply.to.send(answer);
}

/// Whether a message triggers the periodic work at once: a finished fetch does, and a statement if there was none in the last tick, so
/// that a flood of statements does not.
fn is_urgent(message: &Message, stated: &mut Option<Instant>) -> bool {
    match message {
        Message::Package(..) | Message::Blobs(..) => true,
        Message::Statement(_) => {
            let last = stated.replace(Instant::now());
            last.is_none_or(|last| last.elapsed() >= Duration::from_millis(TICK_MS))
        }
        _ => false,
    }
}
