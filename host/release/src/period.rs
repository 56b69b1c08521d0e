//! Periods such as `7d`.

use hotshoe_trust::Time;
use jiff::{Span, SpanRelativeTo};

/// The text is not a period.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a period; write a number and a unit, such as 7d or 12h, at most 90 days")]
pub struct PeriodError {
    text: String,
}

impl PeriodError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "invalid_period"
    }
}

/// The time that is a period such as `7d` after `now`.
pub fn after(now: Time, text: &str) -> Result<Time, PeriodError> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .and_then(|duration| now.checked_add(duration))
        .ok()
        .filter(|then| *then > now)
        .ok_or_else(|| PeriodError {
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_period_is_a_number_and_a_unit() {
        let now: Time = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            after(now, "7d").unwrap().to_string(),
            "2026-01-08T00:00:00Z"
        );
        assert_eq!(
            after(now, "12h").unwrap().to_string(),
            "2026-01-01T12:00:00Z"
        );
        for wrong in ["", "7", "soon", "-1d", "0d"] {
            assert_eq!(
                after(now, wrong).unwrap_err().name(),
                "invalid_period",
                "{wrong}"
            );
        }
    }
}
