//! `[[tests]]`

use serde::Deserialize;

use super::{FileUse, ReleaseTomlError};
use crate::{
    digest::Blob,
    limits::ReleaseLimits,
    release::{SelfTest, most},
};

/// A `[[tests]]` entry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "TestFields")]
pub struct TestToml {
    /// Its name.
    pub name: String,
    /// Least agreement of the insight with the expected one, 0 to 1. Default 0.99.
    pub min_agreement: f64,
    /// If set, `hotshoe test` also requires every number to be within it, and all else to be equal. Devices do not see it.
    pub tolerance: Option<f64>,
    /// Its input.
    pub on: TestOn,
}

/// The input of a self-test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestOn {
    /// One sample.
    Sample {
        /// The sample's file, relative to the `release.toml`.
        sample: String,
        /// The sample's media type.
        content_type: String,
        /// The file of the expected result, relative to the `release.toml`: the insight as JSON, or tensors as `.npz`.
        expected: String,
    },
    /// The folder of a recording, relative to the `release.toml`: packing makes one test of each of its entries.
    Recorded(String),
}

/// The keys of a `[[tests]]` entry.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TestFields {
    name: String,
    sample: Option<String>,
    content_type: Option<String>,
    expected: Option<String>,
    recorded: Option<String>,
    #[serde(default = "most")]
    min_agreement: f64,
    tolerance: Option<f64>,
}

impl TryFrom<TestFields> for TestToml {
    type Error = &'static str;

    fn try_from(fields: TestFields) -> Result<Self, Self::Error> {
        let one = (fields.sample, fields.content_type, fields.expected);
        let on = match (one, fields.recorded) {
            ((Some(sample), Some(content_type), Some(expected)), None) => TestOn::Sample {
                sample,
                content_type,
                expected,
            },
            ((None, None, None), Some(folder)) => TestOn::Recorded(folder),
            _ => {
                return Err(
                    "a test has either `sample`, `content-type` and `expected`, or `recorded`",
                );
            }
        };
        if fields.tolerance.is_some_and(|it| it.is_nan() || it < 0.0) {
            return Err("a `tolerance` is 0 or more, such as 0.001");
        }
        Ok(Self {
            name: fields.name,
            min_agreement: fields.min_agreement,
            tolerance: fields.tolerance,
            on,
        })
    }
}

impl TestToml {
    pub(super) fn files(&self) -> impl Iterator<Item = FileUse<'_>> {
        let file = |key, file, max_bytes| FileUse {
            table: "tests",
            name: &self.name,
            key,
            file,
            max_bytes,
        };
        let named = match &self.on {
            TestOn::Sample {
                sample, expected, ..
            } => Some([
                file("sample", sample.as_str(), ReleaseLimits::SAMPLE_BYTES),
                file("expected", expected, ReleaseLimits::EXPECTED_BYTES),
            ]),
            TestOn::Recorded(_) => None,
        };
        named.into_iter().flatten()
    }

    pub(super) fn self_test(
        &self,
        blob: impl Fn(&String) -> Result<Blob, ReleaseTomlError>,
    ) -> Result<SelfTest, ReleaseTomlError> {
        match &self.on {
            TestOn::Sample {
                sample,
                content_type,
                expected,
            } => Ok(SelfTest {
                name: self.name.clone(),
                sample: blob(sample)?,
                media_type: content_type.clone(),
                expected: blob(expected)?,
                min_agreement: self.min_agreement,
            }),
            TestOn::Recorded(folder) => Err(ReleaseTomlError::NotExpanded(folder.clone())),
        }
    }
}
