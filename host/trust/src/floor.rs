//! The lowest generation, and the earliest time, that a device still accepts.

use std::collections::BTreeMap;

use crate::{digest::Digest, release::Time};

/// Protection against rollback to older releases: the lowest accepted generation of a name, and the latest signed time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    generations: BTreeMap<String, (u64, Option<Digest>)>,
    clock: Option<Time>,
}

impl Floor {
    /// No floor: for a new device, or a tool that only inspects a release.
    pub fn none() -> Self {
        Self::default()
    }

    /// Accepts no generation of the release `name` below `generation`, and of that generation only the manifest
    /// `content`, if it is known.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        generation: u64,
        content: Option<Digest>,
    ) -> Self {
        self.generations.insert(name.into(), (generation, content));
        self
    }

    /// Accepts no time before `clock`, the latest signed time that the device has seen.
    #[must_use]
    pub fn with_clock(mut self, clock: Option<Time>) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn generation(&self, name: &str) -> Option<(u64, Option<Digest>)> {
        self.generations.get(name).copied()
    }

    pub(crate) fn clock(&self) -> Option<Time> {
        self.clock
    }
}
