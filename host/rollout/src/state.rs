//! The states that a fleet shows: a projection of [`Phase`], not a second machine.

use hotshoe_store::Phase;
use serde::{Deserialize, Serialize};

/// The state of one device in a rollout.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Not begun.
    Waiting,
    /// Receiving the release.
    Fetching,
    /// Loading and testing it.
    Proving,
    /// Serving it on trial.
    Trial,
    /// Serving it.
    Confirmed,
    /// Not allowed on the device.
    Refused,
    /// Could not be loaded, failed its self-test, or passed a deadline.
    Failed,
    /// Served, and the previous release serves again.
    RolledBack,
    /// Put off by the device, which is not a failure.
    Deferred,
    /// Without a report: the registry concludes it.
    Silent,
}

impl State {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::Waiting,
        Self::Fetching,
        Self::Proving,
        Self::Trial,
        Self::Confirmed,
        Self::Refused,
        Self::Failed,
        Self::RolledBack,
        Self::Deferred,
        Self::Silent,
    ];

    /// Its name, in kebab case.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether a device that is in it does not change any more by itself.
    pub const fn is_end(self) -> bool {
        self.is_failure() || matches!(self, Self::Confirmed)
    }

    /// Whether it counts as failed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::RolledBack)
    }
}

/// Why a device puts a rollout off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Deferral {
    /// Outside of its deployment window.
    Window,
    /// Its battery is low.
    Battery,
    /// Its network is metered.
    Metered,
}

impl Deferral {
    /// Its name, in kebab case: the cause of the state.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The state of a device whose release of the plan is in `phase`.
pub const fn project(phase: Phase, deferral: Option<Deferral>) -> State {
    match (phase, deferral) {
        (Phase::Absent | Phase::Fetching | Phase::Verified | Phase::Staged, Some(_)) => {
            State::Deferred
        }
        (Phase::Absent, None) => State::Waiting,
        // A verified package still waits for its blobs.
        (Phase::Fetching | Phase::Verified, None) => State::Fetching,
        // A proven release may wait for the window of its trial.
        (Phase::SelfTested, Some(Deferral::Window)) => State::Deferred,
        (Phase::Staged, None) | (Phase::SelfTested | Phase::Shadow, _) => State::Proving,
        (Phase::Trial, _) => State::Trial,
        (Phase::Live, _) => State::Confirmed,
        (Phase::Refused, _) => State::Refused,
        (Phase::Failed, _) => State::Failed,
        (Phase::RolledBack, _) => State::RolledBack,
    }
}
