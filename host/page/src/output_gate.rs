//! How many outputs a page gets. A browser cannot show more, and workers wait for none of it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets a number of things pass in each second.
#[derive(Debug)]
pub(crate) struct OutputGate {
    most: u32,
    window: Mutex<Option<(Instant, u32)>>,
}

impl OutputGate {
    pub(crate) const fn new(most: u32) -> Self {
        Self {
            most,
            window: Mutex::new(None),
        }
    }

    /// Whether one more may pass.
    pub(crate) fn passes(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        match &mut *window {
            Some((began, count))
                if now.saturating_duration_since(*began) < Duration::from_secs(1) =>
            {
                *count += 1;
                *count <= self.most
            }
            other => {
                *other = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_in_each_second() {
        let gate = OutputGate::new(2);
        let start = Instant::now();
        let passed = |ms: u64| gate.passes(start + Duration::from_millis(ms));
        assert_eq!([0, 1, 2, 999].map(passed), [true, true, false, false]);
        assert_eq!([1_000, 1_001, 1_002].map(passed), [true, true, false]);
    }
}
