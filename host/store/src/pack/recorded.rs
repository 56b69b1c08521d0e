//! Self-tests from recordings.

use std::collections::BTreeMap;
use std::path::Path;

use hotshoe_base::disk::parent;
use hotshoe_trust::release_toml::{ReleaseToml, TestOn, TestToml};
use hotshoe_trust::{Blob, PipelineInput, PipelineOutput};
use serde_json::{Value, json};

use super::PackError;
use crate::layout_builder::LayoutBuilder;
use crate::recording::{NotRecorded, RecordedEntry, RecordedPart, Recording, RecordingError};

/// Why a recording cannot become self-tests.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The recording is damaged.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// An entry lacks data that the pipeline needs.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
}

/// Replaces each test that names a recording with one test per entry. Generated files are added to `blobs`.
pub(super) fn expand(
    description: &mut ReleaseToml,
    release_toml: &Path,
    builder: &LayoutBuilder,
    blobs: &mut BTreeMap<String, Blob>,
) -> Result<(), PackError> {
    let tests = std::mem::take(&mut description.tests);
    let steps = || description.pipeline.iter().map(|step| step.step());
    let (begin, end) = (PipelineInput::of(steps()), PipelineOutput::of(steps()));
    let mut expanded = Vec::with_capacity(tests.len());
    for test in tests {
        let TestOn::Recorded(folder) = &test.on else {
            expanded.push(test);
            continue;
        };
        let wrong = |source| PackError::Recorded {
            path: release_toml.to_owned(),
            name: test.name.clone(),
            source: Box::new(source),
        };
        let recording = Recording::open(&parent(release_toml).join(folder))
            .and_then(|recording| recording.check().map(|()| recording))
            .map_err(|error| wrong(error.into()))?;
        for (number, entry) in recording.entries.iter().enumerate() {
            let replay = recording
                .replay(entry, begin, end)
                .map_err(|error| wrong(error.into()))?;
            let mut expected = format!("{folder}/{}", replay.expected.0);
            let decision =
                decision(&recording, entry, &replay.given).map_err(|error| wrong(error.into()))?;
            if let Some(decision) = decision {
                expected.push_str("#decision");
                blobs.insert(expected.clone(), builder.put(&decision)?);
            }
            expanded.push(TestToml {
                name: format!("{}-{number:04}", test.name),
                min_agreement: test.min_agreement,
                tolerance: test.tolerance,
                on: TestOn::Sample {
                    sample: format!("{folder}/{}", replay.sample.0),
                    content_type: replay.content_type.to_owned(),
                    expected,
                },
            });
        }
    }
    description.tests = expanded;
    Ok(())
}

/// The expected decision of a pipeline of policies only; its insight is its input.
fn decision(
    recording: &Recording,
    entry: &RecordedEntry,
    given: &RecordedPart,
) -> Result<Option<Vec<u8>>, RecordingError> {
    let (RecordedPart::Insight, Some(actions)) = (given, &entry.actions) else {
        return Ok(None);
    };
    let insight = recording.read(entry, given)?.unwrap_or_default();
    let insight: Value =
        serde_json::from_slice(&insight).map_err(|source| RecordingError::Json {
            path: recording.folder().to_owned(),
            source: source.into(),
        })?;
    Ok(Some(
        json!({"insight": insight, "actions": actions})
            .to_string()
            .into_bytes(),
    ))
}
