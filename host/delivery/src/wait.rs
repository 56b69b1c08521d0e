//! Why a fetch makes no progress.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;

/// Time without a valid object after which a fetch says what it waits for.
const SAY_AFTER: Duration = Duration::from_secs(10);
/// Most sources that the text lists.
const MAX_SOURCES: usize = 4;

/// What a fetch waits for. It goes on asking all sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchWait {
    /// Sources sent bytes that do not match their digests, and no other source has sent them.
    #[error(
        "{} sent bytes that do not match their digest, and no other source sends them; look at its log, or publish the release again",
        list(sources)
    )]
    BadSource {
        /// The sources.
        sources: BTreeSet<String>,
    },
    /// No source is connected.
    #[error(
        "no publisher, registry or device that shares is connected; connect the site's registry, or publish the release again"
    )]
    NoSource,
    /// The sources do not have what is missing, or do not answer.
    #[error(
        "none of the {sources} sources sends what is missing; look at the registry's log, or publish the release again"
    )]
    NotSent {
        /// Number of usable sources.
        sources: usize,
    },
}

impl FetchWait {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadSource { .. } => "bad_source",
            Self::NoSource => "no_source",
            Self::NotSent { .. } => "not_sent",
        }
    }

    /// Whether `name` is that of a wait.
    pub fn is_name(name: &str) -> bool {
        ["bad_source", "no_source", "not_sent"].contains(&name)
    }
}

/// The last arrival of a fetch, and who sent bad data.
pub(crate) struct Arrivals {
    last: Instant,
    bad: BTreeSet<String>,
    said: bool,
}

impl Arrivals {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            last: now,
            bad: BTreeSet::new(),
            said: false,
        }
    }

    /// A valid object arrived.
    pub(crate) const fn arrived(&mut self, now: Instant) {
        self.last = now;
        self.said = false;
    }

    /// A source sent bad data.
    pub(crate) fn is_bad(&mut self, source: &str) {
        self.bad.insert(source.to_owned());
    }

    /// What the fetch waits for, if nothing has arrived for [`SAY_AFTER`]. Logged once.
    pub(crate) fn waits(&mut self, clock: &Clock, sources: usize) -> Option<FetchWait> {
        if clock.elapsed(self.last) < SAY_AFTER {
            return None;
        }
        let waits = if !self.bad.is_empty() {
            FetchWait::BadSource {
                sources: self.bad.clone(),
            }
        } else if sources == 0 {
            FetchWait::NoSource
        } else {
            FetchWait::NotSent { sources }
        };
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(why = waits.name(), "a fetch waits: {waits}");
        }
        Some(waits)
    }
}

fn list(sources: &BTreeSet<String>) -> String {
    let named: Vec<&str> = sources
        .iter()
        .take(MAX_SOURCES)
        .map(String::as_str)
        .collect();
    let more = sources.len().saturating_sub(MAX_SOURCES);
    let named = named.join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use hotshoe_base::VirtualClock;

    use super::*;

    #[test]
    fn a_fetch_says_after_a_while_what_it_waits_for() {
        let time = VirtualClock::at(std::time::UNIX_EPOCH);
        let clock = time.clock();
        let mut arrivals = Arrivals::new(clock.now());
        time.advance(SAY_AFTER - Duration::from_millis(1));
        assert_eq!(arrivals.waits(&clock, 0), None);
        time.advance(Duration::from_millis(1));
        assert_eq!(arrivals.waits(&clock, 0), Some(FetchWait::NoSource));
        let not_sent = FetchWait::NotSent { sources: 2 };
        assert_eq!(arrivals.waits(&clock, 2), Some(not_sent));
        for number in 0..6 {
            arrivals.is_bad(&format!("registry-{number}"));
        }
        let bad = arrivals.waits(&clock, 2);
        let text = bad.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            text.starts_with("registry-0, registry-1, registry-2, registry-3 and 2 more sent"),
            "{text}"
        );
        assert!(bad.is_some_and(|bad| FetchWait::is_name(bad.name())));
        arrivals.arrived(clock.now());
        assert_eq!(arrivals.waits(&clock, 2), None);
    }
}
