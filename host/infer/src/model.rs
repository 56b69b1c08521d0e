//! A loaded model.

mod avoid;
mod empty;
mod race;
mod standby;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use hotshoe_base::chain;
use hotshoe_trust::Digest;
use parking_lot::{Mutex, RwLock};

use self::standby::{ReopenOptions, Standby};
use crate::backend::{Backend, BackendChoice, InputSignature, Session};
use crate::batch::{self, Batcher, Batching};
use crate::counts::RunCounts;
use crate::executor::{Executor, Lane, Usage};
use crate::guard::guard;
use crate::served::{ServedFile, ValueRange};
use crate::tract::TractSession;
use crate::{
    LoadError, ModelOptions, Options, RunError, Stats, Tensor, TensorInfo, describe, parts, room,
};

pub use self::standby::{BackendSwitch, ReadModel, SwitchReason};

/// The reason in [`Model::refused`] if no ONNX Runtime was found, and its prefix if a library that is configured or in its place cannot be loaded.
pub const NO_RUNTIME: &str = "no ONNX Runtime was found";

/// A loaded model. It may run on several threads at once.
#[derive(Debug)]
pub struct Model {
    digest: Digest,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    /// The values that each input takes.
    ranges: Vec<Option<ValueRange>>,
    /// Whether each row of its outputs follows from the same row of its inputs.
    has_rows: bool,
    metadata: BTreeMap<String, String>,
    loaded: RwLock<Loaded>,
    refused: Vec<(Backend, String)>,
    recorder: Mutex<Recorder>,
    /// Whether large rows of a run are run one by one.
    in_parts: bool,
    lane: Lane,
    batcher: Option<Arc<Batcher>>,
    options: ReopenOptions,
    /// Set after the choice between backends.
    standby: Mutex<Option<Standby>>,
    switched: Mutex<Option<BackendSwitch>>,
}

/// The model in its backends.
#[derive(Debug)]
struct Loaded {
    serving: (Backend, Arc<dyn Session>),
    other: Option<(Backend, Arc<dyn Session>)>,
}

/// Recorded inputs of runs, for repeating them.
#[derive(Debug, Default)]
struct Recorder {
    wanted: usize,
    runs: VecDeque<Vec<(String, Tensor)>>,
}

impl Model {
    pub(crate) fn load(
        digest: Digest,
        bytes: &[u8],
        model_options: &ModelOptions,
        options: &Options,
        executor: &Arc<Executor>,
    ) -> Result<Self, LoadError> {
        if bytes.is_empty() {
            return Err(LoadError::Empty);
        }
        if bytes.len() > options.max_model_bytes {
            return Err(LoadError::TooLarge {
                bytes: bytes.len(),
                limit: options.max_model_bytes,
            });
        }
        let panicked = |message| LoadError::Panicked { message };
        guard(|| Self::parse(digest, bytes, model_options, options, executor)).map_err(panicked)?
    }

    fn parse(
        digest: Digest,
        bytes: &[u8],
        model_options: &ModelOptions,
        options: &Options,
        executor: &Arc<Executor>,
    ) -> Result<Self, LoadError> {
        let start = Instant::now();
        let file = ServedFile::read(bytes, &model_options.outputs)?;
        let graph = file.graph()?;
        let metadata = describe::metadata(&file.model);
        let (loaded, refused) = open(&file, model_options, options)?;
        tracing::debug!(%digest, bytes = bytes.len(), elapsed = ?start.elapsed(), "model loaded");
        let batcher = Batcher::new(digest, model_options, &file.inputs, &file.outputs);
        if let Some(batcher) = &batcher {
            batcher.check_graph(&file.model, graph);
        }
        // Sizes that overflow cost empty batches, not the model.
        let has_rows = guard(|| batch::has_rows(&file, graph)).unwrap_or(false);
        let most = loaded.serving.1.at_once().or(model_options.max_runs);
        Ok(Self {
            digest,
            inputs: file.inputs,
            outputs: file.outputs,
            ranges: file.ranges,
            has_rows,
            in_parts: has_rows && batcher.is_none() && parts::suits(bytes.len()),
            metadata,
            loaded: RwLock::new(loaded),
            refused,
            recorder: Mutex::default(),
            lane: executor.lane(most),
            batcher,
            options: ReopenOptions {
                model: model_options.clone(),
                all: options.clone(),
            },
            standby: Mutex::default(),
            switched: Mutex::default(),
        })
    }

