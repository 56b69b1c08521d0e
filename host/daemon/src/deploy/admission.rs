//! Admission: which statements and orders are followed, from what was heard, refused and cancelled so far.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_base::Clock;
use hotshoe_delivery::{Cancel, FetchError};
use hotshoe_store::{Cause, FailedRelease, Ledger, Phase, Slot};
use hotshoe_trust::{Digest, Release, StatementTimes, Time, Verified, VerifyError};

use crate::command::CommandError;
use crate::deploy::package_queue::{PackageQueue, WantedRelease};
use crate::deploy::reporter::Subject;
use crate::deploy::statement::{CANCELLED, ORDERS, followed, refuse};
use crate::deploy::wall_time;

/// Most refused packages that are remembered while the daemon runs, so that they are not fetched repeatedly.
const MAX_REFUSED: usize = 1_024;

/// Owns what this device has heard and refused, and the queue of packages.
pub(super) struct Admission {
    packages: PackageQueue,
    times: StatementTimes,
    /// Packages that were refused since the start.
    refused: BTreeSet<Digest>,
    /// Releases that were cancelled before they were verified, and the newest statement that wanted each.
    cancelled: BTreeMap<Digest, Time>,
    /// The time of the newest valid statement.
    newest_heard: Option<Time>,
    /// The time of the last order that was carried out.
    last_order: Option<Time>,
    /// The time of the newest statement whose release was verified or refused since the start.
    judged: Option<Time>,
}

/// What is to be done about a statement that wants a release.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// Nothing more: its package waits to be fetched, or the statement says nothing new.
    Done,
    /// Count it as ignored, with this reason.
    Ignore(&'static str),
    /// Report the refusal of its release.
    Refuse(Cause),
    /// Count it as ignored, and tell its publisher: a higher generation of the same name is on trial, so it can never serve.
    Superseded,
    /// It is about the candidate.
    Update,
    /// It wants what serves.
    KeepServing {
        /// Whether the candidate is older, and so abandoned.
        end_candidate: bool,
        /// Whether it wants the live release, and so ends a trial.
        end_trial: bool,
    },
}

/// What is to be done about a package.
pub(super) enum PackageDecision {
    /// It could not be fetched, and is fetched again later.
    Retry(Cause),
    /// It is not valid by the device's clock. It is fetched again later.
    NotValidNow(Cause),
    /// Report the refusal.
    Refuse(Cause),
    /// It was refused and reported before.
    RefusedBefore,
    /// The candidate is newer.
    Superseded,
    /// It is the new candidate, in place of the releases that older statements want.
    Accept(Box<Verified<Release>>, Vec<Subject>),
}

impl Admission {
    /// Takes over what the ledger has heard.
    pub(super) fn new(ledger: &Ledger, clock: Clock) -> Self {
        let times = StatementTimes::new(ledger.statement_seen.values().copied(), wall_time(&clock));
        Self {
            packages: PackageQueue::new(clock),
            times,
            refused: BTreeSet::new(),
            cancelled: BTreeMap::new(),
            newest_heard: ledger.statement_seen.values().copied().max(),
            last_order: None,
            judged: None,
        }
    }

    /// The time of the newest valid statement.
    pub(super) const fn newest_heard(&self) -> Option<Time> {
        self.newest_heard
    }

    /// When a signed statement counts as issued: not before it was heard, if its clock is ahead.
    pub(super) fn counts_from(&mut self, issued: Time, now: Time) -> Time {
        self.times.hear(issued, now)
    }

    /// When a statement counts as issued whose time is in the ledger.
    pub(super) fn recorded_from(&self, recorded: Time) -> Time {
        self.times.counts_from(recorded)
    }

    /// The time to put into the ledger for a statement that counts from then.
    pub(super) fn time_to_record(&mut self, from: Time) -> Time {
        self.times.time_to_record(from)
    }

    /// When the newest followed statement counts as issued.
    fn followed(&self, ledger: &Ledger) -> Option<Time> {
        let recorded = followed(ledger);
        recorded.map(|time| self.times.counts_from(time)).max()
    }

    /// Notes a valid statement. Refuses one that is older than the followed one.
    pub(super) fn hear(&mut self, issued: Time, ledger: &Ledger) -> Result<(), CommandError> {
        self.newest_heard = self.newest_heard.max(Some(issued));
        match self.followed(ledger) {
            Some(followed) if issued < followed => Err(replayed("statement", issued, followed)),
            _ => Ok(()),
        }
    }

    /// Whether the device follows a statement that is newer than one that counts from then.
    pub(super) fn is_displaced(&self, issued: Time, ledger: &Ledger) -> bool {
        self.followed(ledger)
            .is_some_and(|followed| issued < followed)
    }

    /// Whether the package of a release waits to be fetched, or is being fetched.
    pub(super) fn is_waiting(&self, release: Digest) -> bool {
        self.packages.has(release)
    }

