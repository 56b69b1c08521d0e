//! The start of the daemon: loads the release that serves, from the data folder alone, without a network.

use std::collections::VecDeque;
use std::sync::Arc;

use hotshoe_base::Clock;
use hotshoe_config::{Config, KeepPrevious};
use hotshoe_engine::{CompileInterrupt, MemoryChoice};
use hotshoe_store::{Cause, Slot, Store, Transition};

use crate::deploy::error::DeployError;
use crate::deploy::keyring;
use crate::deploy::loader::{LoadFailure, Loader};
use crate::deploy::wall_time;
use crate::serving::ServingRelease;

/// Name of the cause when a trial has used up its starts.
const DIED_IN_PROBATION: &str = "died_in_probation";

/// The open data folder, with the loaded releases.
pub struct StartupState {
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) loader: Loader,
    /// The release that serves: the trial or the live one. `None` if there is neither.
    pub(super) serving: Option<Arc<ServingRelease>>,
    /// The live release beside a trial, for a rollback.
    pub(super) old: Option<Arc<ServingRelease>>,
    /// Transitions that could not be written yet.
    pub(super) pending_transitions: VecDeque<Transition>,
}

impl StartupState {
    /// Opens the data folder, counts a start of an unconfirmed trial or rolls it back, and loads the release that serves.
    ///
    /// # Errors
    /// [`DeployError`] says what to do.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, DeployError> {
        let store = Store::open(&config.data).map_err(DeployError::Store)?;
        let trust = keyring::open(config, &store)?;
        let loader = Loader::new(config, store.aot_dir(), trust, clock.clone())?;
        let mut startup = Self {
            clock,
            store,
            loader,
            serving: None,
            old: None,
            pending_transitions: VecDeque::new(),
        };
        let trial = startup.load_trial();
        let beside = trial.is_some();
        if !beside || config.deploy.keep_previous == KeepPrevious::Memory {
            startup.old = startup.load_live(config, beside)?;
        }
        startup.serving = match trial {
            Some(trial) => Some(trial),
            None => startup.old.take(),
        };
        Ok(startup)
    }

    /// The mode of component memories, with its reason.
    pub const fn memory(&self) -> &MemoryChoice {
        self.loader.memory()
    }

    /// Ends compilations. None where they cannot be ended.
    pub fn compile_interrupt(&self) -> Option<CompileInterrupt> {
        self.loader.compile_interrupt()
    }

    /// The release that serves.
    pub fn serving(&self) -> Option<Arc<ServingRelease>> {
        self.serving.clone()
    }

    /// Loads the trial, if it has a start left. Otherwise rolls it back.
    fn load_trial(&mut self) -> Option<Arc<ServingRelease>> {
        let trial = self.store.ledger().trial.clone()?;
        if trial.tries_left == 0 {
            let message =
                "the daemon ended before it confirmed the release, as often as is allowed";
            self.roll_back(&trial.slot, Cause::new(DIED_IN_PROBATION, message));
            return None;
        }
        // Before loading: a crash while loading must count as well.
        if let Err(error) = self
            .store
            .apply(&Transition::TryAgain, wall_time(&self.clock))
        {
            self.roll_back(&trial.slot, Cause::new(error.name(), super::chain(&error)));
            return None;
        }
        let loaded = self.loader.load_slot(&self.store, &trial.slot);
        loaded
            .map_err(|error| self.roll_back(&trial.slot, error.cause()))
            .ok()
    }

    /// Loads the live release. If it is damaged, the previous one becomes live.
    fn load_live(
        &mut self,
        config: &Config,
        beside: bool,
    ) -> Result<Option<Arc<ServingRelease>>, DeployError> {
        let Some(slot) = self.store.ledger().live.clone() else {
            return Ok(None);
        };
        let error = match self.loader.load_slot(&self.store, &slot) {
            Ok(served) => return Ok(Some(served)),
            Err(error) => error,
        };
        if beside {
            tracing::error!(release = slot.name, %error, "the release to go back to cannot be loaded");
            return Ok(None);
        }
        let previous = self.store.ledger().previous.clone();
        let recovered = previous.and_then(|previous| self.load_previous(&previous));
        let Some(recovered) = recovered else {
            if matches!(error, LoadFailure::Verify(_)) && self.store.ledger().trust.is_some() {
                // The daemon must start without a release: otherwise the device could not receive one that its new keys sign.
                tracing::error!(
                    release = slot.name,
                    cause = super::chain(&error),
                    "the live release is not trusted by the new keys; NO RELEASE SERVES until another one is published"
                );
                return Ok(None);
            }
            return Err(failed(config, slot, error));
        };
        self.apply(Transition::Recover(error.cause()));
        tracing::error!(
            release = slot.name,
            generation = slot.generation,
            cause = super::chain(&error),
            "the live release cannot serve; the previous release is live again"
        );
        Ok(Some(recovered))
    }

    fn load_previous(&self, previous: &Slot) -> Option<Arc<ServingRelease>> {
        let loaded = self.loader.load_slot(&self.store, previous);
        loaded
            .inspect_err(|error| tracing::error!(release = previous.name, %error, "the previous release cannot serve either"))
            .ok()
    }

    fn roll_back(&mut self, slot: &Slot, cause: Cause) {
        tracing::error!(
            release = slot.name,
            generation = slot.generation,
            cause = cause.name,
            message = cause.message,
            "rolled back at the start"
        );
        self.apply(Transition::RollBack(cause));
    }

    /// Applies a transition. If the ledger cannot be written, the device serves all the same, and the write is retried later.
    fn apply(&mut self, transition: Transition) {
        if let Err(error) = self.store.apply(&transition, wall_time(&self.clock)) {
            tracing::error!(
                cause = super::chain(&error),
                "the ledger cannot be written; will try again"
            );
            self.pending_transitions.push_back(transition);
        }
    }
}

fn failed(config: &Config, slot: Slot, source: LoadFailure) -> DeployError {
    DeployError::Release {
        name: slot.name,
        data: config.data.clone(),
        source,
    }
}