    /// The digest of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of what is served of the file: with chosen outputs, it is not that of the file.
    pub fn served_digest(&self) -> Digest {
        let outputs = &self.options.model.outputs;
        if outputs.is_empty() {
            return self.digest;
        }
        Digest::of(format!("{} {outputs:?}", self.digest).as_bytes())
    }

    /// The inputs in the order of the file.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The outputs in the order of the file, or of the choice.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// An entry of the file's own metadata (ONNX `metadata_props`).
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Statistics of the compiled plans of the active backend.
    pub fn stats(&self) -> Stats {
        self.session().stats()
    }

    /// The backends that have loaded the model, the active one first. There are two only until an automatic choice is made.
    pub fn backends(&self) -> Vec<Backend> {
        let loaded = self.loaded.read();
        let both = std::iter::once(&loaded.serving).chain(&loaded.other);
        both.map(|(backend, _)| *backend).collect()
    }

    /// The active backend.
    pub fn backend(&self) -> Backend {
        let loaded = self.loaded.read();
        loaded.serving.0
    }

    /// Backends that an automatic choice would have tried, and why they cannot run this model.
    pub fn refused(&self) -> &[(Backend, String)] {
        &self.refused
    }

    /// The execution provider: "cpu", or one of ONNX Runtime, such as "cuda".
    pub fn provider(&self) -> String {
        self.session().provider().to_owned()
    }

    /// Why configured execution providers are not used.
    pub fn provider_notes(&self) -> Vec<String> {
        self.session().provider_notes().to_vec()
    }

    /// Makes this backend active for the next runs. False if it has not loaded the model.
    pub fn use_backend(&self, backend: Backend) -> bool {
        let mut loaded = self.loaded.write();
        let Loaded { serving, other } = &mut *loaded;
        if serving.0 == backend {
            return true;
        }
        match other {
            Some(other) if other.0 == backend => {
                std::mem::swap(serving, other);
                self.lane
                    .limit(serving.1.at_once().or(self.options.model.max_runs));
                true
            }
            _ => false,
        }
    }

    /// Makes this backend active and unloads the other one. Does nothing if it has not loaded the model.
    pub fn settle(&self, backend: Backend) {
        if self.use_backend(backend) {
            let mut loaded = self.loaded.write();
            // Another call may have switched meanwhile.
            if loaded.serving.0 == backend {
                let dropped = loaded.other.take();
                drop(loaded);
                drop(dropped);
            }
        }
    }

    /// Records the inputs of the next `most` runs for [`Model::take_recorded`]. Earlier recordings are dropped.
    pub fn record(&self, most: usize) {
        *self.recorder.lock() = Recorder {
            wanted: most,
            runs: VecDeque::new(),
        };
    }

    /// Takes the recorded inputs, oldest first, and stops recording.
    pub fn take_recorded(&self) -> Vec<Vec<(String, Tensor)>> {
        let recorder = std::mem::take(&mut *self.recorder.lock());
        recorder.runs.into()
    }

    /// Compiles the plan for inputs of these shapes, so that the first run is not slower.
    ///
    /// # Errors
    /// As [`Model::run`] for tensors of these shapes.
    pub fn prepare(&self, shapes: &[(&str, &[usize])]) -> Result<(), RunError> {
        let ordered = self.in_order(shapes.iter().copied())?;
        self.check_shapes(ordered.iter().copied())?;
        self.session().prepare(&InputSignature {
            shapes: ordered.into_iter().map(<[usize]>::to_vec).collect(),
            values: Vec::new(),
        })
    }

    /// Compiles the plans that another model has used, so that this model can replace it. Inputs are matched by name; shapes that this
    /// model does not accept are skipped. Returns the number of plans.
    pub fn prepare_like(&self, other: &Self) -> usize {
        let all = other.session().signatures();
        let session = self.session();
        let fits = |signature: &&InputSignature| {
            let theirs = signature.shapes.iter().enumerate();
            let named = theirs.zip(&other.inputs).map(|((at, shape), info)| {
                let value = signature.values.get(at).cloned().flatten();
                (info.name.as_str(), (shape.as_slice(), value))
            });
            let named: Vec<_> = named.collect();
            let ordered = self.in_order(named.iter().map(|(name, given)| (*name, given)));
            let Ok(ordered) = ordered else { return false };
            let values = ordered.iter().zip(&self.inputs).map(|((_, value), info)| {
                let fits = |value: &Tensor| value.element_type() == info.element_type;
                value.clone().filter(fits)
            });
            let ready = InputSignature {
                shapes: ordered.iter().map(|(shape, _)| shape.to_vec()).collect(),
                values: values.collect(),
            };
            let shapes = ready.shapes.iter().map(Vec::as_slice);
            self.check_shapes(shapes).is_ok() && session.prepare(&ready).is_ok()
        };
        all.iter().filter(fits).count()
    }

