//! The thread that owns the ledger. It is told what is wanted, and brings the device there step by step.
//!
//! It runs at low priority, so that what it loads and compiles does not disturb the samples, and never waits for a network: packages and
//! blobs are fetched on threads of their own, one each at most.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_delivery::{FetchError, Fetcher, Moved};
use hotshoe_engine::low_priority;
use hotshoe_protocol::status::{RollbackStatus, SlotsStatus};
use hotshoe_store::{Catalogue, Cause, Event, Store, Transition};
use hotshoe_trust::{Digest, Package, Time, TrustRoot};
use serde_json::Value;

use crate::deploy::boot::Boot;
use crate::deploy::candidate::Candidate;
use crate::deploy::command::{Command, CommandError};
use crate::deploy::company::Company;
use crate::deploy::loader::Loader;
use crate::deploy::probation::Probation;
use crate::deploy::reporter::{Reporter, Subject};
use crate::deploy::scout::{Scout, Wanted};
use crate::deploy::served::Served;
use crate::reload::Running;
use crate::service::Service;

/// How long the thread waits for a message before it looks after what is under way, in milliseconds.
const TICK_MS: u64 = 100;
/// Least time between two writes of components' state, in milliseconds.
const SAVE_MS: u64 = 1_000;
/// How long after the start statements have to be heard before their age is judged, in seconds.
const FRESH_AFTER_S: u64 = 60;

/// Where an answer goes.
pub struct Reply {
    /// To whoever waits.
    pub to: SyncSender<Result<Value, CommandError>>,
    /// How long somebody does.
    pub until: Instant,
}

/// What the deploy thread is told.
pub enum Message {
    /// A statement of what the site should run.
    Statement(Vec<u8>),
    /// An order to this device.
    Order(Vec<u8>, Reply),
    /// A command of the operator.
    Command(Command, Reply),
    /// New trusted keys.
    Trust(Vec<u8>),
    /// A package was fetched, or not.
    Package(u64, Result<Package, FetchError>),
    /// The blobs of a release were fetched, or not.
    Blobs(u64, Result<Moved, FetchError>),
    /// The daemon is about to end.
    Stop,
}

/// All that the deploy thread has.
pub struct Reconciler {
    pub(super) store: Store,
    pub(super) loader: Loader,
    pub(super) trust: TrustRoot,
    /// What is in effect, as of the last look at `running`.
    pub(super) config: Arc<Config>,
    running: Arc<Running>,
    pub(super) service: Arc<Service>,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) parts: Supervisor,
    /// For the threads that fetch.
    pub(super) mail: SyncSender<Message>,
    /// What serves.
    pub(super) serving: Option<Arc<Served>>,
    /// What served before the trial, where memory keeps it.
    pub(super) old: Option<Arc<Served>>,
    /// What serves no more, and some worker still holds.
    pub(super) retired: Vec<Arc<Served>>,
    pub(super) probation: Option<Probation>,
    /// What has happened, and the ledger could not be told yet.
    pub(super) unsettled: VecDeque<Transition>,
    pub(super) settle_due: Instant,
    pub(super) candidate: Option<Candidate>,
    pub(super) scout: Scout,
    /// Whether a thread fetches a package.
    pub(super) scouting: bool,
    /// Whether a thread fetches blobs.
    pub(super) fetching: bool,
    /// Packages that were refused since the start.
    pub(super) refused: BTreeSet<Digest>,
    /// Releases that were cancelled before they were verified, and the newest statement that wanted each.
    pub(super) cancelled: BTreeMap<Digest, Time>,
    /// The time of the newest valid statement that was heard.
    pub(super) newest_heard: Option<Time>,
    /// The time of the last order that was followed.
    pub(super) last_order: Option<Time>,
    pub(super) company: Company,
    /// The time of the newest statement whose release was verified or refused since the start.
    pub(super) judged: Option<Time>,
    pub(super) started: Instant,
    catalogue: Catalogue,
    /// Releases that the catalogue answers for.
    offered: BTreeSet<Digest>,
    tickets: u64,
    /// The release whose state was saved last, at which count of changes, and when.
    saved: Option<(Digest, u64, Instant)>,
}

/// What the deploy thread works with besides what it was started on.
pub struct Surroundings {
    /// Where the samples are.
    pub service: Arc<Service>,
    /// Fetches releases.
    pub fetcher: Arc<Fetcher>,
    /// Which digests the device can answer for.
    pub catalogue: Catalogue,
    /// Tells everybody.
    pub reporter: Arc<Reporter>,
    /// What the threads that it starts are parts of.
    pub parts: Supervisor,
    /// Reaches this very thread.
    pub mail: SyncSender<Message>,
}

