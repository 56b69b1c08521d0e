//! What serves when the daemon starts: it depends on the data folder alone, never on a network.

use std::sync::Arc;

use hotshoe_store::{Cause, Slot, Store, Transition};
use hotshoe_trust::{Time, TrustRoot};

use crate::config::{Config, KeepPrevious};
use crate::deploy::error::DeployError;
use crate::deploy::keyring;
use crate::deploy::loader::{LoadFailure, Loader};
use crate::deploy::served::Served;

/// Name of the cause where a trial has used up its starts.
const DIED: &str = "died_in_probation";

/// The data folder, opened, with what serves from it.
pub struct Boot {
    pub(super) store: Store,
    pub(super) loader: Loader,
    pub(super) trust: TrustRoot,
    /// What serves: the trial, the live release, or nothing yet.
    pub(super) serving: Option<Arc<Served>>,
    /// The live release beside a trial, to go back to.
    pub(super) old: Option<Arc<Served>>,
}

impl Boot {
    /// Opens the data folder, gives an unconfirmed trial its next start or rolls it back, and loads what serves.
    ///
    /// # Errors
    /// [`DeployError`] says what to do.
    pub fn open(config: &Config) -> Result<Self, DeployError> {
        let store = Store::open(&config.data).map_err(DeployError::Store)?;
        let trust = keyring::open(config, &store)?;
        let loader = Loader::new(config, store.aot_dir())?;
        let mut boot = Self {
            store,
            loader,
            trust,
            serving: None,
            old: None,
        };
        let trial = boot.next_try(config)?;
        let beside = trial.is_some();
        if !beside || config.deploy.keep_previous == KeepPrevious::Memory {
            boot.old = boot.live(config, beside)?;
        }
        boot.serving = match trial {
            Some(trial) => Some(trial),
            None => boot.old.take(),
        };
        Ok(boot)
    }

    /// What serves, until the service has it.
    pub fn serving(&self) -> Option<Arc<Served>> {
        self.serving.clone()
    }

    /// The trial, if it may start once more and can.
    fn next_try(&mut self, config: &Config) -> Result<Option<Arc<Served>>, DeployError> {
        let Some(trial) = self.store.ledger().trial.clone() else {
            return Ok(None);
        };
        if trial.tries_left == 0 {
            let message = "the daemon ended before the release was confirmed, as often as it may";
            self.roll_back(config, &trial.slot, Cause::new(DIED, message))?;
            return Ok(None);
        }
        // Before anything of it is loaded: what loading does must be bounded too.
        self.apply(config, &Transition::TryAgain)?;
        match self.loader.load_slot(&self.store, &trial.slot, &self.trust) {
            Ok(served) => Ok(Some(served)),
            Err(error) => {
                self.roll_back(config, &trial.slot, error.cause())?;
                Ok(None)
            }
        }
    }

    /// The live release. Where it is damaged, the one before it becomes live.
    fn live(&mut self, config: &Config, beside: bool) -> Result<Option<Arc<Served>>, DeployError> {
        let Some(slot) = self.store.ledger().live.clone() else {
            return Ok(None);
        };
        let error = match self.loader.load_slot(&self.store, &slot, &self.trust) {
            Ok(served) => return Ok(Some(served)),
            Err(error) => error,
        };
        if beside {
            tracing::error!(release = slot.name, %error, "the release to go back to cannot be loaded");
            return Ok(None);
        }
        let previous = self.store.ledger().previous.clone();
        let recovered = previous.and_then(|previous| self.recovered(&previous));
        let Some(recovered) = recovered else {
            return Err(failed(config, slot, error));
        };
        self.apply(config, &Transition::Recover(error.cause()))?;
        tracing::error!(
            release = slot.name,
            generation = slot.generation,
            cause = super::chain(&error),
            "the live release cannot serve; the one before it is live again"
        );
        Ok(Some(recovered))
    }

    fn recovered(&self, previous: &Slot) -> Option<Arc<Served>> {
        let loaded = self.loader.load_slot(&self.store, previous, &self.trust);
        loaded
            .inspect_err(|error| tracing::error!(release = previous.name, %error, "the previous release cannot serve either"))
            .ok()
    }

    fn roll_back(&mut self, config: &Config, slot: &Slot, cause: Cause) -> Result<(), DeployError> {
        tracing::error!(
            release = slot.name,
            generation = slot.generation,
            cause = cause.name,
            message = cause.message,
            "rolled back at the start"
        );
        self.apply(config, &Transition::RollBack(cause))
    }

    fn apply(&mut self, config: &Config, transition: &Transition) -> Result<(), DeployError> {
        self.store
            .apply(transition, Time::now())
            .map_err(|source| DeployError::Ledger {
                data: config.data.clone(),
                source,
            })
    }
}

fn failed(config: &Config, slot: Slot, source: LoadFailure) -> DeployError {
    DeployError::Release {
        name: slot.name,
        data: config.data.clone(),
        source,
    }
}
