//! From a statement to a verified release, and new trusted keys.

use hotshoe_audit::AuditKind;
use hotshoe_delivery::FetchError;
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{Order, Package, Release, ReleaseKind, Time, Verified};

use super::Reconciler;
use crate::command::CommandError;
use crate::deploy::admission::{Decision, PackageDecision, no_source};
use crate::deploy::keyring;
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::Subject;
use crate::deploy::statement::{self, ParsedStatement};

/// Age of a statement, in seconds, up to which its publisher probably still waits for the outcome.
const RECENT_S: i64 = 120;

impl Reconciler {
    /// Handles a statement of what the site should run.
    pub(super) fn on_statement(&mut self, bytes: &[u8]) {
        if let Err(error) = self.follow_statement(bytes) {
            tracing::debug!(%error, "a statement is not followed");
            self.reporter.ignored(error.name());
        }
    }

    fn follow_statement(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let ParsedStatement {
            statement,
            signers,
            digest,
        } = self.parse(bytes)?;
        let signed = !signers.is_empty();
        if let Order::Deploy { name, .. } = &statement.order
            && ReleaseKind::of_name(name) != ReleaseKind::Pipeline
        {
            self.on_kind_statement(statement, signed, digest);
            return Ok(());
        }
        // A statement from the future must not block later ones. An unsigned one can claim any time.
        let now = self.time();
        let issued = match signed {
            true => self.admission.counts_from(statement.issued, now),
            false => statement.issued.min(now),
        };
        let heard = self.admission.hear(issued, self.ledger.ledger());
        if heard.is_ok() {
            let now = self.clock.now();
            let published = self.reporter.published_status();
            published.change(|view| view.statement_heard = Some(now));
        }
        match statement.order {
            Order::Deploy {
                release,
                name,
                generation,
                bundles,
                activate,
                ..
            } => {
                let subject = Subject {
                    release,
                    name,
                    generation,
                    statement: Some(digest),
                };
                if heard.is_err() {
                    self.displaced(&subject, issued);
                }
                heard?;
                self.want(&WantedRelease {
                    subject,
                    bundles,
                    activate,
                    issued,
                    signed,
                });
                Ok(())
            }
            order => {
                heard?;
                self.follow_order(&order, issued, signers).map(drop)
            }
        }
    }

    /// Tells the publisher of a recent statement which release takes the place of the one that it wants. Older statements are kept by
    /// registries and heard again and again.
    fn displaced(&self, subject: &Subject, issued: Time) {
        let ledger = self.ledger.ledger();
        let has_slot = ledger.slots().any(|slot| slot.release == subject.release);
        let is_recent = self.time().duration_since(issued).as_secs() < RECENT_S;
        let winner = self.winner().filter(|it| it.release != subject.release);
        if let Some(winner) = winner.filter(|_| is_recent && !has_slot) {
            let cause = superseded(&winner, "which this device follows");
            self.reporter.displaced(subject, cause);
        }
    }

    /// The release that the followed statement wants: the candidate, the trial or the live one.
    fn winner(&self) -> Option<Subject> {
        let ledger = self.ledger.ledger();
        let trial = ledger.trial.as_ref().map(|trial| &trial.slot);
        let pending = self.pending.as_ref().map(PendingRelease::subject).cloned();
        pending.or_else(|| trial.or(ledger.live.as_ref()).map(Subject::of))
    }

