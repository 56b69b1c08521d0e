//! What a plan knows of one source.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Availability;

/// The window that a source begins with, in bytes.
const FIRST_WINDOW: u64 = 256 << 10;
/// How long a source is left alone that was busy or gave nothing; it doubles each time.
pub const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// One source.
#[derive(Debug)]
pub struct Source {
    /// What it is thought to hold.
    pub availability: Availability,
    /// Bytes that it is asked for at a time.
    pub window: u64,
    /// Requests that it has in hand.
    pub batches: usize,
    /// What it said it does not hold.
    pub missing: HashSet<usize>,
    /// When it is asked for that again.
    pub forget_missing: Option<Instant>,
    /// How long it is left alone the next time.
    pub pause: Duration,
    /// It is left alone until then.
    pub backs_off_until: Option<Instant>,
    /// It has given something.
    pub has_delivered: bool,
}

impl Source {
    /// A source that nothing is known of yet.
    pub fn new(availability: Availability) -> Self {
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

    /// Leaves it alone for a while.
    pub fn rest(&mut self, now: Instant) {
        self.backs_off_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_BACK_OFF);
        self.window = (self.window / 2).max(1);
    }
}
