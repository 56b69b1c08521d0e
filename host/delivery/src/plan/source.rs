//! The plan's state of one source.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Availability;

/// Initial window of a source, in bytes: 256 KiB.
const FIRST_WINDOW: u64 = 256 << 10;
/// First back-off of a source that was busy or delivered nothing; it doubles each time.
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Source {
    /// What it is expected to have.
    pub availability: Availability,
    /// Bytes per batch.
    pub window: u64,
    /// Number of open batches.
    pub batches: usize,
    /// Wants that it said it does not have.
    pub missing: HashSet<usize>,
    /// When `missing` is cleared.
    pub forget_missing: Option<Instant>,
    /// Length of the next back-off.
    pub pause: Duration,
    pub backs_off_until: Option<Instant>,
    /// Whether it has delivered in this fetch.
    pub has_delivered: bool,
}

impl Source {
    pub(super) fn new(availability: Availability) -> Self {
        Self {
            availability,
            window: FIRST_WINDOW,
            batches: 0,
            missing: HashSet::new(),
            forget_missing: None,
            pause: FIRST_BACK_OFF,
            backs_off_until: None,
            has_delivered: false,
        }
    }

    /// Starts a back-off, and halves the window.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.backs_off_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_BACK_OFF);
        self.window = (self.window / 2).max(1);
    }
}
