//! The bandwidth limit.

use std::time::Instant;

/// A token bucket in bytes with a capacity of one second.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: Option<f64>,
    level: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(bytes_per_second: Option<u64>, now: Instant) -> Self {
        let rate = bytes_per_second.map(|rate| rate.max(1) as f64);
        Self {
            rate,
            level: rate.unwrap_or_default(),
            filled: now,
        }
    }

    /// Whether bytes may be requested now.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.level = (self.level + since * rate).min(rate);
        self.level > 0.0
    }

    /// Takes bytes out. The level may become negative.
    pub(crate) fn spend(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.level -= bytes as f64;
        }
    }
}
