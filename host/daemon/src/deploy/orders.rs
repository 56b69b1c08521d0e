//! What reaches the deploy thread from outside: statements, orders, commands.

use hotshoe_config::Statements;
use hotshoe_protocol::status::{SlotStatus, WaitReason};
use hotshoe_store::{Cause, Transition};
use hotshoe_trust::{Digest, Envelope, Order, Signatures, Statement, Time, read_statement};
use serde_json::{Value, json};

use crate::deploy::candidate::Candidate;
use crate::deploy::command::{self, Command, CommandError, ordered};
use crate::deploy::reconciler::Reconciler;
use crate::deploy::reporter::Subject;
use crate::deploy::scout::Wanted;

/// Name under which the time of the last order stands among those of the statements; no release can have it.
const ORDERS: &str = "@orders";
/// Name under which the time of the last statement stands that was cancelled.
pub(super) const CANCELLED: &str = "@cancelled";
/// A statement that was read.
struct Read {
    statement: Statement,
    signed: bool,
    digest: Digest,
}

impl Reconciler {
    /// A statement of what the site should run.
    pub(super) fn on_statement(&mut self, bytes: &[u8]) {
        if let Err(error) = self.follow_statement(bytes) {
            self.reporter.ignored(error.name());
        }
    }

    fn follow_statement(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let Read {
            statement,
            signed,
            digest,
        } = self.read(bytes)?;
        // An unsigned one may say any time, and is not to keep those away that are made after it.
        let issued = match signed {
            true => statement.issued,
            false => statement.issued.min(Time::now()),
        };
        self.newest_heard = self.newest_heard.max(Some(issued));
        if self.followed().is_some_and(|followed| issued < followed) {
            return Err(refuse("replayed", "a newer statement is followed already"));
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
                let wanted = Wanted {
                    subject,
                    bundles,
                    activate,
                    issued,
                    signed,
                };
                self.want(wanted);
                Ok(())
            }
            order => self.follow_order(&order, issued, signed).map(drop),
        }
    }

    /// An order to this device alone; somebody waits for the answer.
    pub(super) fn on_order(&mut self, bytes: &[u8]) -> Result<Value, CommandError> {
        let Read {
            statement, signed, ..
        } = self.read(bytes)?;
        match statement.order {
            Order::Deploy { .. } => Err(refuse(
                "not_an_order",
                "a release is stated under the site's desired keys",
            )),
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
        let statement =
            read_statement(&envelope, &self.config.site, signatures, floor, Time::now())
                .map_err(|e| refuse(e.name(), super::chain(&e)))?;
        statement
            .devices
            .matches(self.loader.device())
            .map_err(|reason| refuse("other_device", reason))?;
        Ok(Read {
            digest: envelope.digest(),
            signed: !statement.signers().is_empty(),
            statement: statement.into_inner(),
        })
    }

    /// The time of the newest statement that is followed.
    pub(super) fn followed(&self) -> Option<Time> {
        let seen = &self.store.ledger().statement_seen;
        seen.iter()
            .filter(|(name, _)| !name.starts_with('@'))
            .map(|(_, issued)| *issued)
            .max()
    }

    fn follow_order(
        &mut self,
        order: &Order,
        issued: Time,
        signed: bool,
    ) -> Result<Value, CommandError> {
        // The very last one too, also when the daemon has started since.
        let last = self.store.ledger().statement_seen.get(ORDERS).copied();
        if last.is_some_and(|last| issued <= last) || self.last_order == Some(issued) {
            return Err(refuse(
                "replayed",
                "this order, or a newer one, was followed already",
            ));
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

    /// Writes down that a statement was followed, so that no older one is any more.
    pub(super) fn seen(&mut self, name: &str, issued: Time) {
        if self.store.ledger().statement_seen.get(name) == Some(&issued) {
            return;
        }
        let transition = Transition::StatementSeen {
            name: name.to_owned(),
            issued,
        };
        if let Err(error) = self.store.apply(&transition, Time::now()) {
            tracing::warn!(
                cause = super::chain(&error),
                "the time of a statement could not be written down"
            );
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
            return Err(CommandError::UnknownRelease {
                release,
                place: "what serves",
            });
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
        let waiting: Option<WaitReason> = self.order_activation()?;
        let release = self.candidate.as_ref().map(|c| c.wanted.subject.release);
        Ok(json!({"release": release, "waiting": waiting}))
    }

    /// The release on its way, or the one that was named, is not wanted any more, however often its statement comes again.
    fn cancel_release(&mut self, release: Option<Digest>, by: &str) -> Result<Value, CommandError> {
        let candidate = self.candidate.as_ref().map(|c| &c.wanted);
        let candidate = candidate.map(|wanted| (wanted.subject.release, wanted.issued));
        let on_its_way = candidate.map(|(release, _)| release);
        let on_its_way = on_its_way.or_else(|| self.scout.newest());
        let release = release.or(on_its_way).ok_or(CommandError::NothingStaged)?;
        let forgotten = self.scout.forget(release);
        if let Some((_, issued)) = candidate.filter(|(on_its_way, _)| *on_its_way == release) {
            self.abandon(Cause::new("cancelled", by));
            self.seen(CANCELLED, issued);
        } else if let Some(wanted) = forgotten {
            // It is not verified: its time is not to keep other releases away.
            self.cancel_unverified(&wanted);
        } else {
            let place = "staged or on its way";
            return Err(CommandError::UnknownRelease { release, place });
        }
        Ok(json!({"release": release}))
    }
}

pub(super) fn refuse(name: &'static str, message: impl Into<String>) -> CommandError {
    CommandError::Order {
        name,
        message: message.into(),
    }
}
