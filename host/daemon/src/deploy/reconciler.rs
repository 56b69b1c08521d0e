//! The coordinator: it brings the device to the wanted state step by step, on one thread.
//!
//! Each owner has one task and does not know the others. Only this module sees several of them: it gives one what another has, and
//! carries out what they return. It runs at low priority, so that loading and compiling does not delay samples. It never waits for
//! the network: at most one thread fetches a package, and one fetches blobs.

mod kinds;
mod orders;
mod rollouts;
mod statements;
mod steps;
mod trials;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_delivery::Fetcher;
use hotshoe_engine::low_priority;
use hotshoe_protocol::event::{self, EventCause, KnownKind};
use hotshoe_protocol::status::{RollbackStatus, SlotsStatus};
use hotshoe_store::{Catalogue, Event, Transition};
use hotshoe_trust::{ReleaseKind, Time};

use crate::command::CommandError;
use crate::deploy::admission::Admission;
use crate::deploy::freshness::is_stale;
use crate::deploy::kinds::{KindParts, KindReleases};
use crate::deploy::ledger_writer::LedgerWriter;
use crate::deploy::loader::Loader;
use crate::deploy::measurement::{Measured, Measurement};
use crate::deploy::message::Message;
use crate::deploy::name_monitor::NameMonitor;
use crate::deploy::peer_monitor::PeerMonitor;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::{Reporter, Subject};
use crate::deploy::rollouts::DeviceRollouts;
use crate::deploy::serving::Serving;
use crate::deploy::slot_signers::SlotSigners;
use crate::deploy::startup::StartupState;
use crate::deploy::transfers::Transfers;
use crate::deploy::trial::Trial;
use crate::deploy::wall_time;
use crate::reload::RunningConfig;
use crate::serving::Service;

/// Interval of the thread's periodic work.
const TICK: Duration = Duration::from_millis(100);

/// The deploy thread's owners, and what it reports to.
pub(super) struct Reconciler {
    clock: Clock,
    started: Instant,
    running: Arc<RunningConfig>,
    /// The configuration, as of the last update from `running`.
    config: Arc<Config>,
    parts: Supervisor,
    reporter: Arc<Reporter>,
    loader: Loader,
    ledger: LedgerWriter,
    slot_signers: SlotSigners,
    serving: Serving,
    admission: Admission,
    transfers: Transfers,
    rollouts: DeviceRollouts,
    /// Those of the kinds `config` and `host`, once there is one.
    kinds: BTreeMap<ReleaseKind, KindReleases>,
    kind_parts: KindParts,
    pending: Option<PendingRelease>,
    trial: Trial,
    backend_race: Measurement,
    mode_measurement: Measurement,
    peer_monitor: PeerMonitor,
    name_monitor: NameMonitor,
}

/// The parts of the daemon that the deploy thread uses.
pub(super) struct Dependencies {
    /// The configuration.
    pub running: Arc<RunningConfig>,
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
    /// Takes over the state of the start, and resumes from the ledger.
    pub(super) fn new(startup: StartupState, with: Dependencies) -> Self {
        let clock = startup.clock;
        let admission = Admission::new(startup.store.ledger(), clock.clone());
        let (reporter, parts) = (with.reporter, with.parts);
        let events = Arc::clone(reporter.published_status().events());
        let kind_parts = KindParts {
            clock: clock.clone(),
            running: Arc::clone(&with.running),
            reporter: Arc::clone(&reporter),
            fetcher: Arc::clone(&with.fetcher),
            parts: parts.clone(),
            sender: with.sender.clone(),
        };
        let transfers = Transfers::new(
            ReleaseKind::Pipeline,
            with.fetcher,
            Arc::clone(&reporter),
            parts.clone(),
            with.sender,
        );
        let config = with.running.config();
        let rollouts = DeviceRollouts::open(
            &config.data,
            &startup.loader.trust(),
            startup.loader.device(),
            wall_time(&clock),
        );
        let mut reconciler = Self {
            rollouts,
            kinds: BTreeMap::new(),
            kind_parts,
            started: clock.now(),
            backend_race: Measurement::new(Measured::Backends, parts.clone()),
            mode_measurement: Measurement::new(Measured::Modes, parts.clone()),
            config,
            running: with.running,
            parts,
            reporter,
            loader: startup.loader,
            ledger: LedgerWriter::new(
                startup.store,
                startup.pending_transitions,
                with.catalogue,
                events,
                clock.clone(),
            ),
            slot_signers: SlotSigners::default(),
            serving: Serving::new(with.service, startup.serving, startup.old, clock.clone()),
            admission,
            transfers,
            pending: None,
            trial: Trial::new(clock.clone()),
            peer_monitor: PeerMonitor::new(clock.clone()),
            name_monitor: NameMonitor::default(),
            clock,
        };
        reconciler.resume();
        reconciler.open_kinds();
        if let Some(given_up) = startup.crash_loop {
            let (subject, cause) = (Subject::of(&given_up.slot), given_up.cause);
            reconciler
                .reporter
                .crash_loop(&subject, cause, given_up.serves.as_ref());
        }
        if let Some((slot, cause)) = startup.failed {
            reconciler.reporter.cannot_serve(&Subject::of(&slot), cause);
        }
        reconciler
    }