impl Reconciler {
    /// Takes over what was booted.
    pub fn new(boot: Boot, running: Arc<Running>, with: Surroundings) -> Self {
        let newest_heard = boot.store.ledger().statement_seen.values().copied().max();
        let mut reconciler = Self {
            store: boot.store,
            loader: boot.loader,
            trust: boot.trust,
            config: running.config(),
            running,
            service: with.service,
            fetcher: with.fetcher,
            reporter: with.reporter,
            parts: with.parts,
            mail: with.mail,
            serving: boot.serving,
            old: boot.old,
            retired: Vec::new(),
            probation: None,
            unsettled: boot.unsettled,
            settle_due: Instant::now(),
            candidate: None,
            scout: Scout::default(),
            scouting: false,
            fetching: false,
            refused: BTreeSet::new(),
            cancelled: BTreeMap::new(),
            newest_heard,
            last_order: None,
            company: Company::new(),
            judged: None,
            started: Instant::now(),
            catalogue: with.catalogue,
            offered: BTreeSet::new(),
            tickets: 0,
            saved: None,
        };
        reconciler.resume();
        reconciler
    }

    /// Goes on where the ledger says that the daemon was.
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
                    let wanted = Wanted {
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
                Err(error) => self.unsettled.push_back(Transition::Unstage(error.cause())),
            }
        }
        // Not where the trial was rolled back, and the ledger could not be told yet.
        if let (Some(trial), Some(serving)) = (&ledger.trial, &self.serving)
            && serving.release().digest() == trial.slot.release
        {
            let gate = serving.release().health.bounded(&self.config.deploy.health);
            self.enter_probation(Subject::of(&trial.slot), gate, None);
        }
        self.settle();
        self.slots_changed();
    }

    /// Works until it is told to stop.
    pub fn run(mut self, messages: &Receiver<Message>) {
        if let Err(error) = low_priority() {
            tracing::warn!(%error, "releases are deployed at the priority of the samples");
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
            // A flood of messages must not keep the watch from a trial.
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
            // Whoever asked was told to try again: followed as well, the first order to roll back would be undone by the second.
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
            Message::Command(command, reply) => {
                tracing::info!(?command, "the operator asks");
                let answer = self.on_command(&command);
                answer_with(&reply, answer);
            }
            Message::Trust(bytes) => self.on_trust(&bytes),
            Message::Package(ticket, package) => self.on_package(ticket, package),
            Message::Blobs(ticket, moved) => self.fetched(ticket, moved),
            Message::Stop => {}
        }
    }

    /// Takes over what has changed in the configuration.
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
        self.settle();
        self.retire(None);
        if self.unsettled.is_empty() {
            self.watch();
            while self.advance() {}
        }
        self.send_scout();
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
        self.look_around();
    }

    /// A number for a fetch, by which its end is told from that of an earlier one.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Writes the state of the components that serve, if it has changed.
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
                "the components' state could not be saved"
            );
            // Tried again, also where nothing more changes.
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
        self.reporter.board().change(|view| {
            if stale && !view.stale {
                tracing::warn!(
                    hours = within.as_secs() / 3_600,
                    "no valid statement is as new as `deploy.fresh-within-hours` asks for; somebody may keep them away"
                );
            }
            view.stale = stale;
        });
    }

    /// Shows the ledger as it is now, and answers for what it holds.
    pub(super) fn slots_changed(&mut self) {
        let ledger = self.store.ledger();
        let held: BTreeSet<Digest> = ledger.slots().map(|slot| slot.release).collect();
        for gone in self.offered.difference(&held) {
            self.catalogue.remove_release(*gone);
        }
        let mut offered: BTreeSet<Digest> = self.offered.intersection(&held).copied().collect();
        for slot in ledger.slots() {
            if offered.contains(&slot.release) {
                continue;
            }
            match self
                .catalogue
                .add_release(&self.store.blobs(), slot.release, &slot.bundles)
            {
                Ok(_) => {
                    offered.insert(slot.release);
                }
                Err(error) => tracing::warn!(
                    release = slot.name,
                    cause = super::chain(&error),
                    "cannot share a release"
                ),
            }
        }
        self.offered = offered;
        let (ledger, trust_version) = (self.store.ledger(), self.trust.version());
        self.reporter.board().change(|view| {
            view.slots = SlotsStatus::of(ledger);
            view.last_rollback = RollbackStatus::latest(ledger);
            view.trust_version = trust_version;
            self.show_probation(view);
        });
    }

    fn stop(mut self) {
        self.scout.stop();
        if let Some(candidate) = &self.candidate {
            candidate.stop();
        }
        self.service.shadow(None);
        self.settle_due = Instant::now();
        self.settle();
        self.save_state();
        if !self.unsettled.is_empty() {
            let cause = Cause::new("unsettled", "the ledger could not be written");
            tracing::error!(
                cause = cause.message,
                "a trial that was rolled back will be tried again at the next start"
            );
        }
    }
}

/// The caller may be tired of waiting; then nobody wants the answer.
fn answer_with(reply: &Reply, answer: Result<Value, CommandError>) {
    let _ = reply.to.send(answer);
}

/// Whether a message is to be gone on with at once. What was fetched is; of statements, of which anybody may send many, the first
/// after a while.
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
