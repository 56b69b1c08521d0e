//! The test cases: the `[[tests]]` of a `release.toml`, and recordings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hotshoe_engine::Sample;
use hotshoe_pipeline::Expectation;
use hotshoe_store::{RecordedEntry, RecordedPart, Recording, Replay};
use hotshoe_trust::release_toml::{ReleaseToml, TestOn, TestToml};
use hotshoe_trust::{PipelineInput, PipelineOutput, ReleaseLimits};

use hotshoe_release::files::read_limited;

/// The default `min-agreement` of a recording.
const MIN_AGREEMENT: f64 = 0.99;

/// A test case: one sample with its expected result.
pub(super) struct Case {
    /// Its name.
    pub name: String,
    /// The sample.
    pub sample: Sample,
    /// The expected result; none if the file does not exist yet.
    pub expected: Option<Expectation>,
    /// The file of the expected result, if `--update` may write it.
    pub snapshot: Option<PathBuf>,
    /// The minimum agreement of the insight.
    pub min_agreement: f64,
    /// The relative tolerance of every number, if there is one.
    pub tolerance: Option<f64>,
    /// The recorded intermediate tensors.
    pub tensors: Vec<(RecordedPart, Vec<u8>)>,
}

/// A case that is not loaded yet.
pub(super) enum PendingCase {
    /// An entry of `[[tests]]` with its own files.
    Written(Case),
    /// An entry of a recording, on the disk.
    Recorded(RecordedCase),
}

/// An entry of a recording that is not read yet.
pub(super) struct RecordedCase {
    name: String,
    recording: Arc<Recording>,
    entry: RecordedEntry,
    /// The input of the pipeline, and its media type.
    given: RecordedPart,
    content_type: String,
    /// The expected output.
    made: RecordedPart,
    min_agreement: f64,
    tolerance: Option<f64>,
}

impl PendingCase {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Written(case) => &case.name,
            Self::Recorded(entry) => &entry.name,
        }
    }

    /// Reads the files of the case.
    pub(super) fn load(self) -> anyhow::Result<Case> {
        match self {
            Self::Written(case) => Ok(case),
            Self::Recorded(entry) => entry.load(),
        }
    }
}

/// Cases that run one after another and share their state.
pub(super) struct Group {
    /// `[[tests]]`, or the recording's folder.
    pub title: String,
    /// In their order.
    pub cases: Vec<PendingCase>,
}

/// Reads the groups with a case whose name contains `filter`. Cases before it stay, because a component's state may come from them; those after
/// the last one are left out.
pub(super) fn read(
    description: &ReleaseToml,
    release_toml: &Path,
    recorded: &[PathBuf],
    filter: Option<&str>,
) -> anyhow::Result<Vec<Group>> {
    let folder = release_toml.parent().unwrap_or(Path::new(""));
    let steps = || description.pipeline.iter().map(|step| step.step());
    let ends = (PipelineInput::of(steps()), PipelineOutput::of(steps()));
    let mut own = Group {
        title: "[[tests]]".to_owned(),
        cases: Vec::new(),
    };
    let mut groups = Vec::new();
    for test in &description.tests {
        match &test.on {
            TestOn::Sample {
                sample,
                content_type,
                expected,
            } => {
                let files = [folder.join(sample), folder.join(expected)];
                let case = written(test, &files, content_type)?;
                own.cases.push(PendingCase::Written(case));
            }
            TestOn::Recorded(name) => {
                groups.push(replayed(
                    &folder.join(name),
                    ends,
                    test.min_agreement,
                    test.tolerance,
                )?);
            }
        }
    }
    groups.insert(0, own);
    for folder in recorded {
        groups.push(replayed(folder, ends, MIN_AGREEMENT, None)?);
    }
    if let Some(filter) = filter {
        for group in &mut groups {
            let last = group
                .cases
                .iter()
                .rposition(|case| case.name().contains(filter));
            group.cases.truncate(last.map_or(0, |last| last + 1));
        }
    }
    groups.retain(|group| !group.cases.is_empty());
    Ok(groups)
}

/// Reads a `[[tests]]` entry with its own files.
fn written(
    test: &TestToml,
    [sample, expected]: &[PathBuf; 2],
    content_type: &str,
) -> anyhow::Result<Case> {
    let id = format!("self-test/{}", test.name);
    let known = if expected.exists() {
        let bytes = read_limited(expected, ReleaseLimits::EXPECTED_BYTES)?;
        let parsed = Expectation::parse(&bytes)
            .with_context(|| format!("{} is not a valid expected result", expected.display()))?;
        Some(parsed)
    } else {
        None
    };
    Ok(Case {
        name: test.name.clone(),
        sample: Sample {
            source: id.clone(),
            id,
            content_type: content_type.to_owned(),
            timestamp_us: 0,
            payload: Arc::from(read_limited(sample, ReleaseLimits::SAMPLE_BYTES)?),
        },
        expected: known,
        snapshot: Some(expected.clone()),
        min_agreement: test.min_agreement,
        tolerance: test.tolerance,
        tensors: Vec::new(),
    })
}

/// The entries of a recording, to be read one by one, because all of them may not fit into memory.
fn replayed(
    folder: &Path,
    (begin, end): (PipelineInput, PipelineOutput),
    min_agreement: f64,
    tolerance: Option<f64>,
) -> anyhow::Result<Group> {
    let recording = Arc::new(Recording::open(folder)?);
    let title = folder.display().to_string();
    let mut cases = Vec::with_capacity(recording.entries.len());
    for (number, entry) in recording.entries.iter().enumerate() {
        let Replay {
            given,
            content_type,
            made,
            ..
        } = recording.replay(entry, begin, end)?;
        cases.push(PendingCase::Recorded(RecordedCase {
            name: format!("{number:04} {}", entry.id),
            recording: Arc::clone(&recording),
            given,
            content_type: content_type.to_owned(),
            made,
            min_agreement,
            tolerance,
            entry: entry.clone(),
        }));
    }
    Ok(Group { title, cases })
}

impl RecordedCase {
    fn load(self) -> anyhow::Result<Case> {
        let Self {
            name,
            recording,
            entry,
            given,
            made,
            ..
        } = self;
        let read = |part: &RecordedPart| recording.read(&entry, part);
        let folder = recording.folder().display();
        let cannot = || format!("entry {name} of {folder} cannot be used");
        let payload = read(&given)?.unwrap_or_default();
        let mut expected =
            Expectation::parse(&read(&made)?.unwrap_or_default()).with_context(cannot)?;
        let recorded = entry.actions.clone().map(serde_json::from_value);
        expected.actions = recorded.transpose().with_context(cannot)?;
        let mut tensors = Vec::new();
        for part in [RecordedPart::Tensors, RecordedPart::Outputs] {
            if part != given
                && part != made
                && let Some(bytes) = read(&part)?
            {
                tensors.push((part, bytes));
            }
        }
        Ok(Case {
            sample: Sample {
                id: entry.id.clone(),
                source: entry.source.clone(),
                content_type: self.content_type,
                timestamp_us: entry.timestamp,
                payload: Arc::from(payload),
            },
            name,
            expected: Some(expected),
            snapshot: None,
            min_agreement: self.min_agreement,
            tolerance: self.tolerance,
            tensors,
        })
    }
}
