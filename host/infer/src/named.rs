//! A model of a release: one or several variants, of which one serves.

mod choice;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hotshoe_base::chain;
use parking_lot::Mutex;

use crate::counts::{RunCounts, VariantRuns};
use crate::{Backend, Model, RunError, Tensor, TensorInfo, VariantError};

pub use self::choice::VariantChoice;

/// A variant that no longer serves, or never did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// Its name.
    pub variant: String,
    /// Why another variant serves: the error with its causes, outermost first.
    pub cause: String,
}

/// A named model with variants in order of preference. The first one serves until it fails by its own fault on an input that a later
/// variant runs; from then on the later one serves. Inputs of a shape that only a later variant accepts, such as one without fixed
/// dimensions, run on that one, and the first one keeps serving. A run may begin with a later variant ([`VariantChoice`]): then this applies
/// to that one and those after it.
#[derive(Debug)]
pub struct NamedModel {
    name: String,
    first: VariantSlot,
    others: Vec<VariantSlot>,
    /// At most one entry per variant.
    fallbacks: Mutex<Vec<Fallback>>,
}

#[derive(Debug)]
struct VariantSlot {
    name: String,
    model: Arc<Model>,
    /// Whether it failed where a later one did not. That is never the last one.
    failed: AtomicBool,
    counts: RunCounts,
}

impl VariantSlot {
    fn new((name, model): (String, Arc<Model>)) -> Self {
        Self {
            name,
            model,
            failed: AtomicBool::new(false),
            counts: RunCounts::default(),
        }
    }

    fn serves(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
    }

    fn run_by(
        &self,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        self.model.run_counted(inputs, deadline, Some(&self.counts))
    }
}

impl NamedModel {
    /// Variants by their names, the preferred one first.
    ///
    /// # Errors
    /// [`VariantError`]: no variants, duplicate names, or different inputs or outputs: names, order, element types and ranks must be
    /// equal.
    pub fn new(
        name: impl Into<String>,
        variants: Vec<(String, Arc<Model>)>,
    ) -> Result<Self, VariantError> {
        let name = name.into();
        let mut variants = variants.into_iter();
        let Some(first) = variants.next() else {
            return Err(VariantError::None { model: name });
        };
        let others: Vec<_> = variants.collect();
        let mut known = vec![first.0.as_str()];
        for (variant, model) in &others {
            if known.contains(&variant.as_str()) {
                let variant = variant.clone();
                return Err(VariantError::Repeated {
                    model: name,
                    variant,
                });
            }
            known.push(variant);
            let problem = difference("input", first.1.inputs(), model.inputs())
                .or_else(|| difference("output", first.1.outputs(), model.outputs()));
            if let Some(problem) = problem {
                return Err(VariantError::Different {
                    model: name,
                    first: first.0,
                    variant: variant.clone(),
                    problem,
                });
            }
        }
        Ok(Self {
            name,
            first: VariantSlot::new(first),
            others: others.into_iter().map(VariantSlot::new).collect(),
            fallbacks: Mutex::default(),
        })
    }

    /// A model with a single variant, "default".
    pub fn single(name: impl Into<String>, model: Arc<Model>) -> Self {
        Self {
            name: name.into(),
            first: VariantSlot::new(("default".to_owned(), model)),
            others: Vec::new(),
            fallbacks: Mutex::default(),
        }
    }

    /// Adds variants that never served, such as those that did not load.
    #[must_use]
    pub fn with_fallbacks(self, fallbacks: Vec<Fallback>) -> Self {
        Self {
            fallbacks: Mutex::new(fallbacks),
            ..self
        }
    }

    /// The name in the release.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the serving variant.
    pub fn variant(&self) -> &str {
        &self.serving().name
    }

    /// The serving variant.
    pub fn active(&self) -> &Arc<Model> {
        &self.serving().model
    }

    /// All variants, the preferred one first.
    pub fn variants(&self) -> impl Iterator<Item = (&str, &Arc<Model>)> {
        self.slots().map(|slot| (slot.name.as_str(), &slot.model))
    }