    /// Refuses an order that was carried out already, also before a restart, or that is older than one.
    pub(super) fn check_order(&self, issued: Time, ledger: &Ledger) -> Result<(), CommandError> {
        let last = ledger.statement_seen.get(ORDERS);
        let last = last.map(|last| self.times.counts_from(*last));
        let last = last.max(self.last_order.filter(|last| *last == issued));
        match last {
            Some(last) if issued <= last => Err(replayed("order", issued, last)),
            _ => Ok(()),
        }
    }

    /// Notes an order that was carried out.
    pub(super) const fn carried_out(&mut self, issued: Time) {
        self.last_order = Some(issued);
    }

    /// Judges a statement that wants a release on this device, beside the candidate.
    pub(super) fn want(
        &mut self,
        wanted: &WantedRelease,
        ledger: &Ledger,
        candidate: Option<&WantedRelease>,
    ) -> Decision {
        let subject = &wanted.subject;
        let release = subject.release;
        let is_it = |slot: Option<&Slot>| slot.is_some_and(|slot| slot.release == release);
        let followed = self.followed(ledger);
        let is_newest = followed.is_none_or(|followed| wanted.issued > followed);
        let trial = ledger.trial.as_ref().map(|trial| &trial.slot);
        if is_it(trial) || is_it(ledger.live.as_ref()) {
            return Decision::KeepServing {
                end_candidate: candidate.is_some_and(|other| other.issued < wanted.issued),
                end_trial: trial.is_some() && !is_it(trial) && is_newest,
            };
        }
        if trial.is_some_and(|it| it.name == subject.name && it.generation > subject.generation) {
            return Decision::Superseded;
        }
        if candidate.is_some_and(|candidate| candidate.subject.release == release) {
            return Decision::Update;
        }
        let verified = ledger.statement_seen.get(CANCELLED);
        let verified = verified.map(|time| self.times.counts_from(*time));
        let cancelled = verified.max(self.cancelled.get(&release).copied());
        if cancelled.is_some_and(|at| wanted.issued <= at) {
            return Decision::Ignore("cancelled");
        }
        if let Some(failed) = ledger.remembers(&subject.name, subject.generation, release) {
            // The same statement arrives repeatedly; it is refused once.
            if !is_newest || !self.first_refusal(wanted, Some(wanted.issued)) {
                return Decision::Done;
            }
            self.judged = self.judged.max(Some(wanted.issued));
            return Decision::Refuse(failed_before(subject, ledger, failed));
        }
        if self.refused.contains(&refusal(wanted, None)) {
            return Decision::Ignore("refused_before");
        }
        self.packages.add(wanted.clone());
        Decision::Done
    }

    /// The statement whose package is to be fetched next.
    pub(super) fn next_package(&self) -> Option<WantedRelease> {
        self.packages.next()
    }

    /// Notes that a package is being fetched.
    pub(super) fn package_started(
        &mut self,
        wanted: &WantedRelease,
        fetch_id: u64,
        cancel: Cancel,
    ) {
        self.packages.start(wanted, fetch_id, cancel);
    }

    /// Notes that the fetch of a package could not start.
    pub(super) fn package_later(&mut self, wanted: &WantedRelease) {
        self.packages.retry_later(wanted);
    }

    /// Cancels the running fetch of a package if it takes long and others wait. Returns it, once, if no source has answered in time.
    pub(super) fn check_package(&mut self) -> Option<WantedRelease> {
        let unanswered = self.packages.take_unanswered();
        self.packages.preempt();
        unanswered
    }

    /// Ends the fetch of a package. `None` if its statement is no longer wanted.
    pub(super) fn package_ended(&mut self, fetch_id: u64) -> Option<WantedRelease> {
        self.packages.finish(fetch_id)
    }

    /// Judges a package that could not be fetched.
    pub(super) fn judge_error(
        &mut self,
        wanted: &WantedRelease,
        error: &FetchError,
    ) -> PackageDecision {
        let cause = Cause::new(error.name(), super::chain(error));
        if error.is_permanent() {
            return self.refuse_package(wanted, cause);
        }
        self.packages.retry_later(wanted);
        // Cancelled because others wait.
        let is_cancelled = error.is_cancelled();
        PackageDecision::Retry(if is_cancelled { no_source() } else { cause })
    }

