//! The samples of a baseline: files, folders of files, recordings.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hotshoe_engine::Sample;
use hotshoe_store::{RecordedEntry, Recording};
use hotshoe_trust::PipelineInput;
use thiserror::Error;

use crate::commands::exec::read;

/// Most samples of a baseline.
const MAX_SAMPLES: usize = 100_000;

/// Why there are no samples.
#[derive(Debug, Error)]
pub(crate) enum InputsError {
    /// A folder without files.
    #[error("{} has no files; give a folder of samples, or a recording", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// Too many of them.
    #[error("there are more than {MAX_SAMPLES} samples; a baseline of a few thousand says as much")]
    TooMany,
    /// No sample had a result.
    #[error("no sample had a result{}", first.as_ref().map(|it| format!("; the first one: {it}")).unwrap_or_default())]
    NoResult {
        /// The first failure.
        first: Option<String>,
    },
}

impl InputsError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "no_samples",
            Self::TooMany => "too_many_samples",
            Self::NoResult { .. } => "no_result",
        }
    }
}

/// A sample that is not read yet.
enum Found {
    File(PathBuf),
    Recorded(Arc<Recording>, RecordedEntry),
}

/// The samples of these paths, each read when its turn comes. A folder's files come in the order of their names.
pub(super) fn find(
    inputs: &[PathBuf],
    begin: PipelineInput,
    max_bytes: usize,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Sample>>> {
    let mut found = Vec::new();
    for input in inputs {
        if Recording::is_at(input) {
            let recording = Arc::new(Recording::open(input)?);
            let entries = recording.entries.iter().cloned();
            found.extend(entries.map(|entry| Found::Recorded(Arc::clone(&recording), entry)));
        } else if input.is_dir() {
            let files = files_of(input)?;
            found.extend(files.into_iter().map(Found::File));
        } else {
            found.push(Found::File(input.clone()));
        }
        if found.len() > MAX_SAMPLES {
            return Err(InputsError::TooMany.into());
        }
    }
    Ok(found.into_iter().map(move |found| match found {
        // One source, as on a device: a model may keep state between samples.
        Found::File(path) => read(&path, Some("baseline"), max_bytes),
        Found::Recorded(recording, entry) => recorded(&recording, &entry, begin),
    }))
}

fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let folder = folder.to_owned();
        return Err(InputsError::Empty { folder }.into());
    }
    Ok(files)
}

fn recorded(
    recording: &Recording,
    entry: &RecordedEntry,
    begin: PipelineInput,
) -> anyhow::Result<Sample> {
    let (part, content_type) = recording.given(entry, begin)?;
    let payload = recording.read(entry, &part)?.unwrap_or_default();
    Ok(Sample {
        id: entry.id.clone(),
        source: entry.source.clone(),
        content_type: content_type.to_owned(),
        timestamp_us: entry.timestamp,
        payload: Arc::from(payload),
    })
}
