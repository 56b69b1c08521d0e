//! One verified release, loaded: `sample -> pre (wasm) -> infer (native) -> post (wasm) -> policy (wasm) -> actions`.
//!
//! Each step is optional. A pipeline that begins with tensors or an insight takes them as its samples, and a pipeline that ends with
//! tensors returns them as its insight.
#![forbid(unsafe_code)]

mod avoid;
mod back_off;
mod choice;
mod expectation;
mod governor;
mod infer;
mod load_error;
mod measure;
mod model_status;
mod models;
mod modes;
mod pipeline_io;
mod privacy;
mod recurrent;
mod self_test;
mod texts;
mod trace;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hotshoe_config::InferenceConfig;
use hotshoe_engine::{
    Action, Component, ComponentAssets, Engine, Failure, Fault, Insight, Sample, StateSnapshot,
};
use hotshoe_infer::{Models, NamedModel};
use hotshoe_trust::{
    Allowed, Blob, Digest, EffectiveContract, Release, ReleaseKind, StageFailure, Verified,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::choice::Races;
use self::infer::InferStep;
use self::measure::Measured;
use self::modes::RunModes;
use self::privacy::RulesOf;
use self::texts::Texts;

pub use avoid::ModelRunCounts;
pub use back_off::{BackOffChange, BackOffs, FAULTS_IN_A_ROW, FIRST_WAIT, LONGEST_WAIT};
pub use choice::{BACKENDS_FILE, Backends, MAX_CHOICES, Undecided};
pub use expectation::Expectation;
pub use governor::Governor;
pub use load_error::LoadError;
pub use measure::ModeFigures;
pub use modes::RunMode;
pub use privacy::{Boundary, MaskedSample, PRIVACY_DEADLINE, PRIVACY_MEMORY_BYTES};
pub use recurrent::{MAX_SOURCE_BYTES, MAX_SOURCES, StateError};
pub use self_test::{SelfTestError, SelfTestReport, WarmUpError};
pub use trace::{StageUsage, Tensors, Trace};
pub use worker::Worker;

/// A loaded release: components compiled and linked, models in memory. All workers share it. It is immutable except for the state
/// of components (`state` import) and of recurrent models, which is in memory only.
pub struct Pipeline {
    release: Verified<Release>,
    components: BTreeMap<String, Arc<Component>>,
    models: BTreeMap<String, Arc<NamedModel>>,
    /// Why each variant of each model runs on its backend.
    reasons: Arc<Mutex<Reasons>>,
    /// Models that a self-test has run.
    tested: Arc<Mutex<BTreeSet<String>>>,
    /// The backends that are measured while it serves.
    races: Arc<Mutex<Races>>,
    inference: Arc<InferenceConfig>,
    /// What is burned into every sample.
    boundary: Arc<Boundary>,
    /// What may leave the device.
    texts: Texts,
    steps: Vec<Step>,
    run_modes: Arc<RunModes>,
    /// What is known of each mode but the figures that the release signs.
    measured: Arc<Mutex<Measured>>,
    /// Whether a thread changes backends.
    changing_backends: Arc<AtomicBool>,
}

/// Reasons by model and variant.
type Reasons = BTreeMap<(String, String), Reason>;

/// Why a variant runs on its backend.
#[derive(Debug, Clone)]
struct Reason {
    text: String,
    /// Whether the other backend may replace it.
    alike: bool,
    /// Whether the backends disagree, and no test decides.
    undecided: bool,
}

#[derive(Clone)]
enum Step {
    Filter(Arc<Component>),
    Preprocess(Arc<Component>),
    Infer(InferStep),
    Postprocess(Arc<Component>),
    Stage(Arc<Component>),
    Policy(Arc<Component>, StageFailure),
}

/// The result of a pipeline for a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The typed result.
    pub insight: Insight,
    /// The actions of the policies in order; only `publish` without a policy.
    pub actions: Vec<Action>,
}

impl Decision {
    /// Whether the insight may leave the device: a policy published it and none dropped it.
    pub fn published(&self) -> bool {
        let dropped = |action: &Action| matches!(action, Action::Drop { .. });
        self.actions.contains(&Action::Publish) && !self.actions.iter().any(dropped)
    }
}

/// Why one sample has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}`: {message} ({fault})")]
pub struct SampleError {
    /// The component or model that failed, by its name in the release; `input` or `output` if the tensors at the
    /// beginning or the end of the pipeline are not valid; `privacy` if masks apply and could not be burned in.
    pub stage: String,
    /// The kind of failure.
    pub fault: Fault,
    /// A message of one sentence.
    pub message: String,
}

