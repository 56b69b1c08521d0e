//! How much may be asked for at this moment.

use std::time::Instant;

/// A bucket that fills at the allowed rate and holds one second's worth. What is asked for comes out of it.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Option<f64>,
    level: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(bytes_per_second: Option<u64>, now: Instant) -> Self {
        let rate = bytes_per_second.map(|rate| rate.max(1) as f64);
        Self {
            rate,
            level: rate.unwrap_or_default(),
            filled: now,
        }
    }

    /// Whether more may be asked for.
    pub fn allows(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.level = (self.level + since * rate).min(rate);
        self.level > 0.0
    }

    /// So many bytes were asked for. The bucket may owe some, which the time to come pays.
    pub fn spend(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.level -= bytes as f64;
        }
    }
}
