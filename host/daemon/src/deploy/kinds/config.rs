//! Releases of the kind `config`: keys of `hotshoe.toml` that the device's own file leaves open.

use std::sync::Arc;

use hotshoe_base::chain;
use hotshoe_config::FleetConfig;
use hotshoe_store::{Cause, Store};
use hotshoe_trust::{Release, Verified};

use crate::deploy::fleet_config::{FleetConfigError, keys_of};
use crate::deploy::kinds::effect::{Fault, Progress};
use crate::deploy::kinds::host::is_supervised;
use crate::reload::RunningConfig;
use crate::requests::Request;

/// How far the trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is none.
    None,
    /// The process was asked to read the configuration again, when there had been so many reloads.
    Reloading(u64),
    /// Keys of it need a restart.
    NeedsRestart,
    /// All of it is in effect.
    InEffect,
}

/// The keys that are in effect.
pub(super) struct ConfigEffect {
    running: Arc<RunningConfig>,
    stage: Stage,
    /// The keys before the trial, which are in effect again if it fails.
    before: Option<Arc<FleetConfig>>,
}

impl ConfigEffect {
    pub(super) const fn new(running: Arc<RunningConfig>) -> Self {
        Self {
            running,
            stage: Stage::None,
            before: None,
        }
    }

    /// Reads the keys, and checks them together with those of the device.
    pub(super) fn prove(
        &self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<FleetConfig, Fault> {
        let fleet = keys_of(store, release).map_err(|error| {
            let cause = Cause::new(error.name(), chain(&error));
            match error {
                FleetConfigError::Blob(_) => Fault::Damage(cause),
                _ => Fault::Release(cause),
            }
        })?;
        let Some(local) = self.running.local() else {
            let message = "the daemon was started without a hotshoe.toml";
            return Err(Fault::Later(Cause::new("no_config_file", message)));
        };
        let fits = local.with(&fleet);
        fits.map_err(|error| Fault::Release(Cause::new(error.name(), chain(&error))))?;
        Ok(fleet)
    }

    pub(super) fn begin(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        let fleet = self.prove(store, release)?;
        self.before = self.running.fleet();
        self.reload(Some(Arc::new(fleet)));
        Ok(())
    }

    fn reload(&mut self, fleet: Option<Arc<FleetConfig>>) {
        self.running.set_fleet(fleet);
        self.stage = Stage::Reloading(self.running.reloads());
        self.running.requests().make(Request::Reload);
    }

    /// The daemon was started with these keys.
    pub(super) fn resume(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
        is_trial: bool,
    ) -> Result<(), Fault> {
        let fleet = keys_of(store, release);
        let fleet =
            fleet.map_err(|error| Fault::Release(Cause::new(error.name(), chain(&error))))?;
        if is_trial {
            self.before = self.running.fleet();
        }
        self.running.set_fleet(Some(Arc::new(fleet)));
        if is_trial {
            self.stage = Stage::InEffect;
        }
        Ok(())
    }

    pub(super) fn check(&mut self, is_good: bool) -> Progress {
        match self.stage {
            Stage::None | Stage::NeedsRestart => Progress::Wait,
            Stage::Reloading(before) if self.running.reloads() == before => Progress::Wait,
            Stage::Reloading(_) => self.reloaded(),
            Stage::InEffect if is_good => {
                self.stage = Stage::None;
                self.before = None;
                Progress::Good
            }
            Stage::InEffect => Progress::Wait,
        }
    }

    fn reloaded(&mut self) -> Progress {
        let Some(last) = self.running.last() else {
            return Progress::Wait;
        };
        if let Some(error) = last.error {
            return Progress::Failed(Cause::new("config_refused", error));
        }
        if last.needs_restart.is_empty() {
            self.stage = Stage::InEffect;
            return Progress::InEffect;
        }
        // The rest is in effect after the next start, which counts as one of the trial.
        self.stage = Stage::NeedsRestart;
        if is_supervised() {
            self.running.requests().make(Request::Restart);
        }
        Progress::Wait
    }

    pub(super) fn end_trial(&mut self) {
        let before = self.before.take();
        self.reload(before);
        self.stage = Stage::None;
    }

    /// Puts the keys of an earlier release into effect, without a trial.
    pub(super) fn go_back(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Cause> {
        let fleet = keys_of(store, release);
        let fleet = fleet.map_err(|error| Cause::new(error.name(), chain(&error)))?;
        self.reload(Some(Arc::new(fleet)));
        self.stage = Stage::None;
        Ok(())
    }

    /// The keys of the release that the device's own file leaves open.
    pub(super) fn keys(&self) -> Vec<String> {
        let (Some(local), Some(fleet)) = (self.running.local(), self.running.fleet()) else {
            return Vec::new();
        };
        local.left_open(&fleet).into_iter().collect()
    }
}