    /// Inputs of the serving variant, in the order of the file. All variants have the same names, element types and ranks.
    pub fn inputs(&self) -> &[TensorInfo] {
        self.active().inputs()
    }

    /// As [`NamedModel::inputs`].
    pub fn outputs(&self) -> &[TensorInfo] {
        self.active().outputs()
    }

    /// An entry of the file's own metadata: of the serving variant, or of the first one that has it (tools may drop metadata in a
    /// variant).
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let own = self.active().metadata(key);
        own.or_else(|| self.variants().find_map(|(_, model)| model.metadata(key)))
    }

    /// Variants that no longer serve, with the reason, in order of failure.
    pub fn fallbacks(&self) -> Vec<Fallback> {
        self.fallbacks.lock().clone()
    }

    /// Whether [`Self::change_backends`] has something to do.
    pub fn needs_backend_change(&self, avoided: &BTreeSet<Backend>) -> bool {
        self.slots()
            .any(|slot| slot.model.needs_backend_change(avoided))
    }

    /// Moves variants that run on an avoided backend to their standby ([`Model::settle_with_standby`]), tries avoided ones on the inputs
    /// that they failed on, and moves variants back whose backend is no longer avoided and works. A standby is loaded, gets the plans of the
    /// serving one, and runs a trial on this thread while the other one serves: on the inputs of the last fault, or else on one of those
    /// that `made_up` returns. Where that fails, it is tried again after a minute, which doubles up to an hour.
    pub fn change_backends(
        &self,
        avoided: &BTreeSet<Backend>,
        made_up: impl Fn(&[TensorInfo]) -> Vec<Vec<Tensor>>,
    ) {
        for slot in self.slots() {
            let made_up = || made_up(slot.model.inputs());
            if slot.model.change_backend(avoided, &slot.counts, made_up) {
                let (variant, backend) = (&slot.name, slot.model.backend());
                tracing::info!(model = self.name, variant, %backend, "backend serves");
            }
        }
    }

    /// Counters of its runs, by variant and backend.
    pub fn runs(&self) -> Vec<VariantRuns> {
        let runs = self.slots().flat_map(|slot| slot.counts.read(&slot.name));
        runs.collect()
    }

    /// Runs the serving variant, as [`Model::run_by`]. If it fails by its own fault, the next ones are tried on the same input until one
    /// succeeds, which serves from then on. An input that fails in all of them changes nothing. An input of a shape that the serving
    /// variant does not accept runs on the first later one that does, which also changes nothing.
    ///
    /// # Errors
    /// [`RunError`] of the variant that served when the run began, or of a later one that accepted the shapes.
    pub fn run_by(
        &self,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        self.run_from(0, inputs, deadline)
    }

    /// As [`Self::run_by`], with the variant and the backend of `choice`.
    ///
    /// # Errors
    /// The same.
    pub fn run_as(
        &self,
        choice: &VariantChoice,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        let first = choice.of(&self.name);
        if choice.is_on_other(&self.name) {
            let model = &self.at(self.serving_from(first)).model;
            let other = model.backends().into_iter().nth(1);
            if let Some(run) = other.and_then(|other| model.run_aside(other, inputs)) {
                return run;
            }
        }
        self.run_from(first, inputs, deadline)
    }

    /// As [`Self::run_by`], with the variant at this index instead of the preferred one. One that failed before gives way to the next.
    ///
    /// # Errors
    /// The same.
    pub fn run_from(
        &self,
        first: usize,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        let serving = self.serving_from(first);
        let error = match self.at(serving).run_by(inputs, deadline) {
            Ok(outputs) => return Ok(outputs),
            Err(error) => error,
        };
        if matches!(error, RunError::WrongShape { .. }) {
            return self.run_as_shaped(serving, inputs, deadline, error);
        }
        if !error.is_own_fault() {
            return Err(error);
        }
        let mut failed = vec![(serving, chain(&error))];
        for (next, slot) in self.later(serving) {
            match slot.run_by(inputs, deadline) {
                Ok(outputs) => {
                    self.fall_back(failed, slot);
                    return Ok(outputs);
                }
                Err(other) if other.is_own_fault() => failed.push((next, chain(&other))),
                // The input, a limit or the deadline is the cause, not the variant.
                Err(_) => return Err(error),
            }
        }
        Err(error)
    }

    /// Runs the first variant after this index that accepts these shapes.
    fn run_as_shaped(
        &self,
        position: usize,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
        mut error: RunError,
    ) -> Result<Vec<(String, Tensor)>, RunError> {
        for (_, slot) in self.later(position) {
            match slot.run_by(inputs, deadline) {
                Err(RunError::WrongShape { .. }) => {}
                Err(other) if other.is_own_fault() => error = other,
                ended => return ended,
            }
        }
        Err(error)
    }

    /// Makes the preferred variant serve again and forgets failed runs; variants that never loaded stay failed. For use after trying
    /// backends that may fail.
    pub fn restart(&self) {
        let mut fallbacks = self.fallbacks.lock();
        fallbacks.retain(|noted| self.variants().all(|(variant, _)| variant != noted.variant));
        for slot in self.slots() {
            slot.failed.store(false, Ordering::Release);
            slot.counts.restart();
        }
    }

    /// Marks what another run has not already marked.
    fn fall_back(&self, failed: Vec<(usize, String)>, to: &VariantSlot) {
        let mut fallbacks = self.fallbacks.lock();
        let mut is_new = false;
        for (position, cause) in failed {
            let slot = self.at(position);
            if slot.failed.swap(true, Ordering::AcqRel) {
                continue;
            }
            let variant = slot.name.clone();
            // The cause may quote elements of the tensors: the status has it, where it may leave.
            tracing::warn!(model = self.name, variant, "variant failed");
            fallbacks.push(Fallback { variant, cause });
            is_new = true;
        }
        if is_new {
            tracing::warn!(model = self.name, variant = to.name, "variant serves");
        }
    }

    fn slots(&self) -> impl Iterator<Item = &VariantSlot> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The serving variant of runs that begin with the preferred one.
    fn serving(&self) -> &VariantSlot {
        self.at(self.serving_from(0))
    }

    /// The index of the first variant from this one on that has not failed.
    fn serving_from(&self, first: usize) -> usize {
        let mut slots = self.slots().enumerate().skip(first);
        let found = slots.find(|(_, slot)| slot.serves());
        found.map_or(self.others.len(), |(position, _)| position)
    }

    /// The variants after this index that have not failed.
    fn later(&self, position: usize) -> impl Iterator<Item = (usize, &VariantSlot)> {
        let later = self.slots().enumerate().skip(position + 1);
        later.filter(|(_, slot)| slot.serves())
    }

    fn at(&self, position: usize) -> &VariantSlot {
        let other = position.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.first)
    }
}

/// The difference between the inputs or outputs of two variants, if there is one.
fn difference(role: &str, first: &[TensorInfo], other: &[TensorInfo]) -> Option<String> {
    if first.len() != other.len() {
        let (want, got) = (first.len(), other.len());
        return Some(format!("{want} {role}s against {got}"));
    }
    first.iter().zip(other).find_map(|(first, other)| {
        let (want, got) = (first.shape.len(), other.shape.len());
        // An output without dimensions may be one whose shape the file does not state.
        let ranks = want == got || (role == "output" && (want == 0 || got == 0));
        if first.name != other.name {
            Some(format!(
                "{role} \"{}\" against \"{}\"",
                first.name, other.name
            ))
        } else if first.element_type != other.element_type {
            let (name, want, got) = (&first.name, first.element_type, other.element_type);
            Some(format!("{role} \"{name}\" of {want} against {got}"))
        } else if !ranks {
            let name = &first.name;
            Some(format!(
                "{role} \"{name}\" of {want} dimensions against {got}"
            ))
        } else {
            None
        }
    })
}
