//! The privacy boundary: masks are burned into a sample before any step sees it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotshoe_base::micros;
use hotshoe_engine::{Failure, Fault, Sample};
use hotshoe_trust::{Privacy, PrivacyArea, PrivacyRules};
use hotshoe_vision::{Budget, DecodeLimits, ErrorKind, Fill, Mask, redact};

use super::SampleError;

/// Most bytes that decoding, masking and encoding one sample may hold.
pub const PRIVACY_MEMORY_BYTES: u64 = 256 << 20;
/// Longest time for decoding, masking and encoding one sample.
pub const PRIVACY_DEADLINE: Duration = Duration::from_secs(5);

/// Stage name of samples that masks apply to.
pub(super) const PRIVACY: &str = "privacy";
/// Samples after which a mask that applied to none of them is a warning, once.
const UNMATCHED_SAMPLES: u64 = 1_000;

/// The rules that apply to the samples of a pipeline.
#[derive(Debug)]
pub struct Boundary {
    /// Of the release and of the device, for samples that a device takes.
    taken: PrivacyRules,
    /// Of the release alone, for its own tests: their expected results were made with these.
    own: PrivacyRules,
    unmatched: Unmatched,
}

/// A sample as everything after the masks may see it: with masks burned in, or as it was taken if none applies to its source. Only a
/// [`Boundary`] makes it.
#[derive(Debug, Clone)]
pub struct MaskedSample<'s> {
    sample: Cow<'s, Sample>,
    /// How long burning them in took, in microseconds. `None` if no mask applies.
    micros: Option<u64>,
}

impl MaskedSample<'_> {
    /// The sample.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// How long burning the masks in took, in microseconds. `None` if none applies.
    pub(super) const fn micros(&self) -> Option<u64> {
        self.micros
    }
}

/// Which rules applied to a sample so far: one whose source is misspelt protects nothing, and nothing else shows that.
#[derive(Debug)]
struct Unmatched {
    samples: AtomicU64,
    matched: Vec<AtomicBool>,
}

/// Whose rules a worker applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RulesOf {
    ReleaseAndDevice,
    Release,
}

impl Boundary {
    /// The rules of a release and of a device.
    pub fn of(release: &Privacy, device: &Privacy) -> Self {
        let taken = PrivacyRules::of([release, device]);
        Self {
            unmatched: Unmatched::of(&taken),
            taken,
            own: PrivacyRules::of([release]),
        }
    }

    /// A sample that a device takes, with the masks of release and device.
    ///
    /// # Errors
    /// [`Fault::PrivacyUndecodable`], or [`Fault::Deadline`] after [`PRIVACY_DEADLINE`]. The message has nothing of the sample's bytes.
    pub fn mask<'s>(&self, sample: &'s Sample) -> Result<MaskedSample<'s>, SampleError> {
        self.cross(sample, RulesOf::ReleaseAndDevice)
    }

    /// As [`Self::mask`], with these rules.
    pub(super) fn cross<'s>(
        &self,
        sample: &'s Sample,
        of: RulesOf,
    ) -> Result<MaskedSample<'s>, SampleError> {
        let started = Instant::now();
        let masked = self.burned_in(sample, of);
        let masked = masked.map_err(|failure| SampleError::of(PRIVACY, failure))?;
        Ok(MaskedSample {
            micros: masked.is_some().then(|| micros(started.elapsed())),
            sample: masked.map_or(Cow::Borrowed(sample), Cow::Owned),
        })
    }

    /// The sample with masks burned in; `None` if no rule applies to its source.
    fn burned_in(&self, sample: &Sample, of: RulesOf) -> Result<Option<Sample>, Failure> {
        let rules = match of {
            RulesOf::ReleaseAndDevice => &self.taken,
            RulesOf::Release => &self.own,
        };
        if rules.sources().len() == 0 {
            return Ok(None);
        }
        let areas: Vec<_> = rules.numbered_areas(&sample.source).collect();
        if of == RulesOf::ReleaseAndDevice {
            let numbers = areas.iter().map(|(number, _)| *number);
            for source in self.unmatched.after(rules, numbers) {
                tracing::warn!(
                    source,
                    samples = UNMATCHED_SAMPLES,
                    "a mask of [privacy] has applied to no sample: correct its source, or remove it"
                );
            }
        }
        let masks: Vec<Mask> = areas.iter().map(|(_, area)| mask(area)).collect();
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

impl Unmatched {
    fn of(rules: &PrivacyRules) -> Self {
        let matched = rules.sources().map(|_| AtomicBool::new(false));
        Self {
            samples: AtomicU64::new(0),
            matched: matched.collect(),
        }
    }

    /// Counts a sample to which these rules applied. At sample [`UNMATCHED_SAMPLES`], the sources of those that applied to none.
    fn after<'r>(
        &self,
        rules: &'r PrivacyRules,
        numbers: impl Iterator<Item = usize>,
    ) -> BTreeSet<&'r str> {
        for matched in numbers.filter_map(|number| self.matched.get(number)) {
            matched.store(true, Ordering::Relaxed);
        }
        if self.samples.fetch_add(1, Ordering::Relaxed) + 1 != UNMATCHED_SAMPLES {
            return BTreeSet::new();
        }
        let all = rules.sources().zip(&self.matched);
        all.filter(|(_, matched)| !matched.load(Ordering::Relaxed))
            .map(|(source, _)| source)
            .collect()
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

#[cfg(test)]
mod tests {
    use hotshoe_trust::{Privacy, PrivacyBlur, PrivacyMask};

    use super::*;

    #[test]
    fn a_source_that_no_sample_has_is_named_once() {
        let mask = |source: &str| PrivacyMask {
            source: source.to_owned(),
            polygon: vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]],
        };
        let table = Privacy {
            masks: ["door", "dor", "*", "window"].map(mask).to_vec(),
            blur: PrivacyBlur::All,
        };
        let rules = PrivacyRules::of([&table]);
        // The last area is that of the blur, which applies to every source.
        assert_eq!(
            rules.sources().collect::<Vec<_>>(),
            ["door", "dor", "*", "window", "*"]
        );
        let unmatched = Unmatched::of(&rules);
        let after = |source: &str| {
            let areas = rules.numbered_areas(source);
            let numbers: Vec<usize> = areas.map(|(number, _)| number).collect();
            unmatched.after(&rules, numbers.into_iter())
        };
        assert!(after("lab/input/window").is_empty());
        for _ in 2..UNMATCHED_SAMPLES {
            assert!(after("lab/input/door").is_empty());
        }
        assert_eq!(after("lab/input/door"), BTreeSet::from(["dor"]));
        assert!(after("lab/input/door").is_empty());
    }
}
