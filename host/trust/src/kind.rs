//! The kinds of releases.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::ReleaseLimits;

/// What a release is: a pipeline, keys of `hotshoe.toml`, or the daemon itself.
///
/// The name says it too, so that a device knows the kind of a release before it has its package, and each kind has its own generations.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseKind {
    /// Components, models and data that process samples.
    #[default]
    Pipeline,
    /// Keys of `hotshoe.toml` that devices leave open, in the data file [`ReleaseKind::CONFIG_FILE`].
    Config,
    /// The daemon's program, as one data file for each [platform](ReleaseKind::platform).
    Host,
}

impl ReleaseKind {
    /// The name of the data file of a `config` release.
    pub const CONFIG_FILE: &'static str = "hotshoe.toml";

    /// The kind of the releases with this name. `hotshoe.config` and `hotshoe.host`, alone or before a further dot, are reserved.
    pub fn of_name(name: &str) -> Self {
        let is = |kind: Self| {
            let rest = kind.reserved().and_then(|own| name.strip_prefix(own));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let reserved = [Self::Config, Self::Host];
        reserved
            .into_iter()
            .find(|kind| is(*kind))
            .unwrap_or_default()
    }

    /// The name that its releases have, or begin with.
    pub const fn reserved(self) -> Option<&'static str> {
        match self {
            Self::Pipeline => None,
            Self::Config => Some("hotshoe.config"),
            Self::Host => Some("hotshoe.host"),
        }
    }

    /// The name of this machine's platform in a `host` release, such as `x86_64-linux`.
    pub fn platform() -> String {
        format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Largest data file of such a release, in bytes.
    pub(crate) const fn data_bytes(self) -> u64 {
        match self {
            Self::Pipeline => ReleaseLimits::DATA_BYTES,
            Self::Config => ReleaseLimits::DEVICE_CONFIG_BYTES,
            Self::Host => ReleaseLimits::PROGRAM_BYTES,
        }
    }
}

impl fmt::Display for ReleaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipeline => "pipeline",
            Self::Config => "config",
            Self::Host => "host",
        })
    }
}