    /// Resumes from the ledger: the last phase, the staged release, the trial, and pending transitions.
    fn resume(&mut self) {
        let ledger = self.ledger.ledger().clone();
        let last = |event: &Event| {
            let subject = Subject {
                release: event.release?,
                name: event.name.clone(),
                generation: event.generation,
                statement: None,
            };
            Some((subject, event.phase, event.cause.clone()))
        };
        if let Some((subject, phase, cause)) = ledger.history.iter().rev().find_map(last) {
            self.reporter.resumed(&subject, phase, cause);
        }
        let now = self.clock.now();
        match PendingRelease::staged(self.ledger.store(), &self.loader, now) {
            Ok(staged) => {
                self.pending = staged;
                if let Some(pending) = &mut self.pending {
                    let recorded = pending.wanted().issued;
                    pending.counts_from(self.admission.recorded_from(recorded));
                }
            }
            Err(error) => self.ledger.record([Transition::Unstage(error.cause())]),
        }
        // Not if the trial was rolled back and the ledger could not be written yet.
        if let (Some(trial), Some(serving)) = (&ledger.trial, self.serving.current())
            && serving.release().digest() == trial.slot.release
        {
            let gate = self.gate(serving.release());
            self.enter_probation(Subject::of(&trial.slot), gate, None);
        }
        self.ledger.write_pending();
        self.slots_changed();
    }

    /// Runs until [`Message::Stop`], and counts its steps.
    pub(super) fn run(mut self, messages: &Receiver<Message>, steps: &AtomicU64) {
        if let Err(error) = low_priority() {
            tracing::warn!(%error, "cannot lower the priority of the deploy thread; it runs at the priority of the workers");
        }
        let mut tick = self.clock.now();
        let mut stated = None;
        loop {
            steps.fetch_add(1, Ordering::Relaxed);
            match self.clock.recv_until(messages, tick) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => {
                    self.reconfigure();
                    if self.is_urgent(&message, &mut stated) {
                        tick = self.clock.now();
                    }
                    self.take(message);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Checked after each message too, so that a flood does not delay the checks of a trial.
            if tick <= self.clock.now() {
                self.tick();
                tick = self.clock.now() + TICK;
            }
        }
        self.stop();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Statement(bytes) => self.on_statement(&bytes),
            Message::Rollout(bytes) => self.on_rollout(&bytes),
            // The caller was told to try again. If this were carried out too, the retry of a rollback would undo it.
            Message::Order(_, reply) | Message::Command(_, reply)
                if reply.until <= self.clock.now() =>
            {
                reply.answer(Err(CommandError::Busy));
            }
            Message::Order(bytes, reply) => {
                let answer = self.on_order(&bytes);
                if let Err(error) = &answer {
                    self.reporter.ignored(error.name());
                }
                reply.answer(answer);
            }
            Message::Command(command, mut reply) => {
                // It no longer waits for a compilation.
                drop(reply.interrupt.take());
                tracing::info!(?command, "command from the operator");
                let answer = self.on_command(&command);
                self.reporter.command(&command, answer.as_ref().err());
                reply.answer(answer);
            }
            Message::Trust(bytes) => self.on_trust(&bytes),
            Message::Package(ReleaseKind::Pipeline, fetch_id, package) => {
                self.on_package(fetch_id, package);
            }
            Message::Blobs(ReleaseKind::Pipeline, fetch_id, moved) => {
                self.on_blobs(fetch_id, moved);
            }
            Message::Package(kind, fetch_id, package) => {
                self.on_kind_package(kind, fetch_id, package);
            }
            Message::Blobs(kind, fetch_id, moved) => {
                if let Some(releases) = self.kinds.get_mut(&kind) {
                    releases.on_blobs(fetch_id, moved);
                }
            }
            Message::Stop => {}
        }
    }

