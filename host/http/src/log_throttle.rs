//! Limits how often log lines of one kind are written.

use std::time::{Duration, Instant};

/// The minimum time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// Decides whether a line may be written, and counts the suppressed ones.
#[derive(Debug, Default)]
pub struct LogThrottle {
    written: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    /// If a line may be written at `now`: the number of lines suppressed since the last one.
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
    fn one_line_per_minute_has_the_number_of_suppressed_ones() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.due(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(throttle.due(start + EVERY / 2), None);
        }
        assert_eq!(throttle.due(start + EVERY), Some(1000));
        assert_eq!(throttle.due(start + 2 * EVERY), Some(0));
    }
}
