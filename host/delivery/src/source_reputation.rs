//! Demoted sources, over several fetches: a source that is slow or sends bad data is asked last, so that it delays one fetch and not
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a source stays demoted.
const DEMOTION_TIME: Duration = Duration::from_secs(300);
/// Most demoted sources.
const MAX_DEMOTED: usize = 1_024;

/// Demoted sources, with the time of their demotion.
#[derive(Debug, Default)]
pub(crate) struct SourceReputation(Mutex<BTreeMap<String, Instant>>);

impl SourceReputation {
    /// The sources that are demoted at `now`.
    pub(crate) fn demoted(&self, now: Instant) -> BTreeSet<String> {
        let mut since = self.0.lock();
        since.retain(|_, since| now.saturating_duration_since(*since) < DEMOTION_TIME);
        since.keys().cloned().collect()
    }

    /// Demotes sources.
    pub(crate) fn remember(&self, demoted: &BTreeSet<String>, now: Instant) {
        let mut since = self.0.lock();
        for name in demoted {
            if since.len() < MAX_DEMOTED {
                since.entry(name.clone()).or_insert(now);
            }
        }
    }
}
