//! Runs the cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::InferenceConfig;
use hotshoe_engine::{Engine, Insight};
use hotshoe_infer::{Models, npz};
use hotshoe_pipeline::{
    Decision, Pipeline, SampleError, StageTime, StageUsage, Tensors, Trace, Worker,
};
use hotshoe_store::RecordedPart;
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{Device, PipelineInput, Release, Verified};
use serde_json::json;

use super::cases::{self, Case};
use super::differ::{self, Difference};
use super::lines::Lines;
use super::{TOLERANCE, TestError};
use crate::files::{Readers, write_new};
use crate::throwaway;

/// What is the same for all runs.
pub struct Setting {
    /// What is tried.
    pub release_toml: PathBuf,
    /// Recordings.
    pub recorded: Vec<PathBuf>,
    /// Part of the names.
    pub filter: Option<String>,
    /// Whether snapshots are rewritten.
    pub update: bool,
    /// In the place of what tests say.
    pub tolerance: Option<f64>,
    /// The device's name.
    pub device: Option<String>,
    /// Folders of components.
    pub folders: BTreeMap<String, PathBuf>,
    /// Compiles.
    pub engine: Engine,
    /// Where components' log lines go.
    pub lines: Lines,
}

/// All that was tried.
pub struct Trial {
    /// The release, as it was packed.
    pub release: Verified<Release>,
    /// Each test, with the title of its group.
    pub tests: Vec<(String, Tried)>,
    /// The most that each component held.
    pub usage: Vec<StageUsage>,
}

/// One test that ran.
pub struct Tried {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// Time of each stage.
    pub stages: Vec<StageTime>,
    /// What components wrote meanwhile.
    pub log: Vec<String>,
}

/// How a test ended.
pub enum Ending {
    /// With a result.
    Result {
        /// Whether it is good enough.
        passed: bool,
        /// How far the insight agrees.
        agreement: f64,
        /// How far it had to.
        min_agreement: f64,
        /// What differs beyond the tolerance.
        difference: Option<Difference>,
        /// What differs in tensors that came between.
        tensors: Vec<String>,
    },
    /// What it gives is the new snapshot.
    Updated(PathBuf),
    /// Nothing says what is expected.
    NoSnapshot(PathBuf),
    /// With an error.
    Failed(SampleError),
}

impl Tried {
    /// Whether it passed.
    pub const fn passed(&self) -> bool {
        matches!(
            self.ending,
            Ending::Result { passed: true, .. } | Ending::Updated(_)
        )
    }

    /// All of it, in microseconds.
    pub fn micros(&self) -> u64 {
        let whole = |stage: &&StageTime| !stage.name.contains('/');
        self.stages
            .iter()
            .filter(whole)
            .map(|stage| stage.micros)
            .sum()
    }
}

impl Trial {
    /// Whether all passed.
    pub fn passed(&self) -> bool {
        self.tests.iter().all(|(_, tried)| tried.passed())
    }
}

