//! The interfaces that this host serves, and their versions. `wit/` has their text.

use std::fmt;
use std::iter::once;

use crate::World;

/// Hotshoe's own interfaces.
pub const PIPELINE: Contract = Contract {
    package: "hotshoe:pipeline",
    oldest: "0.1.0",
    later: &["0.2.0"],
};
/// Models for components of other hosts.
pub const WASI_NN: Contract = Contract {
    package: "wasi:nn",
    oldest: "0.2.0-rc-2024-10-28",
    later: &[],
};

/// What a governor exports.
pub const GOVERNOR: Contract = Contract {
    package: "hotshoe:governor",
    oldest: "0.1.0",
    later: &[],
};

/// A package of interfaces, in each version that this host serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// Its name, such as `wasi:nn`.
    pub package: &'static str,
    /// The oldest version that this host serves.
    pub oldest: &'static str,
    /// The later versions that this host serves, in their order.
    pub later: &'static [&'static str],
}

impl Contract {
    /// The versions that this host serves, oldest first.
    pub fn versions(self) -> impl Iterator<Item = &'static str> {
        once(self.oldest).chain(self.later.iter().copied())
    }

    /// The versions for a message, such as `0.1.0 and 0.2.0`.
    pub fn versions_text(self) -> String {
        self.versions().collect::<Vec<_>>().join(" and ")
    }

    /// The full name of an interface in a version, such as `hotshoe:pipeline/log@0.1.0`.
    pub fn interface(self, name: &str, version: &str) -> String {
        format!("{}/{name}@{version}", self.package)
    }

    /// The interface that this full name names, if it is of this package and of a version that this host serves.
    pub fn name_in(self, interface: &str) -> Option<&str> {
        let rest = interface.strip_prefix(self.package)?.strip_prefix('/')?;
        let (name, version) = rest.split_once('@')?;
        self.versions()
            .any(|served| served == version)
            .then_some(name)
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.package, self.versions_text())
    }
}

impl World {
    /// The full names of the interface that a component of this world exports, in each version, oldest first.
    pub fn exports(self) -> impl Iterator<Item = String> {
        let (package, name) = match self {
            Self::Filter => (PIPELINE, "admit"),
            Self::Preprocessor => (PIPELINE, "preprocess"),
            Self::Postprocessor => (PIPELINE, "postprocess"),
            Self::Policy => (PIPELINE, "decide"),
            Self::Stage => (PIPELINE, "process"),
            Self::Governor => (GOVERNOR, "govern"),
        };
        package
            .versions()
            // Filters came with 0.2.0.
            .filter(move |version| self != Self::Filter || *version != package.oldest)
            .map(move |version| package.interface(name, version))
    }

    /// The exports for a message, such as `hotshoe:pipeline/decide@0.1.0 or hotshoe:pipeline/decide@0.2.0`.
    pub fn exports_text(self) -> String {
        self.exports().collect::<Vec<_>>().join(" or ")
    }
}
