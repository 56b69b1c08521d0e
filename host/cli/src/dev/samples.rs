//! The samples that are run after every change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use hotshoe_daemon::media::content_type;
use hotshoe_daemon::serving::intake::UNKNOWN_CONTENT_TYPE;
use hotshoe_link::{Client, FeedError};
use hotshoe_protocol::status::Status;
use hotshoe_trust::release_toml::{ReleaseToml, TestOn};
use serde::Serialize;
use serde_json::Value;

/// Samples in flight: one, so the results are in order.
const IN_FLIGHT: usize = 1;
/// Timeout from sending a sample to its answer.
const ANSWER: Duration = Duration::from_secs(60);

/// A sample to try after every change.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The name to show.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Its file, read each time the sample is sent.
    pub file: PathBuf,
}

/// The result of a sample.
#[derive(Debug, Serialize)]
pub(crate) struct SampleResult {
    /// The sample.
    pub sample: String,
    /// From sending it to its answer, in milliseconds.
    pub ms: u64,
    /// The answer's JSON: insight and actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Sample {
    /// A file named on the command line.
    pub(crate) fn of_file(file: &Path) -> Self {
        Self {
            name: file.display().to_string(),
            content_type: content_type(file)
                .unwrap_or(UNKNOWN_CONTENT_TYPE)
                .to_owned(),
            file: file.to_owned(),
        }
    }

    /// The samples of the release's tests, with paths relative to its folder. Recordings are only for `hotshoe test`.
    pub(crate) fn of_tests(release: &ReleaseToml, folder: &Path) -> Vec<Self> {
        let tests = release.tests.iter();
        tests
            .filter_map(|test| {
                let TestOn::Sample {
                    sample,
                    content_type,
                    ..
                } = &test.on
                else {
                    return None;
                };
                Some(Self {
                    name: test.name.clone(),
                    content_type: content_type.clone(),
                    file: folder.join(sample),
                })
            })
            .collect()
    }

    /// Sends it to the device and waits for the answer.
    pub(crate) fn show(&self, client: &Client, device: &Status) -> anyhow::Result<SampleResult> {
        let bytes =
            fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let feeder = client.feeder(&device.site, &device.device, IN_FLIGHT, ANSWER);
        feeder.send("dev", &self.content_type, &self.name, bytes)?;
        let fed = feeder.next(ANSWER).context("the daemon did not answer")?;
        let ms = u64::try_from(fed.elapsed.as_millis()).unwrap_or(u64::MAX);
        let (result, error) = match fed.result {
            Ok(value) => (Some(value), None),
            Err(FeedError::Refused(body)) => (None, Some(refusal(&body))),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(SampleResult {
            sample: self.name.clone(),
            ms,
            result,
            error,
        })
    }
}

/// The daemon's error for a sample, as one line.
fn refusal(body: &Value) -> String {
    let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}: {}", word("fault"), word("message"))
}
