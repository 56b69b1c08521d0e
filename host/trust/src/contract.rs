//! The interfaces that this host serves, and their versions. `wit/` has their text.

use std::fmt;

use crate::World;

/// Hotshoe's own interfaces.
pub const PIPELINE: Contract = Contract {
    package: "hotshoe:pipeline",
    version: "0.1.0",
};
/// Models for components of other hosts.
pub const WASI_NN: Contract = Contract {
    package: "wasi:nn",
    version: "0.2.0-rc-2024-10-28",
};

/// A package of interfaces in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// Its name, such as `wasi:nn`.
    pub package: &'static str,
    /// The version that this host serves.
    pub version: &'static str,
}

impl Contract {
    /// The full name of an interface, such as `hotshoe:pipeline/log@0.1.0`.
    pub fn interface(&self, name: &str) -> String {
        format!("{}/{name}@{}", self.package, self.version)
    }

    /// The interface that this full name names, if it is of this package and version.
    pub fn name_in<'a>(&self, interface: &'a str) -> Option<&'a str> {
        let rest = interface.strip_prefix(self.package)?.strip_prefix('/')?;
        rest.strip_suffix(self.version)?.strip_suffix('@')
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.package, self.version)
    }
}

impl World {
    /// The full name of the interface that a component of this world exports.
    pub fn export(self) -> String {
        PIPELINE.interface(match self {
            Self::Preprocessor => "preprocess",
            Self::Postprocessor => "postprocess",
            Self::Policy => "decide",
            Self::Stage => "process",
        })
    }
}
