//! Statements, orders and commands, as the deploy thread handles them.

use hotshoe_config::Statements;
use hotshoe_protocol::status::{SlotStatus, Waiting};
use hotshoe_store::{Cause, Transition};
use hotshoe_trust::{Digest, Envelope, Order, Signatures, Statement, Time, read_statement};
use serde_json::{Value, json};

use crate::deploy::candidate::Candidate;
use crate::deploy::command::{self, Command, CommandError, ordered};
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::reconciler::Reconciler;
use crate::deploy::reporter::Subject;

/// Key of the time of the last order in `statement_seen`. No release can have this name.
const ORDERS: &str = "@orders";
/// Key of the time of the last cancelled statement.
pub(super) const CANCELLED: &str = "@cancelled";
/// A statement that was read and verified.
struct ParsedStatement {
    statement: Statement,
    signed: bool,
    digest: Digest,
}

impl Reconciler {
    /// Handles a statement of what the site should run.
    pub(super) fn on_statement(&mut self, bytes: &[u8]) {
        if let Err(error) = self.follow_statement(bytes) {
            self.reporter.ignored(error.name());
        }
    }

    fn follow_statement(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let ParsedStatement {
            statement,
            signed,
            digest,
        } = self.read(bytes)?;
        // An unsigned statement can claim any time; one from the future must not block later ones.
        let issued = match signed {
            true => statement.issued,
            false => statement.issued.min(Time::now()),
        };
        self.newest_heard = self.newest_heard.max(Some(issued));
        if self.followed().is_some_and(|followed| issued < followed) {
            return Err(refuse(
                "replayed",
                "the device already follows a newer statement",
            ));
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
                let wanted = WantedRelease {
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

    /// Handles an order to this device.
    pub(super) fn on_order(&mut self, bytes: &[u8]) -> Result<Value, CommandError> {
        let ParsedStatement {
            statement, signed, ..
        } = self.read(bytes)?;
        match statement.order {
            Order::Deploy { .. } => Err(refuse(
                "not_an_order",
                "this is a statement and not an order; publish it under the site's `@desired` keys",
            )),
            order => self.follow_order(&order, statement.issued, signed),
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<ParsedStatement, CommandError> {
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
        Ok(ParsedStatement {
            digest: envelope.digest(),
            signed: !statement.signers().is_empty(),
            statement: statement.into_inner(),
        })
    }

    /// The time of the newest followed statement.
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
        // The last order counts too, also one before a restart.
        let last = self.store.ledger().statement_seen.get(ORDERS).copied();
        if last.is_some_and(|last| issued <= last) || self.last_order == Some(issued) {
            return Err(refuse(
                "replayed",
                "the device has already carried out this order or a newer one",
            ));
        }
        let answer = match order {
            Order::Activate { release, .. } => self.activate_release(*release),
            Order::Cancel { release, .. } => self.cancel_release(Some(*release), "by the deployer"),
            Order::Rollback { release, .. } => self.roll_back_release(*release),
            Order::Deploy { .. } => {
                return Err(refuse(
                    "not_an_order",
                    "this is a statement and not an order",
                ));
            }
        }?;
        self.last_order = Some(issued);
        // An unsigned order can claim any time, which must not block later ones.
        if signed {
            self.seen(ORDERS, issued);
        }
        Ok(answer)
    }

    /// Records the time of a followed statement, so that older ones are refused.
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
                "cannot record the time of a statement in the ledger"
            );
        }
    }

    /// Handles a command.
    pub(super) fn on_command(&mut self, command: &Command) -> Result<Value, CommandError> {
        match command {
            Command::Rollback => self.roll_back_by_operator(),
            Command::Activate => self.activate_now(),
            Command::Cancel => self.cancel_release(None, "by the operator"),
            Command::TrustFloor { name, generation } => {
                let answer = command::lower_floor(&mut self.store, name, *generation, Time::now());
                self.refused.clear();
                answer
            }
            // The control socket answers `Status` itself.
            Command::Status | Command::History => Ok(command::history(self.store.ledger())),
        }
    }

    fn roll_back_by_operator(&mut self) -> Result<Value, CommandError> {
        let cause = ordered("by the operator");
        let (_, left) = command::rollback_transition(self.store.ledger(), &cause)?;
        self.roll_back_now(&left, cause)
    }

    fn roll_back_now(&mut self, left: &SlotStatus, cause: Cause) -> Result<Value, CommandError> {
        if !self.pending_transitions.is_empty() {
            return Err(CommandError::Busy);
        }
        if self.probation.is_some() {
            self.roll_back(cause);
        } else {
            let previous = self.store.ledger().previous.clone();
            let previous = previous.ok_or(CommandError::NothingPrevious)?;
            self.restore_previous(&previous, cause)?;
        }
        Ok(command::rollback_answer(left, self.store.ledger()))
    }

    /// Handles a deployer's rollback. It may end any trial, but must not go from the live release to one below the floor.
    fn roll_back_release(&mut self, release: Digest) -> Result<Value, CommandError> {
        let cause = ordered("by the deployer");
        let (_, left) = command::rollback_transition(self.store.ledger(), &cause)?;
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
        self.roll_back_now(&left, cause)
    }

    fn activate_release(&mut self, release: Digest) -> Result<Value, CommandError> {
        let place = "pending";
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

    /// Cancels the pending release or the named one. Its statement does not bring it back.
    fn cancel_release(&mut self, release: Option<Digest>, by: &str) -> Result<Value, CommandError> {
        let candidate = self.candidate.as_ref().map(|c| &c.wanted);
        let candidate = candidate.map(|wanted| (wanted.subject.release, wanted.issued));
        let on_its_way = candidate.map(|(release, _)| release);
        let on_its_way = on_its_way.or_else(|| self.packages.newest());
        let release = release.or(on_its_way).ok_or(CommandError::NothingStaged)?;
        let forgotten = self.packages.forget(release);
        if let Some((_, issued)) = candidate.filter(|(on_its_way, _)| *on_its_way == release) {
            self.abandon(Cause::new("cancelled", by));
            self.seen(CANCELLED, issued);
        } else if let Some(wanted) = forgotten {
            // It is not verified, so its time must not block other releases.
            self.cancel_unverified(&wanted);
        } else {
            let place = "pending";
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