/// How long one stage took for one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// The component or model by its name in the release; `COMPONENT/MODEL` for a model that a component ran, whose
    /// time is included in that of the component.
    pub name: String,
    /// Wall time in microseconds.
    pub micros: u64,
}

/// The outcome of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The decision, or the error that the sample ended with.
    pub result: Result<Decision, SampleError>,
    /// The stages that ran, in order; a failed one is last.
    pub stages: Vec<StageTime>,
    /// Failures of policies that fail open: the sample continued without them.
    pub tolerated: Vec<SampleError>,
}

impl SampleError {
    fn of(stage: &str, failure: Failure) -> Self {
        Self {
            stage: stage.to_owned(),
            fault: failure.fault,
            message: failure.message,
        }
    }
}

impl Pipeline {
    /// Loads a verified release. `read` returns the bytes of a blob, which are checked against the signed digest.
    /// Its components have empty state; see [`Self::restore_state`].
    ///
    /// # Errors
    /// [`LoadError`] names the component, model or file.
    pub fn load<E: Error + Send + Sync + 'static>(
        release: Verified<Release>,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        engine: &Engine,
        models: &Models,
        allowed: &Allowed,
        inference: &InferenceConfig,
    ) -> Result<Arc<Self>, LoadError> {
        if release.kind != ReleaseKind::Pipeline {
            return Err(LoadError::NoPipeline(release.kind));
        }
        let contract = EffectiveContract::of(Some(&*release), &allowed.data);
        contract.check_ways_out(&release)?;
        let mut assets = ComponentAssets::default();
        let models = self::models::load(&release, &read, models, inference)?;
        for (name, named) in &models {
            assets.models.insert(name.clone(), Arc::clone(named));
        }
        for (name, file) in &release.data {
            let bytes = checked(&read, "data file", name, &file.blob)?;
            assets.data.insert(name.clone(), bytes.into());
        }
        let mut components = BTreeMap::new();
        for (name, spec) in &release.components {
            let bytes = checked(&read, "component", name, &spec.blob)?;
            let component = engine.prepare(&release, name, &bytes, &assets, allowed)?;
            components.insert(name.clone(), Arc::new(component));
        }
        let infers = infer::steps(&release, &models)?;
        let steps = release
            .pipeline
            .iter()
            .map(|named| Step::of(named, &components, &infers))
            .collect::<Result<_, _>>()?;
        let run_modes = RunModes::of(&release, &models, inference);
        Ok(Arc::new(Self {
            boundary: Arc::new(Boundary::of(&release.privacy, &allowed.privacy)),
            texts: Texts::new(contract, engine.kept_back()),
            release,
            run_modes: Arc::new(run_modes),
            measured: Arc::default(),
            changing_backends: Arc::default(),
            components,
            models,
            reasons: Arc::default(),
            tested: Arc::default(),
            races: Arc::default(),
            inference: Arc::new(inference.clone()),
            steps,
        }))
    }

    /// The release.
    pub const fn release(&self) -> &Verified<Release> {
        &self.release
    }

    /// The class of each of its outputs on this device.
    pub fn contract(&self) -> &EffectiveContract {
        self.texts.contract()
    }

    /// A sample that the device takes, as everything after the masks may see it: for [`Worker::process_masked`], and for what decides
    /// before whether it is processed.
    ///
    /// # Errors
    /// [`Fault::PrivacyUndecodable`], or [`Fault::Deadline`] after [`PRIVACY_DEADLINE`].
    pub fn mask<'s>(&self, sample: &'s Sample) -> Result<MaskedSample<'s>, SampleError> {
        self.boundary.mask(sample)
    }

    /// Its models by their names in the release.
    pub const fn models(&self) -> &BTreeMap<String, Arc<NamedModel>> {
        &self.models
    }

    /// A worker with its own instance of every component, for one thread.
    pub fn worker(self: &Arc<Self>) -> Worker {
        Worker::new(self, None, RulesOf::ReleaseAndDevice)
    }

    /// A worker that pauses components which trap repeatedly, together with all workers that share `back_offs`.
    pub fn worker_with_back_off(self: &Arc<Self>, back_offs: &Arc<BackOffs>) -> Worker {
        Worker::new(self, Some(Arc::clone(back_offs)), RulesOf::ReleaseAndDevice)
    }

    /// A worker for samples of the release itself: the rules of the device do not apply to them.
    fn worker_of_tests(self: &Arc<Self>) -> Worker {
        Worker::new(self, None, RulesOf::Release)
    }

    /// Its components by their names in the release.
    pub const fn components(&self) -> &BTreeMap<String, Arc<Component>> {
        &self.components
    }

    /// The same pipeline with a copy of the state of its components and empty state of its models: samples do not affect the original.
    /// It shares models and compiled code.
    pub fn fork(&self) -> Arc<Self> {
        let components: BTreeMap<String, Arc<Component>> = self
            .components
            .iter()
            .map(|(name, component)| (name.clone(), Arc::new(component.fork())))
            .collect();
        let fork = |component: &Arc<Component>| {
            let fork = components.get(component.name());
            Arc::clone(fork.unwrap_or(component))
        };
        // Steps with the same model keep sharing its state.
        let mut infers: BTreeMap<String, InferStep> = BTreeMap::new();
        let steps = self.steps.iter().map(|step| match step {
            Step::Infer(step) => {
                let forked = infers.entry(step.name().to_owned());
                Step::Infer(forked.or_insert_with(|| step.fork()).clone())
            }
            Step::Filter(component) => Step::Filter(fork(component)),
            Step::Preprocess(component) => Step::Preprocess(fork(component)),
            Step::Postprocess(component) => Step::Postprocess(fork(component)),
            Step::Stage(component) => Step::Stage(fork(component)),
            Step::Policy(component, failure) => Step::Policy(fork(component), *failure),
        });
        Arc::new(Self {
            release: self.release.clone(),
            steps: steps.collect(),
            models: self.models.clone(),
            reasons: Arc::clone(&self.reasons),
            tested: Arc::clone(&self.tested),
            races: Arc::clone(&self.races),
            inference: Arc::clone(&self.inference),
            boundary: Arc::clone(&self.boundary),
            texts: self.texts.clone(),
            run_modes: Arc::clone(&self.run_modes),
            measured: Arc::clone(&self.measured),
            changing_backends: Arc::clone(&self.changing_backends),
            components,
        })
    }

    /// A snapshot of the state of its components.
    pub fn state_snapshot(&self) -> StateSnapshot {
        let mut snapshot = StateSnapshot::default();
        for component in self.components.values() {
            component.save_state(&mut snapshot);
        }
        snapshot
    }

    /// Replaces the state of each component with that of the snapshot. State of components that this release does not have, or that
    /// lack the grant `state`, is ignored.
    pub fn restore_state(&self, snapshot: &StateSnapshot) {
        for component in self.components.values() {
            component.restore_state(snapshot);
        }
    }

    /// Drops the state of all sources in models, and the per-source instances of components.
    pub fn forget_sources(&self) {
        for component in self.components.values() {
            component.forget_sources();
        }
        for step in &self.steps {
            if let Step::Infer(step) = step {
                step.forget_sources();
            }
        }
    }

    /// Number of state changes of all components. While it is the same, the last snapshot is current.
    pub fn state_changes(&self) -> u64 {
        let components = self.components.values();
        components.map(|component| component.state_changes()).sum()
    }
}

