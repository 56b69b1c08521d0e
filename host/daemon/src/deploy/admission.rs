//! From a statement to a verified release: what is known already, what is refused, and the one package that is fetched at a time.

use std::sync::Arc;

use hotshoe_delivery::{Cancel, FetchError};
use hotshoe_store::{Cause, FailedRelease, Phase, Slot};
use hotshoe_trust::{Digest, Package, Time, VerifyError};

use crate::deploy::candidate::Candidate;
use crate::deploy::orders::CANCELLED;
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::reporter::Subject;
use crate::deploy::scout::Wanted;

/// Most refused packages that are remembered until the daemon ends, so that they are not fetched again and again.
const MAX_REFUSED: usize = 1_024;

impl Reconciler {
    /// A statement wants this release on this device.
    pub(super) fn want(&mut self, wanted: Wanted) {
        let ledger = self.store.ledger();
        let Subject {
            release,
            name,
            generation,
            ..
        } = &wanted.subject;
        let (release, generation) = (*release, *generation);
        let is_it = |slot: Option<&Slot>| slot.is_some_and(|slot| slot.release == release);
        let trial = ledger.trial.as_ref().map(|trial| &trial.slot);
        if is_it(trial) || is_it(ledger.live.as_ref()) {
            let leaves_trial = trial.is_some() && !is_it(trial);
            return self.want_serving(&wanted, leaves_trial);
        }
        if let Some(candidate) = self
            .candidate
            .as_mut()
            .filter(|c| c.wanted.subject.release == release)
        {
            if wanted.issued >= candidate.wanted.issued {
                candidate.wanted.activate |= wanted.activate;
                candidate.wanted.issued = wanted.issued;
                candidate.wanted.subject.statement = wanted.subject.statement;
            }
            return;
        }
        let cancelled = ledger.statement_seen.get(CANCELLED);
        let unverified = self.cancelled.get(&release);
        if cancelled
            .max(unverified)
            .is_some_and(|at| wanted.issued <= *at)
        {
            return self.reporter.ignored("cancelled");
        }
        if let Some(remembered) = ledger.remembers(name, generation, release) {
            let floor = ledger.floor.get(name).map(|entry| entry.generation);
            let cause = failed_before(name, generation, floor, remembered);
            // The statement that led there is heard again and again.
            if self
                .followed()
                .is_none_or(|followed| wanted.issued > followed)
                && self.first_refusal(&wanted, Some(wanted.issued))
            {
                self.judged = self.judged.max(Some(wanted.issued));
                self.reporter
                    .refused(&wanted.subject, Phase::Refused, cause);
            }
            return;
        }
        if self.refused.contains(&refusal(&wanted, None)) {
            self.reporter.ignored("refused_before");
            return;
        }
        self.scout.add(wanted);
    }

    /// A statement wants what serves, or what serves again without the trial.
    fn want_serving(&mut self, wanted: &Wanted, leaves_trial: bool) {
        let older = |c: &Candidate| c.wanted.issued < wanted.issued;
        let cause = || {
            Cause::new(
                "superseded",
                "a newer statement wants the release that serves",
            )
        };
        if self.candidate.as_ref().is_some_and(older) {
            self.abandon(cause());
        }
        if leaves_trial
            && self
                .followed()
                .is_none_or(|followed| wanted.issued > followed)
        {
            self.roll_back(cause());
        }
    }

    /// Sends for the package of the newest statement, if nobody is out.
    pub(super) fn send_scout(&mut self) {
        if self.scouting {
            self.miss_package();
            return self.scout.hurry();
        }
        let Some(wanted) = self.scout.next() else {
            return;
        };
        let (ticket, cancel) = (self.ticket(), Cancel::new());
        let (fetcher, mail, flag) = (Arc::clone(&self.fetcher), self.mail.clone(), cancel.clone());
        let (release, bundles) = (wanted.subject.release, wanted.bundles.clone());
        let run = move || {
            let package = super::caught(|| fetcher.package(release, &bundles, &flag));
            // Nobody listens when the daemon ends.
            let _ = mail.send(Message::Package(ticket, package));
        };
        if let Err(error) = self.parts.task("scout", run) {
            tracing::error!(%error, "cannot start a thread");
            self.scout.again(&wanted);
            return;
        }
        self.scouting = true;
        if self.is_told(&wanted) {
            self.reporter.begins(&wanted.subject);
        }
        self.scout.went(&wanted, ticket, cancel);
    }

    /// Whether the status tells of a release that is not verified: not beside one that is, nor over what became of a newer one.
    fn is_told(&self, wanted: &Wanted) -> bool {
        self.candidate.is_none()
            && self.probation.is_none()
            && self.judged.is_none_or(|judged| wanted.issued >= judged)
    }

    /// Says that nobody answers for the package that is out.
    fn miss_package(&mut self) {
        let Some(wanted) = self.scout.missed() else {
            return;
        };
        if self.is_told(&wanted) {
            self.reporter.retry(&wanted.subject, no_source());
        }
    }

