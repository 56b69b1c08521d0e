//! What a kind of release does on the device.

use std::path::Path;
use std::sync::Arc;

use hotshoe_base::Clock;
use hotshoe_store::{Cause, Store};
use hotshoe_trust::{Digest, Release, ReleaseKind, Verified};

use crate::deploy::kinds::config::ConfigEffect;
use crate::deploy::kinds::host::HostEffect;
use crate::reload::RunningConfig;

/// Why a step did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something that passes: the step is tried again.
    Later(Cause),
    /// Bytes on the disk are damaged: they are fetched again.
    Damage(Cause),
    /// The release is at fault.
    Release(Cause),
}

/// How a trial goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet.
    Wait,
    /// It is in effect from now on: its time begins.
    InEffect,
    /// It is confirmed.
    Good,
    /// It failed.
    Failed(Cause),
}

/// The effect of the releases of a kind.
pub(super) enum Effect {
    /// Keys of `hotshoe.toml`.
    Config(ConfigEffect),
    /// The daemon's program.
    Host(HostEffect),
}

impl Effect {
    pub(super) fn new(
        kind: ReleaseKind,
        data: &Path,
        clock: Clock,
        running: Arc<RunningConfig>,
    ) -> Self {
        match kind {
            ReleaseKind::Host => Self::Host(HostEffect::new(data, clock, running)),
            ReleaseKind::Config | ReleaseKind::Pipeline => Self::Config(ConfigEffect::new(running)),
        }
    }

    /// Checks a release before it has any effect.
    pub(super) fn prove(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        match self {
            Self::Config(effect) => effect.prove(store, release).map(drop),
            Self::Host(effect) => effect.prove(store, release),
        }
    }

    /// Puts a release into effect. Its trial is in the ledger.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Fault> {
        match self {
            Self::Config(effect) => effect.begin(store, release),
            Self::Host(effect) => effect.begin(store, release),
        }
    }

    /// Goes on with the trial or the live release at the start of the daemon.
    pub(super) fn resume(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
        is_trial: bool,
    ) -> Result<(), Fault> {
        match self {
            Self::Config(effect) => effect.resume(store, release, is_trial),
            Self::Host(effect) if is_trial => effect.resume(store, release),
            Self::Host(_) => Ok(()),
        }
    }

    /// How the trial goes on. `is_good`: all parts of the daemon run, a pipeline serves and the network is there, for as long as the
    /// release asks for.
    pub(super) fn check(&mut self, is_good: bool) -> Progress {
        match self {
            Self::Config(effect) => effect.check(is_good),
            Self::Host(effect) => effect.check(is_good),
        }
    }

    /// Ends the trial that failed.
    pub(super) fn end_trial(&mut self) {
        match self {
            Self::Config(effect) => effect.end_trial(),
            Self::Host(effect) => effect.end_trial(),
        }
    }

    /// Whether the release before the live one can be in effect again without a trial.
    pub(super) fn may_go_back(&self) -> Result<(), Cause> {
        match self {
            Self::Config(_) => Ok(()),
            Self::Host(_) => Err(Cause::new(
                "needs_release",
                "a program is always tried: publish the one before with a higher generation",
            )),
        }
    }

    /// Puts the release before the live one into effect.
    pub(super) fn go_back(
        &mut self,
        store: &Store,
        release: &Verified<Release>,
    ) -> Result<(), Cause> {
        match self {
            Self::Config(effect) => effect.go_back(store, release),
            Self::Host(_) => Ok(()),
        }
    }

    /// The keys that are in effect from a release.
    pub(super) fn keys(&self) -> Vec<String> {
        match self {
            Self::Config(effect) => effect.keys(),
            Self::Host(_) => Vec::new(),
        }
    }

    /// The digest of the daemon's program, where a supervisor started it from a slot.
    pub(super) const fn program(&self) -> Option<Digest> {
        match self {
            Self::Config(_) => None,
            Self::Host(effect) => effect.program(),
        }
    }
}
