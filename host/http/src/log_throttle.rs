//! A log line of one kind that is not written too often.

use std::time::{Duration, Instant};

/// How long nothing more is said of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// Says when a line may be written, and how many were left out since the last one.
#[derive(Debug, Default)]
pub struct LogThrottle {
    written: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    /// How many lines were left out, where one may be written at `now`.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        let recently = |written| now.saturating_duration_since(written) < EVERY;
        if self.written.is_some_and(recently) {
            self.left_out += 1;
            return None;
        }
        self.written = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_says_how_many_it_stands_for() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.due(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(throttle.due(start + EVERY / 2), None);
        }
        assert_eq!(throttle.due(start + EVERY), Some(1000));
        assert_eq!(throttle.due(start + 2 * EVERY), Some(0));
    }
}
