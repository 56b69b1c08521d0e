//! Runs the test cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::InferenceConfig;
use hotshoe_engine::{Engine, Insight};
use hotshoe_infer::{Models, npz};
use hotshoe_pipeline::{
    Decision, Pipeline, RunMode, SampleError, StageTime, StageUsage, Tensors, Trace, Worker,
};
use hotshoe_store::RecordedPart;
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{Device, PipelineInput, Release, Verified};
use serde_json::json;

use super::cases::{self, Case};
use super::differ::{self, Difference};
use super::lines::LogLines;
use super::{TOLERANCE, TestError};
use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::throwaway;

/// The options of a test run.
pub(super) struct TestOptions {
    /// The release.toml to test.
    pub release_toml: PathBuf,
    /// The folders of recordings.
    pub recorded: Vec<PathBuf>,
    /// A part of the names of the tests to run.
    pub filter: Option<String>,
    /// Whether expected results are overwritten.
    pub update: bool,
    /// The tolerance, instead of that of each test.
    pub tolerance: Option<f64>,
    /// The device's name.
    pub device: Option<String>,
    /// Whether components keep the names of their functions.
    pub debug: bool,
    /// The folders of components, by the path that they see.
    pub folders: BTreeMap<String, PathBuf>,
    /// The engine that runs components.
    pub engine: Engine,
    /// The log lines of components.
    pub lines: LogLines,
}

/// The results of all tests.
pub(super) struct TestRun {
    /// The packed release.
    pub release: Verified<Release>,
    /// Each test, with the title of its group.
    pub tests: Vec<(String, TestResult)>,
    /// The peak memory of each component.
    pub usage: Vec<StageUsage>,
}

/// The result of one test.
pub(super) struct TestResult {
    /// The test's name.
    pub name: String,
    /// Its outcome.
    pub outcome: TestOutcome,
    /// The time of each stage.
    pub stages: Vec<StageTime>,
    /// The log lines of components.
    pub log: Vec<String>,
}

/// The outcome of a test.
pub(super) enum TestOutcome {
    /// The pipeline gave a result.
    Result {
        /// Whether the test passed.
        passed: bool,
        /// The agreement of the insight.
        agreement: f64,
        /// The minimum agreement.
        min_agreement: f64,
        /// The differences beyond the tolerance.
        difference: Option<Difference>,
        /// The differences of intermediate tensors.
        tensors: Vec<String>,
    },
    /// The expected result was overwritten in this file.
    Updated(PathBuf),
    /// The file of the expected result does not exist.
    NoSnapshot(PathBuf),
    /// The pipeline failed.
    Failed(SampleError),
}

impl TestResult {
    /// Whether the test passed.
    pub(super) const fn passed(&self) -> bool {
        matches!(
            self.outcome,
            TestOutcome::Result { passed: true, .. } | TestOutcome::Updated(_)
        )
    }

    /// The total time, in microseconds.
    pub(super) fn micros(&self) -> u64 {
        let whole = |stage: &&StageTime| !stage.name.contains('/');
        self.stages
            .iter()
            .filter(whole)
            .map(|stage| stage.micros)
            .sum()
    }
}

impl TestRun {
    /// Whether all tests passed.
    pub(super) fn passed(&self) -> bool {
        self.tests.iter().all(|(_, result)| result.passed())
    }
}

/// Packs, signs and loads the release, and runs the tests.
pub(super) fn run(options: &TestOptions, description: &ReleaseToml) -> anyhow::Result<TestRun> {
    let path = &options.release_toml;
    let groups = cases::read(
        description,
        path,
        &options.recorded,
        options.filter.as_deref(),
    )?;
    if groups.is_empty() {
        return Err(TestError::NoTests {
            release_toml: path.display().to_string(),
            filter: options.filter.clone(),
        }
        .into());
    }
    let ready = throwaway::prepare(path, options.device.as_deref(), &options.folders)?;
    let inference = InferenceConfig::default();
    let models = Models::new(inference.options());
    let pipeline = Pipeline::load(
        ready.release.clone(),
        |blob: &_| ready.layout.read(blob),
        &options.engine,
        &models,
        &ready.allowed,
        &inference,
    )
    .with_context(|| format!("cannot run {}", path.display()))?;
    pipeline.settle();
    let mut run = TestRun {
        release: ready.release,
        tests: Vec::new(),
        usage: Vec::new(),
    };
    for group in groups {
        let mut worker = pipeline.fork().worker();
        // Log lines of start-up code belong to the first test.
        worker.warm_up().context("a component cannot be started")?;
        for case in group.cases {
            let filter = options.filter.as_deref();
            let shown = filter.is_none_or(|filter| case.name().contains(filter));
            let case = case.load()?;
            if shown {
                let result = one(options, &mut worker, case, &ready.device)?;
                run.tests.push((group.title.clone(), result));
            } else {
                // For the state that the shown ones find; its result is not judged.
                worker.observe(
                    &at_issue(case, &worker).sample,
                    &ready.device,
                    &RunMode::default(),
                );
                options.lines.take();
            }
        }
        add(&mut run.usage, worker.usage());
    }
    Ok(run)
}

