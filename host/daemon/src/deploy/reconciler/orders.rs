//! A deployer's orders and an operator's commands.

use hotshoe_protocol::status::{SlotStatus, WaitReason};
use hotshoe_store::{Cause, IllegalTransition, Phase, Slot, Transition};
use hotshoe_trust::{Digest, Order, Time};
use serde_json::{Value, json};

use super::Reconciler;
use crate::command::{self, BY_DEPLOYER, BY_OPERATOR, Command, CommandError, ordered};
use crate::deploy::kinds::KindReleases;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::Subject;
use crate::deploy::statement::{CANCELLED, ORDERS, ParsedStatement, refuse};

impl Reconciler {
    /// Handles an order to this device.
    pub(super) fn on_order(&mut self, bytes: &[u8]) -> Result<Value, CommandError> {
        let ParsedStatement {
            statement, signers, ..
        } = self.parse(bytes)?;
        match statement.order {
            Order::Deploy { .. } => Err(refuse(
                "not_an_order",
                "this is a statement and not an order; publish it under the site's `@desired` keys",
            )),
            order => {
                let (issued, now) = (statement.issued, self.time());
                let issued = match signers.is_empty() {
                    false => self.admission.counts_from(issued, now),
                    true => issued,
                };
                self.follow_order(&order, issued, signers)
            }
        }
    }

    pub(super) fn follow_order(
        &mut self,
        order: &Order,
        issued: Time,
        signers: Vec<String>,
    ) -> Result<Value, CommandError> {
        self.admission.check_order(issued, self.ledger.ledger())?;
        let is_forgiven = matches!(order, Order::Retry { .. });
        let of_kind = if is_forgiven && signers.is_empty() {
            // Refused below.
            None
        } else {
            self.order_kind(order)
        };
        let answer = match of_kind {
            Some(answer) => answer?,
            None => self.order_pipeline(order, &signers)?,
        };
        self.admission.carried_out(issued);
        // An unsigned order can claim any time, which must not block later ones.
        if !signers.is_empty() {
            let issued = self.admission.time_to_record(issued);
            self.ledger.seen(ORDERS, issued);
        }
        self.reporter.order(order, signers);
        Ok(answer)
    }

    fn order_pipeline(&mut self, order: &Order, signers: &[String]) -> Result<Value, CommandError> {
        match order {
            Order::Activate { release, .. } => self.activate_release(*release),
            Order::Cancel { release, .. } => self.cancel_release(Some(*release), BY_DEPLOYER),
            Order::Rollback { release, .. } => self.roll_back_release(*release),
            Order::Retry { release, name } => self.forgive_release(name, *release, signers),
            Order::Deploy { .. } => Err(refuse(
                "not_an_order",
                "this is a statement and not an order",
            )),
        }
    }

    /// Handles a command.
    pub(super) fn on_command(&mut self, command: &Command) -> Result<Value, CommandError> {
        match command {
            Command::Rollback => {
                let cause = ordered(BY_OPERATOR);
                let (_, left) = command::rollback_transition(self.ledger.ledger(), &cause)?;
                self.roll_back_now(&left, cause)
            }
            Command::Activate => self.activate_now(),
            Command::Cancel => self.cancel_release(None, BY_OPERATOR),
            // They go to the owners of the data.
            Command::SharedData { .. }
            | Command::Data { .. }
            | Command::Alerts { .. }
            | Command::Secret { .. } => Err(CommandError::Busy),
            Command::TrustFloor { name, generation } => self.lower_floor(name, *generation),
            // The control socket answers `Status` itself.
            Command::Status | Command::History => {
                let of_kinds = self.kinds.values().map(KindReleases::ledger);
                let own = std::iter::once(self.ledger.ledger());
                Ok(command::history(own.chain(of_kinds)))
            }
        }
    }

    fn lower_floor(&mut self, name: &str, generation: u64) -> Result<Value, CommandError> {
        let ledger = self.ledger.ledger();
        let (transition, floor) = command::floor_transition(ledger, name, generation)?;
        self.ledger.apply(&transition)?;
        self.admission.forget_refusals();
        Ok(command::floor_answer(name, floor, generation))
    }

    fn roll_back_now(&mut self, left: &SlotStatus, cause: Cause) -> Result<Value, CommandError> {
        if !self.ledger.is_settled() {
            return Err(CommandError::Busy);
        }
        if self.trial.is_running() {
            self.roll_back(cause);
        } else {
            let previous = self.ledger.ledger().previous.clone();
            let previous = previous.ok_or(IllegalTransition::NothingPrevious)?;
            self.restore_previous(&previous, cause)?;
        }
        Ok(command::rollback_answer(left, self.ledger.ledger()))
    }