/// Packs, signs, loads and tries.
pub fn run(setting: &Setting, description: &ReleaseToml) -> anyhow::Result<Trial> {
    let path = &setting.release_toml;
    let groups = cases::read(
        description,
        path,
        &setting.recorded,
        setting.filter.as_deref(),
    )?;
    if groups.is_empty() {
        return Err(TestError::NoTests {
            release_toml: path.display().to_string(),
            filter: setting.filter.clone(),
        }
        .into());
    }
    let ready = throwaway::prepare(path, setting.device.as_deref(), &setting.folders)?;
    let inference = InferenceConfig::default();
    let models = Models::new(inference.options());
    let pipeline = Pipeline::load(
        ready.release.clone(),
        |blob: &_| ready.layout.read(blob),
        &setting.engine,
        &models,
        &ready.allowed,
        &inference,
    )
    .with_context(|| format!("cannot run {}", path.display()))?;
    pipeline.settle();
    let mut trial = Trial {
        release: ready.release,
        tests: Vec::new(),
        usage: Vec::new(),
    };
    for group in groups {
        let mut worker = pipeline.fork().worker();
        // What start-up code writes belongs to the first test.
        worker.warm_up().context("a component cannot be started")?;
        for case in group.cases {
            let tried = one(setting, &mut worker, case.load()?, &ready.device)?;
            trial.tests.push((group.title.clone(), tried));
        }
        add(&mut trial.usage, worker.usage());
    }
    Ok(trial)
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
    setting: &Setting,
    worker: &mut Worker,
    mut case: Case,
    device: &Device,
) -> anyhow::Result<Tried> {
    if case.snapshot.is_some() {
        // As on a device: the same at every run of the same release.
        let issued = worker.pipeline().release().issued.as_microsecond();
        case.sample.timestamp_us = u64::try_from(issued).unwrap_or_default();
    }
    let (outcome, seen) = worker.observe(&case.sample, device);
    let ending = match outcome.result {
        Ok(decision) => {
            let begin = PipelineInput::of(&worker.pipeline().release().pipeline);
            judge(setting, &case, &decision, &seen, begin)?
        }
        Err(error) => Ending::Failed(error),
    };
    Ok(Tried {
        name: case.name,
        ending,
        stages: outcome.stages,
        log: setting.lines.take(),
    })
}

fn judge(
    setting: &Setting,
    case: &Case,
    decision: &Decision,
    seen: &Trace,
    begin: PipelineInput,
) -> anyhow::Result<Ending> {
    let strict = setting.tolerance.or(case.tolerance);
    let tolerance = strict.unwrap_or(TOLERANCE);
    let Some(expected) = &case.expected else {
        let path = case.snapshot.clone().unwrap_or_default();
        if !setting.update {
            return Ok(Ending::NoSnapshot(path));
        }
        // Of a policy alone the insight says nothing.
        update(&path, decision, begin == PipelineInput::Insight)?;
        return Ok(Ending::Updated(path));
    };
    let agreement = expected.agreement(decision);
    let difference = Difference::of(expected, decision, tolerance);
    if let (true, Some(path), true) = (
        setting.update,
        &case.snapshot,
        difference.is_some() || agreement < case.min_agreement,
    ) {
        update(path, decision, expected.actions.is_some())?;
        return Ok(Ending::Updated(path.clone()));
    }
    let tensors: Vec<String> = case
        .tensors
        .iter()
        .filter_map(|(part, recorded)| Some((made(seen, part)?, recorded)))
        .flat_map(|(made, recorded)| differ::tensors(made, recorded, tolerance))
        .collect();
    let strictly = strict.is_none() || (difference.is_none() && tensors.is_empty());
    // Tensors may be off in as many elements as the insight.
    let alike = case.tensors.iter().all(|(part, recorded)| {
        made(seen, part).is_none_or(|made| share(made, recorded) >= case.min_agreement)
    });
    Ok(Ending::Result {
        passed: agreement >= case.min_agreement && strictly && alike,
        agreement,
        min_agreement: case.min_agreement,
        difference,
        tensors,
    })
}

fn made<'a>(seen: &'a Trace, part: &RecordedPart) -> Option<&'a Tensors> {
    match part {
        RecordedPart::Tensors => seen.tensors.as_ref(),
        RecordedPart::Outputs => seen.outputs.as_ref(),
        _ => None,
    }
}

/// How far tensors agree with recorded ones, as insights that hold them do.
fn share(made: &Tensors, recorded: &[u8]) -> f64 {
    let insight = |payload| Insight::Custom {
        content_type: npz::CONTENT_TYPE.to_owned(),
        payload,
    };
    // What cannot be written agrees with nothing.
    let made = npz::to_bytes(made).unwrap_or_default();
    hotshoe_engine::agreement(&insight(made), &insight(recorded.to_owned()))
}

/// Writes what is expected from now on, in the form that stands there.
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
