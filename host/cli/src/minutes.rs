//! Lengths in minutes, as options.

use std::time::Duration;

/// Longest length, in minutes: a week.
const MOST: f64 = 7.0 * 24.0 * 60.0;

/// Parses a number of minutes, which may have a fraction.
pub(crate) fn minutes(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a number of minutes, more than 0 and at most {MOST}");
    let minutes: f64 = text.parse().map_err(|_| wrong())?;
    if minutes > 0.0 && minutes <= MOST {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_positive_and_end() {
        assert_eq!(minutes("5"), Ok(Duration::from_secs(300)));
        assert_eq!(minutes("0.05"), Ok(Duration::from_secs(3)));
        for wrong in ["0", "-1", "nan", "inf", "10081", "5m", ""] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