    /// Makes the previous release serve again if the serving one asks for that because it drifts. The one that is left is remembered as
    /// rolled back, so that it is not started again by itself.
    pub(super) fn follow_drift(&mut self) {
        let watch = self.serving.current().and_then(|serving| serving.drift());
        let Some(reasons) = watch.and_then(|watch| watch.take_fallback()) else {
            return;
        };
        let message = format!("samples differ from the baseline of the release: {reasons}");
        let cause = Cause::new("drift", message);
        let ledger = self.ledger.ledger();
        let serving = command::rollback_transition(ledger, &cause);
        let done = serving
            .map_err(CommandError::from)
            .and_then(|(_, left)| self.roll_back_now(&left, cause));
        if let Err(error) = done {
            self.reporter.drift_fallback_failed(&error);
        }
    }

    /// Makes the previous release live again.
    pub(super) fn restore_previous(
        &mut self,
        previous: &Slot,
        cause: Cause,
    ) -> Result<(), CommandError> {
        let served = self
            .loader
            .load_slot(self.ledger.store(), previous)
            .map_err(|error| CommandError::Damaged(crate::deploy::chain(&error)))?;
        served.prepare(self.loader.threads());
        let left = self.ledger.ledger().live.clone();
        self.ledger.apply(&Transition::GoBack(cause.clone()))?;
        self.serving.save_state(self.ledger.store());
        let took = self.serving.replace(Some(served));
        self.reporter.swapped(took);
        self.slots_changed();
        if let Some(left) = left {
            self.reporter
                .phase(&Subject::of(&left), Phase::RolledBack, Some(cause));
        }
        Ok(())
    }

    /// Handles a deployer's rollback. It may end any trial, but must not go from the live release to one below the floor.
    fn roll_back_release(&mut self, release: Digest) -> Result<Value, CommandError> {
        let cause = ordered(BY_DEPLOYER);
        let ledger = self.ledger.ledger();
        let (_, left) = command::rollback_transition(ledger, &cause)?;
        if left.release != release {
            return Err(CommandError::UnknownRelease {
                release,
                place: "what serves",
            });
        }
        if !self.trial.is_running()
            && let Some(previous) = &ledger.previous
            && let Some(floor) = ledger.floor.get(&previous.name)
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
        let is_it = |pending: &PendingRelease| pending.digest() == release;
        if !self.pending.as_ref().is_some_and(is_it) {
            let place = "pending";
            return Err(CommandError::UnknownRelease { release, place });
        }
        self.activate_now()
    }

    /// Forgets that a release failed. A failure is not forgotten on the word of an unsigned order.
    fn forgive_release(
        &mut self,
        name: &str,
        release: Digest,
        signers: &[String],
    ) -> Result<Value, CommandError> {
        if signers.is_empty() {
            let message = "only a signed order forgives a failure; sign it with `--key KEY`";
            return Err(refuse("unsigned_statement", message));
        }
        self.ledger.apply(&Transition::Forgive {
            name: name.to_owned(),
            release,
            cause: ordered(BY_DEPLOYER),
        })?;
        self.admission.forget_refusals();
        self.rollouts.forgive(release);
        Ok(json!({"release": release}))
    }

    /// Marks the pending release for activation. The answer says what it still waits for.
    fn activate_now(&mut self) -> Result<Value, CommandError> {
        let pending = self.pending.as_mut().ok_or(CommandError::NothingStaged)?;
        pending.order_activation();
        let release = pending.digest();
        self.ledger.note_activation(release);
        let is_open = self.config.deploy.may_activate(self.time());
        let waiting = if self.trial.is_running() {
            Some(WaitReason::Probation)
        } else {
            (!is_open).then_some(WaitReason::Window)
        };
        Ok(json!({"release": release, "waiting": waiting}))
    }

    /// Cancels the pending release or the named one. Its statement does not bring it back.
    pub(super) fn cancel_release(
        &mut self,
        release: Option<Digest>,
        by: &str,
    ) -> Result<Value, CommandError> {
        let pending = self.pending.as_ref().map(PendingRelease::wanted);
        let pending = pending.map(|wanted| (wanted.subject.release, wanted.issued));
        let on_its_way = pending.map(|(release, _)| release);
        let on_its_way = on_its_way.or_else(|| self.admission.newest());
        let release = release.or(on_its_way).ok_or(CommandError::NothingStaged)?;
        let forgotten = self.admission.forget(release);
        if let Some((_, issued)) = pending.filter(|(pending, _)| *pending == release) {
            self.abandon(&Cause::new("cancelled", by));
            let issued = self.admission.time_to_record(issued);
            self.ledger.seen(CANCELLED, issued);
        } else if let Some(wanted) = forgotten {
            self.admission.cancel(&wanted);
            if self.is_shown(&wanted) {
                let cause = Cause::new("cancelled", "cancelled before its package was fetched");
                self.reporter
                    .phase(&wanted.subject, Phase::Absent, Some(cause));
            }
        } else {
            let place = "pending";
            return Err(CommandError::UnknownRelease { release, place });
        }
        Ok(json!({"release": release}))
    }
}
