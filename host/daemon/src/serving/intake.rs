//! The intake: checks an incoming sample, and completes its id, media type and time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hotshoe_engine::Sample;
use hotshoe_link::Incoming;
use hotshoe_protocol::trace_context::{TraceContext, read_attachment};
use uuid::Uuid;

/// Longest id that a sender may give a sample, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// Longest media type, in bytes; a longer one is ignored.
pub const MAX_CONTENT_TYPE_BYTES: usize = 256;
/// The media type of a sample without one.
pub const UNKNOWN_CONTENT_TYPE: &str = "application/octet-stream";

/// Why a sample is not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// It is larger than `intake.max-sample-bytes`.
    #[error(
        "the sample has more than {limit} bytes; raise `intake.max-sample-bytes` if the device has the memory"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Its id is not text, or is too long.
    #[error(
        "the sample's id (the attachment) is not 1 to {MAX_ID_BYTES} bytes of UTF-8 without control characters"
    )]
    BadId,
}

impl IntakeError {
    /// The stable name under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "sample_too_large",
            Self::BadId => "invalid_sample_id",
        }
    }
}

/// A checked sample. A refused sample has no payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The sample.
    pub sample: Sample,
    /// Why it was refused.
    pub refusal: Option<IntakeError>,
    /// Its place in the trace of its sender.
    pub context: Option<TraceContext>,
}

/// Checks an incoming sample. `now` is its time if the sender gave none.
pub fn admit(incoming: Incoming<'_>, max_sample_bytes: usize, now: SystemTime) -> Admitted {
    let (given, context) = incoming.id.as_deref().map_or((None, None), read_attachment);
    let given = given.map(parse_id);
    let bad_id = given == Some(None);
    let too_large = incoming.payload.len() > max_sample_bytes;
    let refusal = if too_large {
        Some(IntakeError::TooLarge {
            limit: max_sample_bytes,
        })
    } else {
        bad_id.then_some(IntakeError::BadId)
    };
    let payload: Arc<[u8]> = match refusal {
        None => Arc::from(incoming.payload),
        Some(_) => Arc::from([]),
    };
    let sample = Sample {
        id: given
            .flatten()
            .unwrap_or_else(|| Uuid::now_v7().to_string()),
        source: incoming.source,
        content_type: incoming
            .content_type
            .filter(|t| !t.is_empty() && t.len() <= MAX_CONTENT_TYPE_BYTES)
            .unwrap_or_else(|| UNKNOWN_CONTENT_TYPE.to_owned()),
        timestamp_us: incoming
            .timestamp_us
            .unwrap_or_else(|| micros_since_epoch(now)),
        payload,
    };
    Admitted {
        sample,
        refusal,
        context,
    }
}

/// Microseconds since 1970-01-01T00:00:00Z; 0 for an earlier time.
pub fn micros_since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

fn parse_id(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = (1..=MAX_ID_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}
