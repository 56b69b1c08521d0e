//! From a statement to a verified release: known releases, refusals, and the fetch of one package at a time.

use std::sync::Arc;

use hotshoe_delivery::{Cancel, FetchError};
use hotshoe_store::{Cause, Phase, Remembered, Slot};
use hotshoe_trust::{Digest, Package, Time, VerifyError};

use crate::deploy::candidate::Candidate;
use crate::deploy::orders::CANCELLED;
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::reporter::Subject;

/// Most refused packages that are remembered while the daemon runs, so that they are not fetched repeatedly.
const MAX_REFUSED: usize = 1_024;

impl Reconciler {
    /// Handles a statement that wants this release on this device.
    pub(super) fn want(&mut self, wanted: WantedRelease) {
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
            // The same statement arrives repeatedly; it is refused once.
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
        self.packages.add(wanted);
    }

    /// Handles a statement that wants the trial or the live release.
    fn want_serving(&mut self, wanted: &WantedRelease, leaves_trial: bool) {
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

    /// Fetches the next package, if none is being fetched.
    pub(super) fn fetch_next_package(&mut self) {
        if self.is_fetching_package {
            self.report_no_source();
            return self.packages.preempt();
        }
        let Some(wanted) = self.packages.next() else {
            return;
        };
        let (fetch_id, cancel) = (self.next_fetch_id(), Cancel::new());
        let (fetcher, sender, flag) = (
            Arc::clone(&self.fetcher),
            self.sender.clone(),
            cancel.clone(),
        );
        let (release, bundles) = (wanted.subject.release, wanted.bundles.clone());
        let run = move || {
            let package = super::caught(|| fetcher.package(release, &bundles, &flag));
            // The receiver is gone when the daemon stops.
            let _ = sender.send(Message::Package(fetch_id, package));
        };
        if let Err(error) = self.parts.task("package", run) {
            tracing::error!(%error, "cannot start a thread");
            self.packages.retry_later(&wanted);
            return;
        }
        self.is_fetching_package = true;
        if self.is_shown(&wanted) {
            self.reporter.begins(&wanted.subject);
        }
        self.packages.start(&wanted, fetch_id, cancel);
    }

    /// Whether the status may show this unverified release: not beside a verified one, nor over the outcome of a newer one.
    fn is_shown(&self, wanted: &WantedRelease) -> bool {
        self.candidate.is_none()
            && self.probation.is_none()
            && self.judged.is_none_or(|judged| wanted.issued >= judged)
    }

    /// Reports once that no source has the package that is being fetched.
    fn report_no_source(&mut self) {
        let Some(wanted) = self.packages.take_unanswered() else {
            return;
        };
        if self.is_shown(&wanted) {
            self.reporter.retry(&wanted.subject, no_source());
        }
    }

    /// Handles the end of the fetch of a package.
    pub(super) fn on_package(&mut self, fetch_id: u64, package: Result<Package, FetchError>) {
        self.is_fetching_package = false;
        let Some(wanted) = self.packages.finish(fetch_id) else {
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
            if self.is_shown(&wanted) {
                // Cancelled because others wait.
                let cause = if error.is_cancelled() {
                    no_source()
                } else {
                    cause
                };
                self.reporter.retry(&wanted.subject, cause);
            }
            self.packages.retry_later(&wanted);
        }
    }

    fn judge_package(&mut self, wanted: WantedRelease, package: &Package) {
        let now = Time::now();
        let floor = self.store.ledger().floor();
        let release = match self.loader.admit(package, &self.trust, &floor, now) {
            Ok(release) => release,
            // The device's clock may be wrong; after it is set, the release may be valid.
            Err(error @ (VerifyError::NotYetValid { .. } | VerifyError::ClockBackwards { .. })) => {
                self.reporter.retry(
                    &wanted.subject,
                    Cause::new(error.name(), super::chain(&error)),
                );
                return self.packages.retry_later(&wanted);
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
        self.packages.done(&wanted);
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
        self.packages.forget_before(wanted.issued);
        self.judged = self.judged.max(Some(wanted.issued));
        self.seen(&wanted.subject.name, wanted.issued);
        self.reporter.phase(&wanted.subject, Phase::Verified, None);
        self.candidate = Some(Candidate::new(wanted, release));
    }

    /// Refuses an unverified release. It does not enter the ledger, which unsigned statements could fill otherwise.
    fn refuse_package(&mut self, wanted: &WantedRelease, cause: Cause) {
        self.packages.refused(wanted);
        self.judged = self.judged.max(Some(wanted.issued));
        if self.first_refusal(wanted, None) {
            self.reporter
                .refused(&wanted.subject, Phase::Refused, cause);
        }
    }

    /// Cancels an unverified release, until a newer statement wants it.
    pub(super) fn cancel_unverified(&mut self, wanted: &WantedRelease) {
        if self.cancelled.len() >= MAX_REFUSED {
            self.cancelled.clear();
        }
        let release = wanted.subject.release;
        self.cancelled.insert(release, wanted.issued);
        if self.is_shown(wanted) {
            let cause = Cause::new("cancelled", "cancelled before its package was fetched");
            self.reporter
                .phase(&wanted.subject, Phase::Absent, Some(cause));
        }
    }

    fn first_refusal(&mut self, wanted: &WantedRelease, issued: Option<Time>) -> bool {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(refusal(wanted, issued))
    }
}

fn no_source() -> Cause {
    let message = "no source has its package; check that its publisher, or a registry that has it, is connected";
    Cause::new("no_source", message)
}

/// The cause of a refusal by an earlier failure: the generation is below the floor, or not above one that failed.
fn failed_before(name: &str, generation: u64, floor: Option<u64>, failed: &Remembered) -> Cause {
    if let Some(floor) = floor.filter(|floor| generation < *floor) {
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
