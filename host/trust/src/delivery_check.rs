//! Checks of chunks, self-tests and the health gate of a release.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chunks::{ChunkIndex, MAX_CHUNK_BYTES},
    health::{HealthBounds, HealthGate},
    limits::ReleaseLimits,
    release::Release,
    release_error::ReleaseError,
    rules::{check_name, is_media_type, within},
};

/// Smallest share of samples in a shadow phase: 0.001. With 0 the phase would never end.
const MIN_SHARE: f64 = 0.001;
/// Range of `max-latency-ratio` of a health gate.
const LATENCY_RATIOS: (f64, f64) = (0.1, 1000.0);

impl Release {
    pub(crate) fn check_tests(&self) -> Result<(), ReleaseError> {
        within(
            "the number of self-tests",
            self.tests.len() as u64,
            0,
            ReleaseLimits::TESTS,
        )?;
        let mut names = BTreeSet::new();
        for test in &self.tests {
            let name = &test.name;
            check_name("self-test", name)?;
            if !names.insert(name) {
                return Err(ReleaseError::SameTest { name: name.clone() });
            }
            if !is_media_type(&test.media_type) {
                return Err(ReleaseError::MediaType {
                    what: format!("self-test `{name}`"),
                    media_type: test.media_type.clone(),
                });
            }
            for (part, blob, least, most) in [
                ("sample", test.sample, 0, ReleaseLimits::SAMPLE_BYTES),
                ("expected", test.expected, 1, ReleaseLimits::EXPECTED_BYTES),
            ] {
                let what = format!("size of `{part}` of self-test `{name}`");
                within(&what, blob.size, least, most)?;
            }
            let what = format!("`min-agreement` of self-test `{name}`");
            share(&what, test.min_agreement)?;
        }
        Ok(())
    }

    pub(crate) fn check_chunks(&self) -> Result<(), ReleaseError> {
        let contents: BTreeMap<_, _> = self.contents().map(|(b, _)| (b.digest, b.size)).collect();
        for (blob, index) in &self.chunks {
            if self.chunks.contains_key(&index.digest) {
                return Err(ReleaseError::ChunkedIndex {
                    index: index.digest,
                });
            }
            let Some(size) = contents.get(blob) else {
                return Err(ReleaseError::ChunksOfNothing { blob: *blob });
            };
            within(
                &format!("size of the index of blob {blob}"),
                index.size,
                1,
                ReleaseLimits::INDEX_BYTES,
            )?;
            let chunks = size.div_ceil(MAX_CHUNK_BYTES)..=*size;
            if !ChunkIndex::count(index.size).is_some_and(|count| chunks.contains(&count)) {
                return Err(ReleaseError::IndexSize {
                    blob: *blob,
                    size: index.size,
                });
            }
        }
        Ok(())
    }
}

impl HealthGate {
    pub(crate) fn check(&self) -> Result<(), ReleaseError> {
        within(
            "`health.min-samples`",
            self.min_samples,
            0,
            ReleaseLimits::TRIAL_SAMPLES,
        )?;
        within(
            "`health.min-seconds`",
            self.min_seconds,
            0,
            ReleaseLimits::TRIAL_SECONDS,
        )?;
        within(
            "`health.confirm-after-seconds`",
            self.confirm_after_seconds.unwrap_or(0),
            0,
            ReleaseLimits::TRIAL_SECONDS,
        )?;
        within("`health.tries`", self.tries.into(), 0, ReleaseLimits::TRIES)?;
        for (what, value) in [
            ("`health.max-error-rate`", self.max_error_rate),
            ("`health.max-trap-rate`", self.max_trap_rate),
            (
                "`health.max-deadline-miss-rate`",
                self.max_deadline_miss_rate,
            ),
        ] {
            share(what, value)?;
        }
        check_latency(self.max_latency_p95_ms, self.max_latency_ratio)?;
        let Some(shadow) = &self.shadow else {
            return Ok(());
        };
        range("`health.shadow.share`", shadow.share, MIN_SHARE, 1.0)?;
        share("`health.shadow.min-agreement`", shadow.min_agreement)?;
        within(
            "`health.shadow.samples`",
            shadow.samples,
            1,
            ReleaseLimits::TRIAL_SAMPLES,
        )
    }
}

impl HealthBounds {
    /// Checks that every bound is in the range of the release's own value.
    pub fn check(&self) -> Result<(), ReleaseError> {
        for (what, value, most) in [
            (
                "`min-samples`",
                self.min_samples,
                ReleaseLimits::TRIAL_SAMPLES,
            ),
            (
                "`max-samples`",
                self.max_samples,
                ReleaseLimits::TRIAL_SAMPLES,
            ),
            (
                "`min-seconds`",
                self.min_seconds,
                ReleaseLimits::TRIAL_SECONDS,
            ),
            (
                "`max-seconds`",
                self.max_seconds,
                ReleaseLimits::TRIAL_SECONDS,
            ),
            (
                "`confirm-after-seconds`",
                self.confirm_after_seconds,
                ReleaseLimits::TRIAL_SECONDS,
            ),
            (
                "`max-tries`",
                self.max_tries.map(u64::from),
                ReleaseLimits::TRIES,
            ),
        ] {
            value.map_or(Ok(()), |value| within(what, value, 0, most))?;
        }
        for (what, value) in [
            ("`max-error-rate`", self.max_error_rate),
            ("`max-trap-rate`", self.max_trap_rate),
            ("`max-deadline-miss-rate`", self.max_deadline_miss_rate),
            ("`min-shadow-agreement`", self.min_shadow_agreement),
        ] {
            value.map_or(Ok(()), |value| share(what, value))?;
        }
        // With a minimum above its maximum, it would be unclear which of the two applies.
        for (what, least, most) in [
            ("`min-samples`", self.min_samples, self.max_samples),
            ("`min-seconds`", self.min_seconds, self.max_seconds),
        ] {
            if let (Some(least), Some(most)) = (least, most) {
                within(what, least, 0, most)?;
            }
        }
        check_latency(self.max_latency_p95_ms, self.max_latency_ratio)
    }
}

fn check_latency(p95_ms: Option<u64>, ratio: Option<f64>) -> Result<(), ReleaseError> {
    if let Some(value) = p95_ms {
        within("`max-latency-p95-ms`", value, 1, ReleaseLimits::DEADLINE_MS)?;
    }
    let (least, most) = LATENCY_RATIOS;
    ratio.map_or(Ok(()), |value| {
        range("`max-latency-ratio`", value, least, most)
    })
}

fn share(what: &str, value: f64) -> Result<(), ReleaseError> {
    range(what, value, 0.0, 1.0)
}

/// Refuses a value outside the range, and NaN.
fn range(what: &str, value: f64, least: f64, most: f64) -> Result<(), ReleaseError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ReleaseError::Range {
        what: what.to_owned(),
        value,
        least,
        most,
    })
}