    /// Whether a message triggers the periodic work at once: a finished fetch does, and a statement if there was none in the last
    /// tick, so that a flood of statements does not.
    fn is_urgent(&self, message: &Message, stated: &mut Option<Instant>) -> bool {
        match message {
            Message::Package(..) | Message::Blobs(..) => true,
            Message::Statement(_) | Message::Rollout(_) => {
                let last = stated.replace(self.clock.now());
                last.is_none_or(|last| self.clock.elapsed(last) >= TICK)
            }
            _ => false,
        }
    }

    /// Applies changes of the configuration.
    fn reconfigure(&mut self) {
        let config = self.running.config();
        let rate = config.deploy.max_bytes_per_second;
        if rate != self.config.deploy.max_bytes_per_second {
            self.transfers.limit(rate);
        }
        self.config = config;
    }

    fn tick(&mut self) {
        self.reconfigure();
        if self.ledger.write_pending() {
            self.slots_changed();
        }
        self.serving.drop_unused();
        if self.ledger.is_settled() {
            self.check_trial();
            self.follow_drift();
            self.advance();
        }
        self.follow_rollouts();
        self.follow_kinds();
        self.fetch_next_package();
        self.remember_backends();
        self.race_backends();
        self.measure_modes();
        self.serving.save_state_if_due(self.ledger.store());
        self.check_fresh();
        let connect = &self.config.zenoh.connect;
        let lost = self.peer_monitor.check(|| self.reporter.peers(), connect);
        if let Some((cause, message)) = lost {
            self.reporter.no_peers(cause, &message);
        }
        self.reporter.same_name(&mut self.name_monitor);
    }

    fn remember_backends(&self) {
        if let Some(serving) = self.serving.current() {
            self.loader
                .remember_switches(self.ledger.store(), serving.pipeline());
        }
    }

    /// Also while the release is on trial: a trial may fail by the latency of the slower backend.
    fn race_backends(&mut self) {
        let may_run = !self.serving.is_resting();
        let serving = self.serving.current().filter(|_| may_run);
        self.backend_race
            .follow(self.ledger.store(), self.loader.device(), serving);
    }

    /// Not while a release is on trial, or before its trial, and not while the device rests: a measurement runs models, which would count in
    /// the latency of the trial, or delay the load of a release. A mode is measured on the backend that has won.
    fn measure_modes(&mut self) {
        let is_calm = self.ledger.ledger().trial.is_none() && self.pending.is_none();
        let is_calm = is_calm && !self.backend_race.is_running();
        let may_run = is_calm && !self.serving.is_resting();
        let serving = self.serving.current().filter(|_| may_run);
        self.mode_measurement
            .follow(self.ledger.store(), self.loader.device(), serving);
    }

    fn check_fresh(&self) {
        let Some(within) = self.config.deploy.fresh_within() else {
            return;
        };
        let newest = self.admission.newest_heard();
        let running = self.clock.elapsed(self.started);
        let Some(stale) = is_stale(newest, within, self.time(), running) else {
            return;
        };
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

    /// Updates the catalogue and the published status from the ledger.
    fn slots_changed(&mut self) {
        self.ledger.share_slots();
        let (ledger, trust_version) = (self.ledger.ledger(), self.loader.trust().version());
        let mut slots = SlotsStatus::of(ledger);
        self.slot_signers
            .show(&mut slots, ledger, self.ledger.store(), &self.loader);
        self.reporter.published_status().change(|view| {
            view.slots = slots;
            view.last_rollback = RollbackStatus::latest(ledger);
            view.trust_version = trust_version;
            self.trial.show(view);
        });
    }

    /// The device's time of day.
    fn time(&self) -> Time {
        wall_time(&self.clock)
    }

    fn stop(mut self) {
        self.admission.stop();
        self.backend_race.stop();
        self.mode_measurement.stop();
        self.remember_backends();
        if let Some(pending) = &self.pending {
            pending.stop();
        }
        self.close_shadow();
        std::mem::take(&mut self.kinds)
            .into_values()
            .for_each(KindReleases::stop);
        self.ledger.finish();
        self.serving.save_state(self.ledger.store());
    }
}
