//! The lowest generation, and the earliest time, that a device still accepts.

use std::collections::BTreeMap;

use crate::{digest::Digest, release::Time};

/// What a device has already seen, so that nothing older can come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    generations: BTreeMap<String, (u64, Option<Digest>)>,
    clock: Option<Time>,
}

impl Floor {
    /// The floor of a device that has seen nothing; also that of a laptop that only looks at a release.
    pub fn none() -> Self {
        Self::default()
    }

    /// Accepts of the release `name` nothing below `generation`, and of that generation only the manifest
    /// `content` where it is known.
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

    /// Takes no clock that stands before `clock`, the latest signed time the device has seen.
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
