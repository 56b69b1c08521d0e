//! What reaches the deploy thread from outside: statements, orders, commands, new trusted keys.

use hotshoe_store::{Cause, Phase, Transition};
use hotshoe_trust::{
    Digest, Envelope, Order, Package, Signatures, Statement, Time, TrustUpdate, VerifyError, read_statement,
    rotate,
};
use serde_json::{Value, json};

use crate::config::Statements;
use crate::delivery::{Cancel, FetchError};
use crate::deploy::candidate::Candidate;
use crate::deploy::command::{self, Command, CommandError, ordered};
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::reporter::Subject;
use crate::deploy::scout::Wanted;
use crate::status::{SlotStatus, Waiting};

/// Name under which the time of the last order stands among those of the statements; no release can have it.
const ORDERS: &str = "@orders";
/// Most refused packages that are remembered until the daemon ends, so that they are not fetched again and again.
const MAX_REFUSED: usize = 1_024;

/// A statement that was read.
struct Read {
    statement: Statement,
    signed: bool,
}

impl Reconciler {
    /// A statement of what the site should run.
    pub(super) fn on_statement(&mut self, bytes: &[u8]) {
        if let Err(error) = self.follow_statement(bytes) {
            self.reporter.ignored(error.name());
        }
    }

    fn follow_statement(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let Read { statement, signed } = self.read(bytes)?;
        let issued = statement.issued;
        self.newest_heard = self.newest_heard.max(Some(issued));
        if self.followed().is_some_and(|followed| issued < followed) {
            return Err(refuse("replayed", "a newer statement is followed already"));
        }
        match statement.order {
            Order::Deploy { release, name, generation, bundles, activate, .. } => {
                let subject = Subject { release, name, generation };
                let wanted = Wanted { subject, bundles, activate, issued };
                self.want(wanted);
                Ok(())
            }
            order => self.follow_order(&order, issued, signed).map(drop),
        }
    }