    /// Reads a statement or an order for this device.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<ParsedStatement, CommandError> {
        let (device, trust) = (self.loader.device(), self.loader.trust());
        let ledger = self.ledger.ledger();
        statement::parse(bytes, &self.config, device, &trust, ledger, self.time())
    }

    /// Wants a release. Returns why it is not followed, where the ledger does not say that.
    pub(super) fn want(&mut self, wanted: &WantedRelease) -> Option<&'static str> {
        let candidate = self.pending.as_ref().map(PendingRelease::wanted);
        match self.admission.want(wanted, self.ledger.ledger(), candidate) {
            Decision::Done => {}
            Decision::Ignore(reason) => {
                self.reporter.ignored(reason);
                return Some(reason);
            }
            Decision::Refuse(cause) => {
                self.reporter
                    .refused(&wanted.subject, Phase::Refused, cause);
            }
            Decision::Superseded => {
                self.reporter.ignored("superseded");
                self.displaced(&wanted.subject, wanted.issued);
                return Some("superseded");
            }
            Decision::Update => {
                if let Some(pending) = &mut self.pending {
                    pending.update(wanted);
                }
            }
            Decision::KeepServing {
                end_candidate,
                end_trial,
            } => {
                let cause = superseded(&wanted.subject, "which serves");
                if end_candidate {
                    self.abandon(&cause);
                }
                if end_trial {
                    self.roll_back(cause);
                }
            }
        }
        None
    }

    /// Fetches the next package, if none is being fetched.
    pub(super) fn fetch_next_package(&mut self) {
        if self.transfers.is_fetching_package() {
            if let Some(wanted) = self.admission.check_package()
                && self.is_shown(&wanted)
            {
                self.reporter.retry(&wanted.subject, no_source());
            }
            return;
        }
        let Some(wanted) = self.admission.next_package() else {
            return;
        };
        match self.transfers.fetch_package(&wanted) {
            Ok((fetch_id, cancel)) => {
                if self.is_shown(&wanted) {
                    self.reporter.begins(&wanted.subject);
                }
                self.admission.package_started(&wanted, fetch_id, cancel);
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a thread");
                self.admission.package_later(&wanted);
            }
        }
    }

    /// Whether the status may show this unverified release: not beside a verified one, nor over the outcome of a newer one.
    pub(super) fn is_shown(&self, wanted: &WantedRelease) -> bool {
        self.pending.is_none() && !self.trial.is_running() && self.admission.is_newest(wanted)
    }

    /// Handles the end of the fetch of a package.
    pub(super) fn on_package(&mut self, fetch_id: u64, package: Result<Package, FetchError>) {
        self.transfers.package_ended();
        let Some(wanted) = self.admission.package_ended(fetch_id) else {
            return;
        };
        let decision = match package {
            Err(error) => self.admission.judge_error(&wanted, &error),
            Ok(package) => {
                let floor = self.ledger.ledger().floor();
                let verified = self.loader.admit(&package, &floor, self.time());
                let candidate = self.pending.as_ref().map(|c| c.wanted().issued);
                self.admission.judge_package(&wanted, verified, candidate)
            }
        };
        match decision {
            PackageDecision::Retry(cause) => {
                if self.is_shown(&wanted) {
                    self.reporter.retry(&wanted.subject, cause);
                }
            }
            PackageDecision::NotValidNow(cause) => self.reporter.retry(&wanted.subject, cause),
            PackageDecision::Refuse(cause) => {
                self.rollouts.refused(wanted.subject.release, &cause.name);
                self.reporter
                    .refused(&wanted.subject, Phase::Refused, cause);
            }
            PackageDecision::RefusedBefore => {
                self.rollouts
                    .refused(wanted.subject.release, "refused_before");
            }
            PackageDecision::Superseded => {
                self.rollouts.refused(wanted.subject.release, "superseded");
                self.reporter.ignored("superseded");
                self.displaced(&wanted.subject, wanted.issued);
            }
            PackageDecision::Accept(release, displaced) => {
                let cause = superseded(&wanted.subject, "which is pending");
                for subject in displaced {
                    self.reporter.tell_displaced(&subject, cause.clone());
                }
                self.accept(wanted, *release);
            }
        }
    }

    fn accept(&mut self, wanted: WantedRelease, release: Verified<Release>) {
        self.abandon(&superseded(&wanted.subject, "which is pending"));
        let issued = self.admission.time_to_record(wanted.issued);
        self.ledger.seen(&wanted.subject.name, issued);
        self.reporter.verified(&wanted.subject, release.signers());
        let now = self.clock.now();
        self.pending = Some(PendingRelease::verified(wanted, release, now));
    }

    /// Handles new trusted keys.
    pub(super) fn on_trust(&mut self, bytes: &[u8]) {
        let new = match keyring::rotated(&self.loader.trust(), bytes) {
            Ok(new) => new,
            Err(name) => return self.reporter.ignored_as(AuditKind::TrustRefused, name),
        };
        let version = new.root.version();
        if let Err(cause) = self.ledger.replace_trust(&new) {
            tracing::error!(
                version,
                cause,
                "cannot store the new trusted keys; their publisher or a registry sends them again"
            );
            return;
        }
        tracing::warn!(version, resets = ?new.resets, "THE TRUSTED KEYS WERE REPLACED");
        self.reporter.trust_replaced(&new);
        self.loader.replace_trust(new.root);
        self.admission.forget_refusals();
        let trust = self.loader.trust();
        self.rollouts.verify_again(&trust, self.loader.device());
        self.show_rollouts();
        self.recheck_kinds();
        self.recheck();
    }

    /// Verifies all releases again. An untrusted live release keeps serving, because an outage would be worse; a trial is rolled back,
    /// and a candidate is abandoned.
    fn recheck(&mut self) {
        let ledger = self.ledger.ledger().clone();
        let check = |slot| self.loader.verified(self.ledger.store(), slot).err();
        if let Some(live) = &ledger.live
            && let Some(error) = check(live)
        {
            tracing::error!(
                release = live.name,
                cause = crate::deploy::chain(&error),
                "THE LIVE RELEASE IS NO LONGER TRUSTED: it serves until the daemon stops; publish a release that the new keys sign"
            );
        }
        if let Some(error) = ledger.trial.as_ref().and_then(|trial| check(&trial.slot)) {
            self.roll_back(error.cause());
        }
        let floor = self.ledger.ledger().floor();
        let revoked = self.pending.as_ref().and_then(|pending| {
            let package = pending.release().package();
            self.loader.admit(package, &floor, self.time()).err()
        });
        if let Some(error) = revoked {
            let message = crate::deploy::chain(&error);
            self.abandon(&Cause::new(error.name(), message));
        }
        self.slots_changed();
    }
}

/// The cause of a release that another one replaces.
pub(super) fn superseded(winner: &Subject, place: &str) -> Cause {
    let Subject {
        name, generation, ..
    } = winner;
    let message = format!("`{name}` generation {generation} replaces it, {place}");
    Cause::new("superseded", message)
}
