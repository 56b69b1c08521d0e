//! When a failed request is tried again, and after how long.

use std::time::Duration;

use hotshoe_devkit::Progress;
use jiff::Timestamp;
use reqwest::StatusCode;

use super::TransferError;

/// The most attempts of one request, the first included.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for with `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    failed: u32,
    progress: &'a Progress,
}

impl<'a> Attempts<'a> {
    pub(super) const fn new(progress: &'a Progress) -> Self {
        Self {
            failed: 0,
            progress,
        }
    }

    /// Begins to count again, after an attempt that brought the transfer forward.
    pub(super) const fn restart(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next attempt.
    ///
    /// # Errors
    /// The error itself if another attempt cannot help, [`TransferError::GaveUp`] at the limits.
    pub(super) async fn wait(&mut self, error: TransferError) -> Result<(), TransferError> {
        let Some(asked) = temporary(&error) else {
            return Err(error);
        };
        self.failed = self.failed.saturating_add(1);
        let gave_up = |why: String, error| TransferError::GaveUp {
            why,
            source: Box::new(error),
        };
        if self.failed >= ATTEMPTS {
            return Err(gave_up(format!("{ATTEMPTS} attempts failed"), error));
        }
        let own = FIRST_WAIT.saturating_mul(1 << self.failed.saturating_sub(1));
        let wait = asked.unwrap_or(own);
        if wait > LONGEST_WAIT {
            let (asked, most) = (wait.as_secs(), LONGEST_WAIT.as_secs());
            let why = format!("the registry asks to wait {asked} s; the limit is {most} s");
            return Err(gave_up(why, error));
        }
        let seconds = wait.as_secs_f32();
        self.progress
            .say(&format!("trying again in {seconds:.1} s: {error}"));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Whether another attempt can help, with the wait that the registry asks for.
fn temporary(error: &TransferError) -> Option<Option<Duration>> {
    match error {
        TransferError::Connection(error) => (!error.is_builder()).then_some(None),
        TransferError::Status {
            status,
            retry_after,
            ..
        } => is_temporary(*status).then_some(*retry_after),
        TransferError::Truncated { .. } | TransferError::Silent { .. } => Some(None),
        TransferError::BadResume => Some(Some(Duration::ZERO)),
        _ => None,
    }
}

/// Whether a status may change by itself.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The value of `Retry-After`: seconds, or a date.
pub(super) fn delay(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    // A date that has passed is no wait.
    Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        assert_eq!(delay("0"), Some(Duration::ZERO));
        assert_eq!(delay(" 120 "), Some(Duration::from_secs(120)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(delay(past), Some(Duration::ZERO));
        let future = delay("Fri, 06 Nov 2893 08:49:37 GMT");
        assert!(future.is_some_and(|wait| wait > LONGEST_WAIT), "{future:?}");
        assert_eq!(delay("soon"), None);
        assert_eq!(delay("-1"), None);
    }
}
