//! Which sources have let this device down lately. Others are asked before them, so that one that is silent or lies costs its delay
//! once, and not in every part of every release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long that is remembered.
const MEMORY: Duration = Duration::from_secs(300);
/// Most sources that are remembered.
const MOST: usize = 1_024;

/// Sources that are asked last, and since when.
#[derive(Debug, Default)]
pub struct SourceReputation(Mutex<BTreeMap<String, Instant>>);

impl SourceReputation {
    /// Those that are remembered at `now`.
    pub fn demoted(&self, now: Instant) -> BTreeSet<String> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|_, since| now.saturating_duration_since(*since) < MEMORY);
        since.keys().cloned().collect()
    }

    /// Remembers those that are not yet.
    pub fn remember(&self, demoted: &BTreeSet<String>, now: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in demoted {
            if since.len() < MOST {
                since.entry(name.clone()).or_insert(now);
            }
        }
    }
}
