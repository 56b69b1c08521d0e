//! The privacy boundary: masks are burned into a sample before any step sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_engine::{Failure, Fault, Sample};
use hotshoe_trust::{Allowed, PrivacyArea, PrivacyRules, Release};
use hotshoe_vision::{Budget, DecodeLimits, ErrorKind, Fill, Mask, redact};

/// Most bytes that decoding, masking and encoding one sample may hold.
pub const PRIVACY_MEMORY_BYTES: u64 = 256 << 20;
/// Longest time for decoding, masking and encoding one sample.
pub const PRIVACY_DEADLINE: Duration = Duration::from_secs(5);

/// The rules that apply to the samples of a pipeline.
#[derive(Debug)]
pub(super) struct Boundary {
    /// Of the release and of the device, for samples that a device takes.
    taken: PrivacyRules,
    /// Of the release alone, for its own tests: their expected results were made with these.
    own: PrivacyRules,
}

/// Whose rules a worker applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RulesOf {
    ReleaseAndDevice,
    Release,
}

impl Boundary {
    pub(super) fn of(release: &Release, allowed: &Allowed) -> Self {
        Self {
            taken: PrivacyRules::of([&release.privacy, &allowed.privacy]),
            own: PrivacyRules::of([&release.privacy]),
        }
    }

    /// The sample with masks burned in; `None` if no rule applies to its source.
    ///
    /// # Errors
    /// [`Fault::PrivacyUndecodable`], or [`Fault::Deadline`] after [`PRIVACY_DEADLINE`]. The message has nothing of the sample's bytes.
    pub(super) fn cross(&self, sample: &Sample, of: RulesOf) -> Result<Option<Sample>, Failure> {
        let rules = match of {
            RulesOf::ReleaseAndDevice => &self.taken,
            RulesOf::Release => &self.own,
        };
        let masks: Vec<Mask> = rules.areas(&sample.source).map(mask).collect();
        if masks.is_empty() {
            return Ok(None);
        }
        let until = Instant::now() + PRIVACY_DEADLINE;
        let is_over = || Instant::now() >= until;
        let budget = Budget::new(PRIVACY_MEMORY_BYTES, &is_over);
        let limits = DecodeLimits::default();
        let masked = redact(
            &sample.payload,
            &sample.content_type,
            &masks,
            &limits,
            &budget,
        );
        // The error itself may quote what a decoder found in the file.
        let payload = masked.map_err(|error| refused(error.kind()))?;
        Ok(Some(Sample {
            payload: Arc::from(payload),
            ..sample.clone()
        }))
    }
}

fn mask(area: &PrivacyArea) -> Mask {
    Mask {
        polygon: area.polygon.clone(),
        fill: if area.is_blurred {
            Fill::Blur
        } else {
            Fill::Black
        },
    }
}

fn refused(kind: ErrorKind) -> Failure {
    let (fault, problem) = match kind {
        ErrorKind::Unsupported => (
            Fault::PrivacyUndecodable,
            "it is not a JPEG, PNG or BMP file, nor `video/x-raw` of a known format",
        ),
        ErrorKind::InvalidInput => (
            Fault::PrivacyUndecodable,
            "it is damaged, or does not fit its media type",
        ),
        ErrorKind::LimitExceeded => (
            Fault::PrivacyUndecodable,
            "it is larger than a picture may be, or decoding and encoding it takes more than 256 MiB",
        ),
        ErrorKind::Internal => (Fault::PrivacyUndecodable, "it cannot be encoded again"),
        ErrorKind::DeadlineExceeded => (
            Fault::Deadline,
            "decoding and encoding it takes more than 5 s",
        ),
    };
    let message = format!(
        "[privacy] of the release or of the device applies to this source, and the sample cannot be masked: {problem}; send another picture, or name other sources in [privacy]"
    );
    Failure::new(fault, message)
}
