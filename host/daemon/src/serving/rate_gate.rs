//! Which samples of a source the rate in force lets through, before they are queued.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hotshoe_senses::Rate;
use parking_lot::Mutex;

/// Most sources that are counted apart. All further ones are counted as one.
pub const MAX_SOURCES: usize = 1_024;
/// A source that has sent nothing for so long makes room for another one.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Counts the samples of each source.
#[derive(Debug, Default)]
pub struct RateGate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sources: HashMap<String, Seen>,
    others: Seen,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Samples since the last one whose turn it was, that one included. 0 before the first sample.
    since_turn: u32,
    /// When the last sample was let through.
    passed: Option<Instant>,
    last: Option<Instant>,
}

impl RateGate {
    /// Whether a sample of `source` passes: whether it is its turn, and the last one that passed is long enough ago. The first sample of a
    /// source passes.
    pub fn admits(&self, source: &str, rate: Rate, now: Instant) -> bool {
        if rate.every.get() == 1 && rate.interval_ms == 0 {
            return true;
        }
        let mut state = self.state.lock();
        state.seen(source, now).admits(rate, now)
    }
}

impl State {
    fn seen(&mut self, source: &str, now: Instant) -> &mut Seen {
        if !self.sources.contains_key(source) {
            if self.sources.len() >= MAX_SOURCES {
                let is_kept = |last: Instant| now.saturating_duration_since(last) < FORGOTTEN;
                self.sources
                    .retain(|_, seen| seen.last.is_some_and(is_kept));
            }
            if self.sources.len() >= MAX_SOURCES {
                return &mut self.others;
            }
        }
        self.sources.entry(source.to_owned()).or_default()
    }
}

impl Seen {
    fn admits(&mut self, rate: Rate, now: Instant) -> bool {
        self.last = Some(now);
        let is_turn = self.since_turn == 0 || self.since_turn >= rate.every.get();
        if !is_turn {
            self.since_turn = self.since_turn.saturating_add(1);
            return false;
        }
        self.since_turn = 1;
        let interval = Duration::from_millis(rate.interval_ms.into());
        let is_early = |passed| now.saturating_duration_since(passed) < interval;
        if self.passed.is_some_and(is_early) {
            return false;
        }
        self.passed = Some(now);
        true
    }
}
