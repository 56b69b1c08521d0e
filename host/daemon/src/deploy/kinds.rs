//! Releases without a pipeline: keys of `hotshoe.toml` (`config`, 0118), and the daemon's program (`host`, 0117).
//!
//! Each kind has a ledger, blobs and a queue of statements of its own, so that its releases neither wait for those of pipelines nor
//! replace them. The steps are those of a pipeline: [`Candidate`](crate::deploy::candidate::Candidate) decides them, and
//! [`Transition`](hotshoe_store::Transition) records them. What a kind does in a step is in [`Effect`].

mod config;
mod effect;
mod host;
mod steps;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_delivery::{FetchError, Fetcher, TransferStats};
use hotshoe_protocol::status::{KindStatus, Observed, SlotsStatus};
use hotshoe_rollout::{Plan, progress};
use hotshoe_sealing::AtRest;
use hotshoe_store::{Catalogue, Cause, Ledger, OpenError, Phase, Slot, Store};
use hotshoe_trust::{Digest, HealthGate, Package, ReleaseKind, Time};

use crate::deploy::admission::{Admission, Decision, PackageDecision, no_source};
use crate::deploy::fleet_config::releases_of;
use crate::deploy::ledger_writer::LedgerWriter;
use crate::deploy::loader::Loader;
use crate::deploy::message::Message;
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::{Reporter, Subject};
use crate::deploy::transfers::Transfers;
use crate::reload::RunningConfig;
use effect::Effect;

/// Interval at which the slots are shown in the status.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// What the releases of all kinds use.
#[derive(Clone)]
pub(super) struct KindParts {
    pub clock: Clock,
    pub running: Arc<RunningConfig>,
    pub reporter: Arc<Reporter>,
    pub fetcher: Arc<Fetcher>,
    pub parts: Supervisor,
    pub sender: SyncSender<Message>,
}

/// What a step depends on.
pub(super) struct Surroundings<'a> {
    pub loader: &'a Loader,
    pub config: &'a Config,
    pub now: Time,
    pub at_rest: AtRest,
    /// The pipeline that serves, with its counts.
    pub serving: Option<(Digest, Observed)>,
    /// Whether a pipeline is to serve.
    pub should_serve: bool,
}

/// The trial of a release.
struct KindTrial {
    subject: Subject,
    gate: HealthGate,
    since: Instant,
    /// The counts of the pipeline when the trial began.
    before: Option<(Digest, Observed)>,
}

/// The releases of one kind.
pub(super) struct KindReleases {
    kind: ReleaseKind,
    with: KindParts,
    admission: Admission,
    ledger: LedgerWriter,
    transfers: Transfers,
    pending: Option<PendingRelease>,
    trial: Option<KindTrial>,
    effect: Effect,
    /// When the status was last written.
    shown: Option<Instant>,
}

impl KindReleases {
    /// Opens the folder of a kind, and goes on from its ledger.
    pub(super) fn open(
        kind: ReleaseKind,
        data: &Path,
        with: KindParts,
        around: &Surroundings<'_>,
    ) -> Result<Self, OpenError> {
        let store = Store::open_at_rest(&releases_of(data, kind), around.at_rest.clone())?;
        let events = Arc::clone(with.reporter.published_status().events());
        let admission = Admission::new(store.ledger(), with.clock.clone());
        let ledger = LedgerWriter::new(
            store,
            VecDeque::new(),
            // Neighbours get these releases from their registry.
            Catalogue::new(),
            events,
            with.clock.clone(),
        );
        let transfers = Transfers::new(
            kind,
            Arc::clone(&with.fetcher),
            Arc::clone(&with.reporter),
            with.parts.clone(),
            with.sender.clone(),
        );
        let mut releases = Self {
            kind,
            effect: Effect::new(kind, data, with.clock.clone(), Arc::clone(&with.running)),
            with,
            admission,
            ledger,
            transfers,
            pending: None,
            trial: None,
            shown: None,
        };
        releases.resume(around);
        Ok(releases)
    }

    /// Whether this device has releases of a kind.
    pub(super) fn exist(kind: ReleaseKind, data: &Path) -> bool {
        releases_of(data, kind).join("ledger.json").exists()
    }