    /// Judges a verified or refused package, beside a candidate whose statement was issued then.
    pub(super) fn judge_package(
        &mut self,
        wanted: &WantedRelease,
        verified: Result<Verified<Release>, VerifyError>,
        candidate: Option<Time>,
    ) -> PackageDecision {
        let release = match verified {
            Ok(release) => release,
            Err(error) => {
                let cause = Cause::new(error.name(), super::chain(&error));
                if is_about_clock(&error) {
                    self.packages.retry_later(wanted);
                    return PackageDecision::NotValidNow(cause);
                }
                return self.refuse_package(wanted, cause);
            }
        };
        let claimed = &wanted.subject;
        if release.name != claimed.name || release.generation != claimed.generation {
            let message = format!(
                "the statement says `{}` generation {}, and the release is `{}` generation {}",
                claimed.name, claimed.generation, release.name, release.generation
            );
            return self.refuse_package(wanted, Cause::new("statement_mismatch", message));
        }
        self.packages.done(wanted);
        if candidate.is_some_and(|issued| issued > wanted.issued) {
            return PackageDecision::Superseded;
        }
        let displaced = self.packages.forget_before(wanted.issued);
        self.judged = self.judged.max(Some(wanted.issued));
        PackageDecision::Accept(Box::new(release), displaced)
    }

    /// Whether the status may show this unverified release: not over the outcome of a newer one.
    pub(super) fn is_newest(&self, wanted: &WantedRelease) -> bool {
        self.judged.is_none_or(|judged| wanted.issued >= judged)
    }

    /// The unverified release of the newest statement.
    pub(super) fn newest(&self) -> Option<Digest> {
        self.packages.newest()
    }

    /// Removes all statements about a release, and returns the newest.
    pub(super) fn forget(&mut self, release: Digest) -> Option<WantedRelease> {
        self.packages.forget(release)
    }

    /// Cancels an unverified release, until a newer statement wants it. It is not verified, so its time must not block other releases.
    pub(super) fn cancel(&mut self, wanted: &WantedRelease) {
        if self.cancelled.len() >= MAX_REFUSED {
            self.cancelled.clear();
        }
        self.cancelled.insert(wanted.subject.release, wanted.issued);
    }

    /// Forgets refusals: other keys are trusted, or a floor is lower.
    pub(super) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Cancels the running fetch of a package.
    pub(super) fn stop(&self) {
        self.packages.stop();
    }

    /// Refuses an unverified release. It does not enter the ledger, which unsigned statements could fill otherwise.
    fn refuse_package(&mut self, wanted: &WantedRelease, cause: Cause) -> PackageDecision {
        self.packages.refused(wanted);
        self.judged = self.judged.max(Some(wanted.issued));
        if self.first_refusal(wanted, None) {
            PackageDecision::Refuse(cause)
        } else {
            PackageDecision::RefusedBefore
        }
    }

    fn first_refusal(&mut self, wanted: &WantedRelease, issued: Option<Time>) -> bool {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(refusal(wanted, issued))
    }
}

/// The refusal of a statement or an order that is not newer than the last one, with the difference of their times: one of two deployers
/// may have a wrong clock.
fn replayed(what: &str, issued: Time, last: Time) -> CommandError {
    let seconds = issued.duration_until(last).as_secs();
    let message = match seconds {
        0 => format!("the device has already followed this {what} or a newer one"),
        _ => format!(
            "the device has already followed a newer {what}: this one was issued at {issued}, {seconds} s before it; if it is new, compare \
             the clocks of those who publish"
        ),
    };
    refuse("replayed", message)
}

/// Whether the device's clock may be wrong: after it is set, the release may be valid.
const fn is_about_clock(error: &VerifyError) -> bool {
    matches!(
        error,
        VerifyError::NotYetValid { .. } | VerifyError::ClockBackwards { .. }
    )
}

/// The cause of a fetch without a source.
pub(super) fn no_source() -> Cause {
    let message = "no source has its package; check that its publisher, or a registry that has it, is connected";
    Cause::new("no_source", message)
}

/// The cause of a refusal by an earlier failure: the generation is below the floor, or not above one that failed.
fn failed_before(subject: &Subject, ledger: &Ledger, failed: &FailedRelease) -> Cause {
    let Subject {
        name, generation, ..
    } = subject;
    let floor = ledger.floor.get(name).map(|entry| entry.generation);
    if let Some(floor) = floor.filter(|floor| generation < floor) {
        let message = format!(
            "generation {generation} of `{name}` is below this device's floor {floor}; publish it again with a higher generation"
        );
        return Cause::new("below_floor", message);
    }
    let what = match failed.phase {
        Phase::Refused => "was refused",
        Phase::RolledBack => "was rolled back",
        _ => "failed",
    };
    let message = format!(
        "generation {highest} of `{name}` {what} ({}), so only a generation above {highest} is accepted",
        failed.cause,
        highest = failed.generation,
    );
    Cause::new("failed_before", message)
}

/// The key of a refused package: the statement's claims, and its time if that matters.
fn refusal(wanted: &WantedRelease, issued: Option<Time>) -> Digest {
    let claims = wanted.claims();
    issued.map_or(claims, |issued| {
        Digest::of(format!("{claims} {issued}").as_bytes())
    })
}