    /// An order to this device alone; somebody waits for the answer.
    pub(super) fn on_order(&mut self, bytes: &[u8]) -> Result<Value, CommandError> {
        let Read { statement, signed } = self.read(bytes)?;
        match statement.order {
            Order::Deploy { .. } => Err(refuse("not_an_order", "a release is stated under the site's desired keys")),
            order => self.follow_order(&order, statement.issued, signed),
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Read, CommandError> {
        let envelope = Envelope::parse(bytes).map_err(|e| refuse(e.name(), super::chain(&e)))?;
        let signatures = match self.config.deploy.statements {
            Statements::Any => Signatures::Optional(&self.trust),
            Statements::Signed => Signatures::Required(&self.trust),
        };
        let floor = self.store.ledger().clock_floor;
        let statement = read_statement(&envelope, &self.config.site, signatures, floor, Time::now())
            .map_err(|e| refuse(e.name(), super::chain(&e)))?;
        statement
            .devices
            .matches(self.loader.device())
            .map_err(|reason| refuse("other_device", reason))?;
        Ok(Read {
            signed: !statement.signers().is_empty(),
            statement: statement.into_inner(),
        })
    }

    /// The time of the newest statement that is followed.
    fn followed(&self) -> Option<Time> {
        let seen = &self.store.ledger().statement_seen;
        seen.iter()
            .filter(|(name, _)| *name != ORDERS)
            .map(|(_, issued)| *issued)
            .max()
    }

    fn follow_order(&mut self, order: &Order, issued: Time, signed: bool) -> Result<Value, CommandError> {
        if self.store.ledger().is_replayed(ORDERS, issued) || self.last_order == Some(issued) {
            return Err(refuse("replayed", "this order, or a newer one, was followed already"));
        }
        let answer = match order {
            Order::Activate { release, .. } => self.activate_release(*release),
            Order::Cancel { release, .. } => self.cancel_release(Some(*release), "by the deployer"),
            Order::Rollback { release, .. } => self.leave(*release),
            Order::Deploy { .. } => return Err(refuse("not_an_order", "it states a release")),
        }?;
        self.last_order = Some(issued);
        // Anybody may send an unsigned one: its time must not keep later ones away.
        if signed {
            self.seen(ORDERS, issued);
        }
        Ok(answer)
    }

    /// A statement wants this release on this device.
    fn want(&mut self, wanted: Wanted) {
        let ledger = self.store.ledger();
        let Subject { release, name, generation } = &wanted.subject;
        let (release, generation) = (*release, *generation);
        let is_it = |slot: Option<&hotshoe_store::Slot>| slot.is_some_and(|slot| slot.release == release);
        let trial = ledger.trial.as_ref().map(|trial| &trial.slot);
        if is_it(trial) || (trial.is_none() && is_it(ledger.live.as_ref())) {
            if self.candidate.as_ref().is_some_and(|c| c.wanted.issued < wanted.issued) {
                self.abandon(Cause::new("superseded", "a newer statement wants the release that serves"));
            }
            return;
        }
        if let Some(candidate) = self.candidate.as_mut().filter(|c| c.wanted.subject.release == release) {
            if wanted.issued >= candidate.wanted.issued {
                candidate.wanted.activate |= wanted.activate;
                candidate.wanted.issued = wanted.issued;
            }
            return;
        }
        if let Some(remembered) = ledger.remembers(name, generation, release) {
            let message = format!(
                "it is remembered as {} ({}: {}); publish it anew with a higher generation",
                remembered.phase, remembered.cause.name, remembered.cause.message
            );
            // The statement that led there is heard again and again.
            if self.followed().is_none_or(|followed| wanted.issued > followed) && self.first_refusal(&wanted, Some(wanted.issued)) {
                self.reporter.refused(&wanted.subject, Phase::Refused, Cause::new("failed_before", message));
            }
            return;
        }
        if self.refused.contains(&refusal(&wanted, None)) {
            self.reporter.ignored("refused_before");
            return;
        }
        self.scout.add(wanted);
    }

    /// Sends for the package of the newest statement, if nobody is out.
    pub(super) fn send_scout(&mut self) {
        if self.scouting {
            return self.scout.hurry();
        }
        let Some(wanted) = self.scout.next() else {
            return;
        };
        let (ticket, cancel) = (self.ticket(), Cancel::new());
        let (fetcher, mail, flag) = (std::sync::Arc::clone(&self.fetcher), self.mail.clone(), cancel.clone());
        let (release, bundles) = (wanted.subject.release, wanted.bundles.clone());
        let run = move || {
            let package = fetcher.package(release, &bundles, &flag);
            // Nobody listens when the daemon ends.
            let _ = mail.send(Message::Package(ticket, package));
        };
        if let Err(error) = super::spawn("hotshoe-scout", run) {
            tracing::error!(%error, "cannot start a thread");
            self.scout.again(&wanted);
            return;
        }
        self.scouting = true;
        if self.candidate.is_none() && self.probation.is_none() {
            self.reporter.phase(&wanted.subject, Phase::Fetching, None);
        }
        self.scout.went(wanted, ticket, cancel);
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
            if !error.is_cancelled() && self.candidate.is_none() && self.probation.is_none() {
                self.reporter.retry(cause);
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
                self.reporter.retry(Cause::new(error.name(), super::chain(&error)));
                return self.scout.again(&wanted);
            }
            Err(error) => return self.refuse_package(&wanted, Cause::new(error.name(), super::chain(&error))),
        };
        if (release.name.as_str(), release.generation) != (wanted.subject.name.as_str(), wanted.subject.generation) {
            let message = format!(
                "the statement says `{}` generation {}, and the release is `{}` generation {}",
                wanted.subject.name, wanted.subject.generation, release.name, release.generation
            );
            return self.refuse_package(&wanted, Cause::new("statement_mismatch", message));
        }
        self.scout.done(&wanted);
        if self.candidate.as_ref().is_some_and(|c| c.wanted.issued > wanted.issued) {
            return self.reporter.ignored("superseded");
        }
        self.abandon(Cause::new("superseded", "a newer statement wants another release"));
        self.scout.forget_before(wanted.issued);
        self.seen(&wanted.subject.name, wanted.issued);
        self.reporter.phase(&wanted.subject, Phase::Verified, None);
        self.candidate = Some(Candidate::new(wanted, release));
    }

    /// What did not pass verification is not written down: anybody could fill the ledger with it.
    fn refuse_package(&mut self, wanted: &Wanted, cause: Cause) {
        self.scout.done(wanted);
        if self.first_refusal(wanted, None) {
            self.reporter.refused(&wanted.subject, Phase::Refused, cause);
        }
    }

    fn first_refusal(&mut self, wanted: &Wanted, issued: Option<Time>) -> bool {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(refusal(wanted, issued))
    }

    /// Writes down that a statement was followed, so that no older one is any more.
    fn seen(&mut self, name: &str, issued: Time) {
        if self.store.ledger().statement_seen.get(name) == Some(&issued) {
            return;
        }
        let transition = Transition::StatementSeen { name: name.to_owned(), issued };
        if let Err(error) = self.store.apply(&transition, Time::now()) {
            tracing::warn!(cause = super::chain(&error), "the time of a statement could not be written down");
        }
    }

    /// What the operator asks for.
    pub(super) fn on_command(&mut self, command: &Command) -> Result<Value, CommandError> {
        match command {
            Command::Rollback => self.go_back_locally(),
            Command::Activate => self.activate_now(),
            Command::Cancel => self.cancel_release(None, "by the operator"),
            Command::TrustFloor { name, generation } => {
                let answer = command::lower_floor(&mut self.store, name, *generation, Time::now());
                self.refused.clear();
                answer
            }
            // The status is answered where it is kept.
            Command::Status | Command::History => Ok(command::history(self.store.ledger())),
        }
    }

    fn go_back_locally(&mut self) -> Result<Value, CommandError> {
        let cause = ordered("by the operator");
        let (_, left) = command::going_back(self.store.ledger(), &cause)?;
        self.leave_now(&left, cause)
    }

    fn leave_now(&mut self, left: &SlotStatus, cause: Cause) -> Result<Value, CommandError> {
        if !self.unsettled.is_empty() {
            return Err(CommandError::Busy);
        }
        if self.probation.is_some() {
            self.roll_back(cause);
        } else {
            let previous = self.store.ledger().previous.clone();
            let previous = previous.ok_or(CommandError::NothingPrevious)?;
            self.go_back(&previous, cause)?;
        }
        Ok(command::went_back(left, self.store.ledger()))
    }

    /// A deployer orders to leave a release: from a trial always, from the live one never below the floor.
    fn leave(&mut self, release: Digest) -> Result<Value, CommandError> {
        let cause = ordered("by the deployer");
        let (_, left) = command::going_back(self.store.ledger(), &cause)?;
        if left.release != release {
            return Err(CommandError::UnknownRelease { release, place: "what serves" });
        }
        if self.probation.is_none()
            && let Some(previous) = &self.store.ledger().previous
            && let Some(floor) = self.store.ledger().floor.get(&previous.name)
            && previous.generation < floor.generation
        {
            return Err(CommandError::BelowFloor {
                name: previous.name.clone(),
                generation: previous.generation,
                floor: floor.generation,
            });
        }
        self.leave_now(&left, cause)
    }

    fn activate_release(&mut self, release: Digest) -> Result<Value, CommandError> {
        let place = "staged or on its way";
        let is_it = |c: &Candidate| c.wanted.subject.release == release;
        if !self.candidate.as_ref().is_some_and(is_it) {
            return Err(CommandError::UnknownRelease { release, place });
        }
        self.activate_now()
    }

    fn activate_now(&mut self) -> Result<Value, CommandError> {
        let waiting: Option<Waiting> = self.order_activation()?;
        let release = self.candidate.as_ref().map(|c| c.wanted.subject.release);
        Ok(json!({"release": release, "waiting": waiting}))
    }

    /// The release on its way, or the one that was named, is not wanted any more.
    fn cancel_release(&mut self, release: Option<Digest>, by: &str) -> Result<Value, CommandError> {
        let candidate = self.candidate.as_ref().map(|c| c.wanted.subject.release);
        let on_its_way = candidate.or_else(|| self.scout.newest());
        let release = release.or(on_its_way).ok_or(CommandError::NothingStaged)?;
        let forgotten = self.scout.forget(release);
        if candidate == Some(release) {
            self.abandon(Cause::new("cancelled", by));
        } else if !forgotten {
            return Err(CommandError::UnknownRelease { release, place: "staged or on its way" });
        }
        Ok(json!({"release": release}))
    }

    /// New trusted keys, signed by enough of the old ones and of the new.
    pub(super) fn on_trust(&mut self, bytes: &[u8]) {
        let rotated = TrustUpdate::parse(bytes)
            .map_err(|e| refuse(e.name(), super::chain(&e)))
            .and_then(|update| rotate(&self.trust, &update).map_err(|e| refuse(e.name(), super::chain(&e))));
        let new = match rotated {
            Ok(new) => new,
            Err(error) => return self.reporter.ignored(error.name()),
        };
        let version = new.root.version();
        let stored = self.store.blobs().put(new.text.as_bytes());
        let applied = stored.map_err(|e| super::chain(&e)).and_then(|blob| {
            let transition = Transition::ReplaceTrust { version, file: blob.digest, resets: new.resets.clone() };
            self.store.apply(&transition, Time::now()).map_err(|e| super::chain(&e))
        });
        if let Err(cause) = applied {
            tracing::error!(version, cause, "new trusted keys could not be written down; they will come again");
            return;
        }
        tracing::warn!(version, resets = ?new.resets, "THE TRUSTED KEYS WERE REPLACED");
        self.trust = new.root;
        self.refused.clear();
        self.recheck();
    }

    /// What serves goes on serving, since stopping it would hurt more than it; what does not serve yet is judged anew.
    fn recheck(&mut self) {
        let ledger = self.store.ledger().clone();
        if let Some(live) = &ledger.live
            && let Err(error) = self.loader.verified(&self.store, live, &self.trust)
        {
            tracing::error!(
                release = live.name,
                cause = super::chain(&error),
                "THE LIVE RELEASE IS NOT TRUSTED ANY MORE: it goes on serving until the daemon ends; publish one that is"
            );
        }
        if let Some(trial) = &ledger.trial
            && let Err(error) = self.loader.verified(&self.store, &trial.slot, &self.trust)
        {
            self.roll_back(error.cause());
        }
        let revoked = self.candidate.as_ref().and_then(|candidate| {
            let package = candidate.release().package();
            let floor = self.store.ledger().floor();
            self.loader.admit(package, &self.trust, &floor, Time::now()).err()
        });
        if let Some(error) = revoked {
            self.abandon(Cause::new(error.name(), super::chain(&error)));
        }
        self.slots_changed();
    }
}

/// What a refused package is remembered by: its release with its bundles, and the statement where that matters too.
fn refusal(wanted: &Wanted, issued: Option<Time>) -> Digest {
    let mut text = wanted.subject.release.to_string();
    for bundle in &wanted.bundles {
        text.push_str(&bundle.to_string());
    }
    if let Some(issued) = issued {
        text.push_str(&issued.to_string());
    }
    Digest::of(text.as_bytes())
}

fn refuse(name: &'static str, message: impl Into<String>) -> CommandError {
    CommandError::Order {
        name,
        message: message.into(),
    }
}