    /// Its kind.
    pub(super) const fn kind(&self) -> ReleaseKind {
        self.kind
    }

    /// Whether a slot, the candidate or the memory of failures has this release.
    pub(super) fn has(&self, release: Digest) -> bool {
        let ledger = self.ledger.ledger();
        let failed = ledger.failed.values().any(|it| it.release == release);
        let pending = self.pending.as_ref().map(PendingRelease::digest);
        failed
            || pending == Some(release)
            || ledger.slots().any(|slot| slot.release == release)
            || self.admission.is_waiting(release)
    }

    /// The ledger of its releases.
    pub(super) fn ledger(&self) -> &Ledger {
        self.ledger.ledger()
    }

    /// The release before the live one.
    pub(super) fn previous(&self) -> Option<&Slot> {
        self.ledger.ledger().previous.as_ref()
    }

    /// When a signed statement counts as issued.
    pub(super) fn counts_from(&mut self, issued: Time, now: Time) -> Time {
        self.admission.counts_from(issued, now)
    }

    /// Whether a statement is older than the one that is followed.
    pub(super) fn is_displaced(&self, issued: Time) -> bool {
        self.admission.is_displaced(issued, self.ledger.ledger())
    }

    /// Wants a release. Returns why it is not followed, where the ledger does not say that.
    pub(super) fn want(&mut self, wanted: &WantedRelease) -> Option<&'static str> {
        if self
            .admission
            .hear(wanted.issued, self.ledger.ledger())
            .is_err()
        {
            return Some("replayed");
        }
        let candidate = self.pending.as_ref().map(PendingRelease::wanted);
        match self.admission.want(wanted, self.ledger.ledger(), candidate) {
            Decision::Done => None,
            Decision::Ignore(reason) => Some(reason),
            Decision::Superseded => Some("superseded"),
            Decision::Refuse(cause) => {
                let (reporter, subject) = (&self.with.reporter, &wanted.subject);
                reporter.refused(subject, Phase::Refused, cause);
                None
            }
            Decision::Update => {
                if let Some(pending) = &mut self.pending {
                    pending.update(wanted);
                }
                None
            }
            Decision::KeepServing {
                end_candidate,
                end_trial,
            } => {
                let cause = superseded(&wanted.subject);
                if end_candidate {
                    self.abandon(&cause);
                }
                if end_trial {
                    self.roll_back(cause);
                }
                None
            }
        }
    }

    /// Handles the end of the fetch of a package.
    pub(super) fn on_package(
        &mut self,
        fetch_id: u64,
        package: Result<Package, FetchError>,
        around: &Surroundings<'_>,
    ) -> Option<(Digest, String)> {
        self.transfers.package_ended();
        let wanted = self.admission.package_ended(fetch_id)?;
        let decision = match package {
            Err(error) => self.admission.judge_error(&wanted, &error),
            Ok(package) => {
                let floor = self.ledger.ledger().floor();
                let verified = around.loader.admit(&package, &floor, around.now);
                let candidate = self.pending.as_ref().map(|it| it.wanted().issued);
                self.admission.judge_package(&wanted, verified, candidate)
            }
        };
        let (reporter, release) = (Arc::clone(&self.with.reporter), wanted.subject.release);
        match decision {
            PackageDecision::Retry(cause) | PackageDecision::NotValidNow(cause) => {
                reporter.retry(&wanted.subject, cause);
                None
            }
            PackageDecision::Refuse(cause) => {
                let name = cause.name.clone();
                reporter.refused(&wanted.subject, Phase::Refused, cause);
                Some((release, name))
            }
            PackageDecision::RefusedBefore => Some((release, "refused_before".to_owned())),
            PackageDecision::Superseded => Some((release, "superseded".to_owned())),
            PackageDecision::Accept(verified, _) => {
                self.abandon(&superseded(&wanted.subject));
                let issued = self.admission.time_to_record(wanted.issued);
                self.ledger.seen(&wanted.subject.name, issued);
                reporter.verified(&wanted.subject, verified.signers());
                let now = self.with.clock.now();
                self.pending = Some(PendingRelease::verified(wanted, *verified, now));
                None
            }
        }
    }

    /// Handles the end of a fetch of blobs.
    pub(super) fn on_blobs(&mut self, fetch_id: u64, moved: Result<TransferStats, FetchError>) {
        self.transfers.blobs_ended();
        let Some(mut pending) = self.pending.take_if(|it| it.is_fetched_by(fetch_id)) else {
            return;
        };
        self.fetched(&mut pending, fetch_id, moved);
        self.pending = Some(pending).filter(PendingRelease::is_open);
    }

    /// The periodic work.
    pub(super) fn tick(&mut self, around: &Surroundings<'_>) {
        self.ledger.write_pending();
        if self.ledger.is_settled() {
            self.check_trial(around);
            self.advance(around);
        }
        self.fetch_next_package();
        let is_due = |at: Instant| self.with.clock.elapsed(at) >= SHOW_EVERY;
        if self.shown.is_none_or(is_due) {
            self.show();
        }
    }

    fn fetch_next_package(&mut self) {
        if self.transfers.is_fetching_package() {
            if let Some(wanted) = self.admission.check_package() {
                self.with.reporter.retry(&wanted.subject, no_source());
            }
            return;
        }
        let Some(wanted) = self.admission.next_package() else {
            return;
        };
        match self.transfers.fetch_package(&wanted) {
            Ok((fetch_id, cancel)) => {
                self.with.reporter.begins(&wanted.subject);
                self.admission.package_started(&wanted, fetch_id, cancel);
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a thread");
                self.admission.package_later(&wanted);
            }
        }
    }

    /// The phase of a release of this kind, and the stable name of the cause. `None` if nothing is known about it.
    pub(super) fn progress(&self, plan: &Plan) -> Option<(Phase, String)> {
        let pending = self.pending.as_ref();
        let pending = pending.filter(|it| it.digest() == plan.release);
        let working = pending.map(PendingRelease::phase);
        if let Some((phase, cause)) = progress(plan, self.ledger.ledger(), working) {
            return Some((phase, cause.to_owned()));
        }
        let is_waiting = self.admission.is_waiting(plan.release);
        is_waiting.then(|| (Phase::Fetching, String::new()))
    }

    /// Other keys are trusted: a trial or a candidate that they do not sign ends.
    pub(super) fn recheck(&mut self, around: &Surroundings<'_>) {
        self.admission.forget_refusals();
        let trial = self.ledger.ledger().trial.clone();
        let refused =
            trial.and_then(|it| around.loader.verified(self.ledger.store(), &it.slot).err());
        if let Some(error) = refused {
            self.roll_back(error.cause());
        }
        let floor = self.ledger.ledger().floor();
        let revoked = self.pending.as_ref().and_then(|pending| {
            let package = pending.release().package();
            around.loader.admit(package, &floor, around.now).err()
        });
        if let Some(error) = revoked {
            self.abandon(&Cause::new(error.name(), crate::deploy::chain(&error)));
        }
    }

    fn status(&self) -> KindStatus {
        KindStatus {
            slots: SlotsStatus::of(self.ledger.ledger()),
            keys: self.effect.keys(),
            program: self.effect.program(),
        }
    }

    /// Reports a phase together with the slots as they are then: who sees one sees the other.
    fn report(&self, subject: &Subject, phase: Phase, cause: Option<Cause>) {
        let status = (self.kind, self.status());
        self.with
            .reporter
            .phase_of_kind(subject, phase, cause, status);
    }

    /// Shows the slots in the status.
    fn show(&mut self) {
        self.shown = Some(self.with.clock.now());
        let (kind, status) = (self.kind, self.status());
        let published = self.with.reporter.published_status();
        published.change(|view| {
            if view.kinds.get(&kind) != Some(&status) {
                view.kinds.insert(kind, status);
            }
        });
    }

    /// Ends what runs.
    pub(super) fn stop(mut self) {
        self.admission.stop();
        if let Some(pending) = &self.pending {
            pending.stop();
        }
        self.ledger.finish();
    }
}

/// The cause of a release that another one replaces.
fn superseded(winner: &Subject) -> Cause {
    let Subject {
        name, generation, ..
    } = winner;
    let message = format!("`{name}` generation {generation} replaces it");
    Cause::new("superseded", message)
}