fn add(all: &mut Vec<StageUsage>, more: Vec<StageUsage>) {
    for usage in more {
        match all.iter_mut().find(|known| known.name == usage.name) {
            Some(known) => {
                known.memory_bytes = known.memory_bytes.max(usage.memory_bytes);
                known.tensor_bytes = known.tensor_bytes.max(usage.tensor_bytes);
            }
            None => all.push(usage),
        }
    }
}

fn one(
    options: &TestOptions,
    worker: &mut Worker,
    case: Case,
    device: &Device,
) -> anyhow::Result<TestResult> {
    let case = at_issue(case, worker);
    let (processed, seen) = worker.observe(&case.sample, device, &RunMode::default());
    let outcome = match processed.result {
        Ok(decision) => {
            let begin = PipelineInput::of(&worker.pipeline().release().pipeline);
            judge(options, &case, &decision, &seen, begin)?
        }
        Err(error) => TestOutcome::Failed(error),
    };
    Ok(TestResult {
        name: case.name,
        outcome,
        stages: processed.stages,
        log: options.lines.take(),
    })
}

/// A case of `[[tests]]` at the time at which the release was issued, as on a device: the same at every run of the same release.
fn at_issue(mut case: Case, worker: &Worker) -> Case {
    if case.snapshot.is_some() {
        let issued = worker.pipeline().release().issued.as_microsecond();
        case.sample.timestamp_us = u64::try_from(issued).unwrap_or_default();
    }
    case
}

fn judge(
    options: &TestOptions,
    case: &Case,
    decision: &Decision,
    seen: &Trace,
    begin: PipelineInput,
) -> anyhow::Result<TestOutcome> {
    let strict = options.tolerance.or(case.tolerance);
    let tolerance = strict.unwrap_or(TOLERANCE);
    let Some(expected) = &case.expected else {
        let path = case.snapshot.clone().unwrap_or_default();
        if !options.update {
            return Ok(TestOutcome::NoSnapshot(path));
        }
        // The insight of a policy-only pipeline is its input.
        update(&path, decision, begin == PipelineInput::Insight)?;
        return Ok(TestOutcome::Updated(path));
    };
    let agreement = expected.agreement(decision);
    let difference = Difference::of(expected, decision, tolerance);
    if let (true, Some(path), true) = (
        options.update,
        &case.snapshot,
        difference.is_some() || agreement < case.min_agreement,
    ) {
        update(path, decision, expected.actions.is_some())?;
        return Ok(TestOutcome::Updated(path.clone()));
    }
    let tensors: Vec<String> = case
        .tensors
        .iter()
        .filter_map(|(part, recorded)| Some((seen_tensors(seen, part)?, recorded)))
        .flat_map(|(made, recorded)| differ::tensors(made, recorded, tolerance))
        .collect();
    let strictly = strict.is_none() || (difference.is_none() && tensors.is_empty());
    // The minimum agreement applies to tensors too.
    let alike = case.tensors.iter().all(|(part, recorded)| {
        seen_tensors(seen, part).is_none_or(|made| share(made, recorded) >= case.min_agreement)
    });
    Ok(TestOutcome::Result {
        passed: agreement >= case.min_agreement && strictly && alike,
        agreement,
        min_agreement: case.min_agreement,
        difference,
        tensors,
    })
}

fn seen_tensors<'a>(seen: &'a Trace, part: &RecordedPart) -> Option<&'a Tensors> {
    match part {
        RecordedPart::Tensors => seen.tensors.as_ref(),
        RecordedPart::Outputs => seen.outputs.as_ref(),
        _ => None,
    }
}

/// The agreement of tensors with recorded ones, as of insights that contain them.
fn share(made: &Tensors, recorded: &[u8]) -> f64 {
    let insight = |payload| Insight::Custom {
        content_type: npz::CONTENT_TYPE.to_owned(),
        payload,
    };
    // Tensors that cannot be encoded agree with nothing.
    let made = npz::to_bytes(made).unwrap_or_default();
    hotshoe_engine::agreement(&insight(made), &insight(recorded.to_owned()))
}

/// Writes the new expected result, in the format of the file.
fn update(path: &Path, decision: &Decision, actions: bool) -> anyhow::Result<()> {
    let insight = &decision.insight;
    let is_npz = path.extension().is_some_and(|ending| ending == "npz");
    if let (true, Insight::Custom { payload, .. }) = (is_npz, insight) {
        return write_new(path, payload, Readers::Anyone, true);
    }
    let mut text = if actions {
        let decisions = &decision.actions;
        serde_json::to_vec_pretty(&json!({"insight": insight, "actions": decisions}))?
    } else {
        serde_json::to_vec_pretty(insight)?
    };
    text.push(b'\n');
    write_new(path, &text, Readers::Anyone, true)
}