    /// A package has come, or has not.
    pub(super) fn on_package(&mut self, ticket: u64, package: Result<Package, FetchError>) {
        self.scouting = false;
        let Some(wanted) = self.scout.came_back(ticket) else {
            return;
        };
        let error = match package {
            Ok(package) => return self.judge_package(wanted, &package),
            Err(error) => error,
        };
        let cause = Cause::new(error.name(), super::chain(&error));
        if error.is_permanent() {
            self.refuse_package(&wanted, cause);
        } else {
            if self.is_told(&wanted) {
                // Called back because others wait.
                let cause = if error.is_cancelled() {
                    no_source()
                } else {
                    cause
                };
                self.reporter.retry(&wanted.subject, cause);
            }
            self.scout.again(&wanted);
        }
    }

    fn judge_package(&mut self, wanted: Wanted, package: &Package) {
        let now = Time::now();
        let floor = self.store.ledger().floor();
        let release = match self.loader.admit(package, &self.trust, &floor, now) {
            Ok(release) => release,
            // The device's clock may be set, and the release may be good then.
            Err(error @ (VerifyError::NotYetValid { .. } | VerifyError::ClockBackwards { .. })) => {
                self.reporter.retry(
                    &wanted.subject,
                    Cause::new(error.name(), super::chain(&error)),
                );
                return self.scout.again(&wanted);
            }
            Err(error) => {
                return self
                    .refuse_package(&wanted, Cause::new(error.name(), super::chain(&error)));
            }
        };
        if (release.name.as_str(), release.generation)
            != (wanted.subject.name.as_str(), wanted.subject.generation)
        {
            let message = format!(
                "the statement says `{}` generation {}, and the release is `{}` generation {}",
                wanted.subject.name, wanted.subject.generation, release.name, release.generation
            );
            return self.refuse_package(&wanted, Cause::new("statement_mismatch", message));
        }
        self.scout.done(&wanted);
        if self
            .candidate
            .as_ref()
            .is_some_and(|c| c.wanted.issued > wanted.issued)
        {
            return self.reporter.ignored("superseded");
        }
        self.abandon(Cause::new(
            "superseded",
            "a newer statement wants another release",
        ));
        self.scout.forget_before(wanted.issued);
        self.judged = self.judged.max(Some(wanted.issued));
        self.seen(&wanted.subject.name, wanted.issued);
        self.reporter.phase(&wanted.subject, Phase::Verified, None);
        self.candidate = Some(Candidate::new(wanted, release));
    }

    /// What did not pass verification is not written down: anybody could fill the ledger with it.
    fn refuse_package(&mut self, wanted: &Wanted, cause: Cause) {
        self.scout.refused(wanted);
        self.judged = self.judged.max(Some(wanted.issued));
        if self.first_refusal(wanted, None) {
            self.reporter
                .refused(&wanted.subject, Phase::Refused, cause);
        }
    }

    /// A release that is not verified is not wanted, until a newer statement wants it.
    pub(super) fn cancel_unverified(&mut self, wanted: &Wanted) {
        if self.cancelled.len() >= MAX_REFUSED {
            self.cancelled.clear();
        }
        let release = wanted.subject.release;
        self.cancelled.insert(release, wanted.issued);
        if self.is_told(wanted) {
            let cause = Cause::new("cancelled", "before its package came");
            self.reporter
                .phase(&wanted.subject, Phase::Absent, Some(cause));
        }
    }

    fn first_refusal(&mut self, wanted: &Wanted, issued: Option<Time>) -> bool {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(refusal(wanted, issued))
    }
}

fn no_source() -> Cause {
    let message = "nobody has answered for its package yet; is its publisher, or a registry that has it, connected?";
    Cause::new("no_source", message)
}

/// Why a release is not taken whose name has failed here: it lies below the floor anyhow, or another one's failure stands above it.
fn failed_before(name: &str, generation: u64, floor: Option<u64>, failed: &FailedRelease) -> Cause {
    if let Some(floor) = floor.filter(|floor| generation < *floor) {
        let message = format!(
            "generation {generation} of `{name}` lies below this device's floor {floor}; publish it anew with a higher generation"
        );
        return Cause::new("below_floor", message);
    }
    let what = match failed.phase {
        Phase::Refused => "was refused",
        Phase::RolledBack => "was rolled back",
        _ => "failed",
    };
    let message = format!(
        "generation {highest} of `{name}` {what} ({}), so only a generation above {highest} is taken",
        failed.cause,
        highest = failed.generation,
    );
    Cause::new("failed_before", message)
}

/// What a refused package is remembered by: what was said of it, and the statement where that matters too.
fn refusal(wanted: &Wanted, issued: Option<Time>) -> Digest {
    let claims = wanted.claims();
    issued.map_or(claims, |issued| {
        Digest::of(format!("{claims} {issued}").as_bytes())
    })
}
