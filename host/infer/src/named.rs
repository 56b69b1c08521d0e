//! A model of a release: one or several variants, of which one serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hotshoe_base::chain;
use parking_lot::Mutex;

use crate::{Model, RunError, Tensor, TensorInfo, VariantError};

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
/// dimensions, run on that one, and the first one keeps serving.
#[derive(Debug)]
pub struct NamedModel {
    name: String,
    first: (String, Arc<Model>),
    others: Vec<(String, Arc<Model>)>,
    /// Index of the serving variant; it only grows, except for a restart.
    serving: AtomicUsize,
    /// At most one entry per variant.
    fallbacks: Mutex<Vec<Fallback>>,
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
            first,
            others,
            serving: AtomicUsize::new(0),
            fallbacks: Mutex::default(),
        })
    }

    /// A model with a single variant, "default".
    pub fn single(name: impl Into<String>, model: Arc<Model>) -> Self {
        Self {
            name: name.into(),
            first: ("default".to_owned(), model),
            others: Vec::new(),
            serving: AtomicUsize::new(0),
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
        &self.at(self.serving.load(Ordering::Acquire)).0
    }

    /// The serving variant.
    pub fn active(&self) -> &Arc<Model> {
        &self.at(self.serving.load(Ordering::Acquire)).1
    }

    /// All variants, the preferred one first.
    pub fn variants(&self) -> impl Iterator<Item = (&str, &Arc<Model>)> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .map(|(name, model)| (name.as_str(), model))
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
        let position = self.serving.load(Ordering::Acquire);
        let error = match self.at(position).1.run_by(inputs, deadline) {
            Ok(outputs) => return Ok(outputs),
            Err(error) => error,
        };
        if matches!(error, RunError::WrongShape { .. }) {
            return self.run_as_shaped(position, inputs, deadline, error);
        }
        if !error.is_own_fault() {
            return Err(error);
        }
        let mut causes = vec![chain(&error)];
        for (next, (_, model)) in self.others.iter().enumerate().skip(position) {
            match model.run_by(inputs, deadline) {
                Ok(outputs) => {
                    self.fall_back(position, next + 1, causes);
                    return Ok(outputs);
                }
                Err(other) if other.is_own_fault() => causes.push(chain(&other)),
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
        for (_, model) in self.others.iter().skip(position) {
            match model.run_by(inputs, deadline) {
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
        self.serving.store(0, Ordering::Release);
    }

    /// Does nothing if another run has already fallen back.
    fn fall_back(&self, from: usize, to: usize, causes: Vec<String>) {
        let mut fallbacks = self.fallbacks.lock();
        let known = self.serving.load(Ordering::Acquire);
        for (position, cause) in (from..to).zip(causes).filter(|&(at, _)| at >= known) {
            let variant = self.at(position).0.clone();
            tracing::warn!(model = self.name, variant, cause, "variant failed");
            fallbacks.push(Fallback { variant, cause });
        }
        if to > known {
            self.serving.store(to, Ordering::Release);
            tracing::warn!(model = self.name, variant = self.at(to).0, "variant serves");
        }
    }

    fn at(&self, position: usize) -> &(String, Arc<Model>) {
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
