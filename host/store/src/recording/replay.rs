//! Replaying a recorded entry: the input of the pipeline, and the expected result.

use hotshoe_trust::{Blob, PipelineInput, PipelineOutput};

use super::{RecordedEntry, RecordedPart, Recording};

/// The media type of tensors.
const NPZ: &str = "application/x-npz";
/// The media type of insights.
const JSON: &str = "application/json";

/// How to replay an entry on a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay<'a> {
    /// The input of the pipeline.
    pub given: RecordedPart,
    /// Its relative path and digest.
    pub sample: (&'a str, Blob),
    /// Its media type.
    pub content_type: &'a str,
    /// The expected result.
    pub made: RecordedPart,
    /// Its relative path and digest.
    pub expected: (&'a str, Blob),
}

/// An entry lacks data that the pipeline needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the entry `{id}` of the recording has no {what}, which the pipeline {needs}; record with {flags}"
)]
pub struct NotRecorded {
    /// The sample's id.
    id: String,
    /// The missing kind of file.
    what: String,
    needs: &'static str,
    flags: &'static str,
}

impl Recording {
    /// What a pipeline with this input gets of an entry, and its media type.
    ///
    /// # Errors
    /// [`NotRecorded`]
    pub fn given<'a>(
        &self,
        entry: &'a RecordedEntry,
        begin: PipelineInput,
    ) -> Result<(RecordedPart, &'a str), NotRecorded> {
        let (given, content_type) = match begin {
            PipelineInput::Sample => (RecordedPart::Sample, entry.content_type.as_str()),
            PipelineInput::Tensors => (RecordedPart::Tensors, NPZ),
            PipelineInput::Outputs => (RecordedPart::Outputs, NPZ),
            PipelineInput::Insight => (RecordedPart::Insight, JSON),
        };
        found(entry, &given, "begins with", flags_of(begin))?;
        Ok((given, content_type))
    }

    /// How to replay an entry on a pipeline with this input and output.
    ///
    /// # Errors
    /// [`NotRecorded`]
    pub fn replay<'a>(
        &self,
        entry: &'a RecordedEntry,
        begin: PipelineInput,
        end: PipelineOutput,
    ) -> Result<Replay<'a>, NotRecorded> {
        let (given, content_type) = self.given(entry, begin)?;
        let sample = found(entry, &given, "begins with", flags_of(begin))?;
        let (made, flags) = match end {
            PipelineOutput::Tensors => (RecordedPart::Tensors, "--stage pre"),
            PipelineOutput::Outputs => (RecordedPart::Outputs, "--stage infer"),
            PipelineOutput::Insight => (RecordedPart::Insight, "no --without insight"),
        };
        let expected = found(entry, &made, "ends with", flags)?;
        Ok(Replay {
            given,
            sample,
            content_type,
            made,
            expected,
        })
    }
}

/// The options of `hotshoe record` that record the input of a pipeline.
const fn flags_of(begin: PipelineInput) -> &'static str {
    match begin {
        PipelineInput::Sample => "--stage sample",
        PipelineInput::Tensors => "--stage pre",
        PipelineInput::Outputs => "--stage infer",
        PipelineInput::Insight => "--stage post",
    }
}

fn found<'a>(
    entry: &'a RecordedEntry,
    part: &RecordedPart,
    needs: &'static str,
    flags: &'static str,
) -> Result<(&'a str, Blob), NotRecorded> {
    let file = Recording::file(entry, part);
    file.map(|(file, blob)| (file, *blob))
        .ok_or_else(|| NotRecorded {
            id: entry.id.clone(),
            what: part.folder().display().to_string(),
            needs,
            flags,
        })
}