    /// Runs the model on one tensor per input. Returns the names and tensors of its outputs, in the order of the file. The first run with
    /// new shapes compiles a plan, which takes many times as long as a run.
    ///
    /// # Errors
    /// [`RunError`]: a wrong name, element type or shape, a limit, or a failure of the model itself.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, RunError> {
        self.run_by(inputs, None)
    }

    /// As [`Model::run`], with a deadline. If the backend fails by its own fault, the other one is tried if the model has a standby
    /// ([`Model::settle_with_standby`]).
    ///
    /// # Errors
    /// The same, and [`RunError::Deadline`].
    pub fn run_by(
        &self,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        self.run_counted(inputs, deadline, None)
    }

    /// As [`Model::run_by`], and counts what each backend does.
    pub(crate) fn run_counted(
        &self,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
        counts: Option<&RunCounts>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        if let Some(results) = self.run_without_rows(inputs, deadline, counts)? {
            return Ok(results);
        }
        let ordered = self.checked(inputs)?;
        let (backend, session) = self.serving();
        // Tensors are shared, not copied.
        let (serving, given) = (session.clone(), ordered.clone());
        let results = match &self.batcher {
            Some(batcher) => batcher.run(&self.lane, session, ordered, deadline),
            None => self.run_in_lane(session, ordered, deadline),
        };
        let count = |backend, error: Option<&RunError>| {
            if let Some(counts) = counts {
                counts.ended(backend, error, &given);
            }
        };
        count(backend, results.as_ref().err());
        let results = match results {
            Err(error) if error.is_own_fault() => {
                let (backend, results) = self
                    .run_on_standby(&serving, &error, &given, deadline)
                    .ok_or(error)?;
                count(backend, None);
                results
            }
            results => results?,
        };
        let names = self.outputs.iter().map(|info| info.name.clone());
        Ok(names.zip(results).collect())
    }

    /// Runs in one slot of the pool, whose threads share the rows of a run if those are large. An accelerator gets them together.
    fn run_in_lane(
        &self,
        session: Arc<dyn Session>,
        inputs: Vec<Tensor>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Tensor>, RunError> {
        let rows =
            parts::large_rows(&inputs).filter(|_| self.in_parts && session.provider() == "cpu");
        let threads = self.options.model.threads;
        self.lane.run(deadline, move |stop| match rows {
            Some(rows) => parts::run(&*session, &inputs, rows, threads, stop),
            None => session.run(&inputs, stop),
        })
    }

    /// Counters of its runs since it was loaded.
    pub fn usage(&self) -> Usage {
        self.lane.usage()
    }

    /// Whether its runs are joined.
    pub fn batching(&self) -> Batching {
        self.batcher
            .as_ref()
            .map_or(Batching::Off, |batcher| batcher.batching())
    }

    fn session(&self) -> Arc<dyn Session> {
        self.serving().1
    }

    fn serving(&self) -> (Backend, Arc<dyn Session>) {
        let loaded = self.loaded.read();
        loaded.serving.clone()
    }

    /// Checks the inputs and sorts them in the order of the file. They are recorded if recording is on.
    fn checked(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RunError> {
        let ordered = self.in_order(inputs.iter().copied())?;
        for (info, tensor) in self.inputs.iter().zip(&ordered) {
            let (want, got) = (info.element_type, tensor.element_type());
            if want != got {
                return Err(RunError::WrongType {
                    name: info.name.clone(),
                    want,
                    got,
                });
            }
        }
        self.check_shapes(ordered.iter().map(|tensor| tensor.shape()))?;
        self.check_values(&ordered)?;
        let mut recorder = self.recorder.lock();
        if recorder.runs.len() < recorder.wanted {
            let named = self.inputs.iter().zip(&ordered);
            let run = named.map(|(info, &tensor)| (info.name.clone(), tensor.clone()));
            recorder.runs.push_back(run.collect());
        }
        Ok(ordered.into_iter().cloned().collect())
    }

    /// Sorts values by input, in the order of the file.
    fn in_order<'a, T: Copy>(
        &self,
        given: impl Iterator<Item = (&'a str, T)>,
    ) -> Result<Vec<T>, RunError> {
        let mut slots: Vec<Option<T>> = vec![None; self.inputs.len()];
        for (name, value) in given {
            let position = self.inputs.iter().position(|info| info.name == name);
            let Some(slot) = position.and_then(|position| slots.get_mut(position)) else {
                let known = self.inputs.iter().map(|info| info.name.clone()).collect();
                return Err(RunError::UnknownInput {
                    name: name.to_owned(),
                    known,
                });
            };
            if slot.replace(value).is_some() {
                return Err(RunError::RepeatedInput {
                    name: name.to_owned(),
                });
            }
        }
        let pairs = slots.into_iter().zip(&self.inputs);
        pairs
            .map(|(slot, info)| {
                slot.ok_or_else(|| RunError::MissingInput {
                    name: info.name.clone(),
                })
            })
            .collect()
    }

    fn check_shapes<'a>(&self, shapes: impl Iterator<Item = &'a [usize]>) -> Result<(), RunError> {
        for (info, shape) in self.inputs.iter().zip(shapes) {
            let fits = info.shape.len() == shape.len()
                && info
                    .shape
                    .iter()
                    .zip(shape)
                    .all(|(want, &got)| want.map_or(got > 0, |want| want == got));
            if !fits {
                let (name, want) = (info.name.clone(), info.shape.clone());
                return Err(RunError::WrongShape {
                    name,
                    want,
                    got: shape.to_vec(),
                });
            }
            let size = info.element_type.size();
            let bytes = shape.iter().fold(size, |product, &dimension| {
                product.saturating_mul(dimension)
            });
            let limit = self.options.all.max_tensor_bytes;
            if bytes > limit {
                let what = format!("the input \"{}\"", info.name);
                return Err(RunError::TooLarge { what, bytes, limit });
            }
        }
        Ok(())
    }
}