impl Step {
    fn of(
        named: &hotshoe_trust::Step,
        components: &BTreeMap<String, Arc<Component>>,
        infers: &BTreeMap<String, InferStep>,
    ) -> Result<Self, LoadError> {
        use hotshoe_trust::Step as Named;
        let component = |name: &String| match components.get(name) {
            Some(component) => Ok(Arc::clone(component)),
            None => Err(LoadError::Unknown(name.clone())),
        };
        Ok(match named {
            Named::Filter { component: name } => Self::Filter(component(name)?),
            Named::Preprocess { component: name } => Self::Preprocess(component(name)?),
            Named::Postprocess { component: name } => Self::Postprocess(component(name)?),
            Named::Stage { component: name } => Self::Stage(component(name)?),
            Named::Policy {
                component: name,
                on_failure,
            } => Self::Policy(component(name)?, *on_failure),
            Named::Infer { model: name } => match infers.get(name) {
                Some(step) => Self::Infer(step.clone()),
                None => return Err(LoadError::Unknown(name.clone())),
            },
        })
    }
}

/// The bytes of a blob, if they are those that the release signed.
fn checked<E: Error + Send + Sync + 'static>(
    read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
    kind: &'static str,
    name: &str,
    blob: &Blob,
) -> Result<Vec<u8>, LoadError> {
    let bytes = read(blob).map_err(|source| LoadError::Blob {
        kind,
        name: name.to_owned(),
        source: source.into(),
    })?;
    let found = Digest::of(&bytes);
    if found == blob.digest {
        return Ok(bytes);
    }
    Err(LoadError::Damaged {
        kind,
        name: name.to_owned(),
        expected: blob.digest,
        found,
    })
}
