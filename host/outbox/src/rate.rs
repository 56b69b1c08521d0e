//! How fast the outbox may be drained: a token bucket, a pure function of the time that its caller passes.

use std::time::{Duration, Instant};

/// Limits of sending. A burst of one second is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Records per second.
    pub records: f64,
    /// Bytes per second.
    pub bytes: f64,
}

/// What may be sent at a time.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    records: f64,
    bytes: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket at `now`.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            records: rate.records,
            bytes: rate.bytes,
            filled: now,
        }
    }

    /// Takes a batch out. A batch that is larger than a second's worth may pass when the bucket is full, and is paid for afterwards.
    ///
    /// # Errors
    /// The time to wait before the batch may be sent. Nothing is taken then.
    pub fn take(&mut self, now: Instant, records: usize, bytes: usize) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.records = (self.records + passed * self.rate.records).min(self.rate.records);
        self.bytes = (self.bytes + passed * self.rate.bytes).min(self.rate.bytes);
        let (records, bytes) = (records as f64, bytes as f64);
        let wait = wait(self.records, records, self.rate.records).max(wait(
            self.bytes,
            bytes,
            self.rate.bytes,
        ));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.records -= records;
        self.bytes -= bytes;
        Ok(())
    }
}

/// The time until there are `needed` tokens, or as many as the bucket holds.
fn wait(there: f64, needed: f64, rate: f64) -> Duration {
    let lacking = needed.min(rate) - there;
    if lacking <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(lacking / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        records: 10.0,
        bytes: 1000.0,
    };

    #[test]
    fn a_burst_of_a_second_passes_and_the_next_batch_waits_for_its_share() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        assert_eq!(bucket.take(start, 10, 100), Ok(()));
        assert_eq!(bucket.take(start, 5, 100), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(later, 5, 100), Ok(()));
        // 900 bytes were left and 500 came; 1000 fit, and 100 of them went.
        assert_eq!(bucket.take(later, 0, 900), Ok(()));
        assert_eq!(bucket.take(later, 0, 250), Err(Duration::from_millis(250)));
    }

    #[test]
    fn a_batch_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        assert_eq!(bucket.take(start, 20, 0), Ok(()));
        assert_eq!(bucket.take(start, 10, 0), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(start + Duration::from_secs(2), 10, 0), Ok(()));
    }

    #[test]
    fn a_time_before_the_last_one_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = TokenBucket::new(RATE, start);
        assert_eq!(bucket.take(start, 10, 0), Ok(()));
        let before = start - Duration::from_secs(5);
        assert_eq!(bucket.take(before, 1, 0), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(start, 1, 0), Err(Duration::from_millis(100)));
    }
}