/// Loads a file in the chosen backends. With an automatic choice, a backend that cannot load it is reported with its reason.
fn open(
    file: &ServedFile<'_>,
    model_options: &ModelOptions,
    options: &Options,
) -> Result<(Loaded, Vec<(Backend, String)>), LoadError> {
    let graph = file.graph()?;
    let tract = || -> Result<Arc<dyn Session>, LoadError> {
        let session = TractSession::load(&file.model, graph, model_options.threads, options)?;
        Ok(Arc::new(session))
    };
    let ort = || crate::ort::load(&file.model, graph, &file.bytes, model_options, options);
    let alone = |backend, session| Loaded {
        serving: (backend, session),
        other: None,
    };
    match model_options.backend {
        BackendChoice::Tract => Ok((alone(Backend::Tract, tract()?), Vec::new())),
        BackendChoice::Ort => Ok((alone(Backend::Ort, ort()?), Vec::new())),
        BackendChoice::Auto => match tract() {
            Ok(tract) => {
                let is_there = crate::ort_library(&options.ort).path.is_some();
                let room = if is_there {
                    room::check(file.bytes.len())
                } else {
                    Ok(())
                };
                let second = room.and_then(|()| ort().map_err(|e| without_ort(&e, options)));
                let (other, refused) = match second {
                    Ok(ort) => (Some((Backend::Ort, ort)), Vec::new()),
                    Err(reason) => (None, vec![(Backend::Ort, reason)]),
                };
                let serving = (Backend::Tract, tract);
                Ok((Loaded { serving, other }, refused))
            }
            // tract's error, since tract is always available.
            Err(e) => match ort() {
                Ok(ort) => Ok((alone(Backend::Ort, ort), vec![(Backend::Tract, chain(&e))])),
                Err(_) => Err(e),
            },
        },
    }
}

/// Why ONNX Runtime has not loaded a model. A missing library is logged only if one is configured, or in its place.
fn without_ort(error: &LoadError, options: &Options) -> String {
    let cause = match error {
        LoadError::NoRuntime { .. } if !crate::ort::is_expected(&options.ort) => {
            return NO_RUNTIME.to_owned();
        }
        LoadError::NoRuntime { source } => chain(source.as_ref()),
        LoadError::ChangedRuntime { .. } => chain(error),
        error => return chain(error),
    };
    tracing::warn!(
        cause,
        "the library of ONNX Runtime cannot be loaded; tract runs the model"
    );
    format!("{NO_RUNTIME}: {cause}")
}
