//! Compiled plans, one for each combination of input shapes, of which the last used are kept.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TractResult, TypedModel,
    TypedSimplePlan,
};

use crate::guard::guard;

/// Shapes of all inputs, in the model's order.
pub(crate) type Shapes = Vec<Vec<usize>>;
/// A plan that runs on inputs of exactly one combination of shapes.
pub(crate) type Plan = Arc<TypedSimplePlan>;

/// Why there is no plan.
#[derive(Debug, Clone)]
pub(crate) enum PlanError {
    /// The backend does not fit the model to these shapes.
    Refused(Arc<dyn Error + Send + Sync>),
    /// A tensor inside the model would have this many bytes.
    TooLarge { node: String, bytes: usize },
    /// The backend panicked.
    Panicked(String),
}

/// How the plans of a model were used since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs that found their plan, or waited for the one that another run was compiling.
    pub hits: u64,
    /// Runs that compiled their plan.
    pub misses: u64,
    /// Plans that were dropped to make room.
    pub evictions: u64,
    /// Plans that are kept now.
    pub plans: usize,
}

/// Filled by the first that needs it; the others wait for it without holding up runs with other shapes.
type Slot = Arc<OnceLock<Result<Plan, PlanError>>>;

#[derive(Debug, Default)]
struct Kept {
    /// Least recently used first. There are few, so that a search through all is fast.
    slots: Vec<(Shapes, Slot)>,
    stats: Stats,
}

/// A bounded cache of plans.
#[derive(Debug)]
pub(crate) struct Plans {
    most: usize,
    max_tensor_bytes: usize,
    kept: Mutex<Kept>,
}

impl Plans {
    /// Keeps up to `most` plans, at least 1, that hold no tensor over `max_tensor_bytes`.
    pub(crate) fn new(most: usize, max_tensor_bytes: usize) -> Self {
        Self {
            most: most.max(1),
            max_tensor_bytes,
            kept: Mutex::default(),
        }
    }

    /// The plan for these shapes, compiled if there is none yet.
    pub(crate) fn get(&self, model: &InferenceModel, shapes: &Shapes) -> Result<Plan, PlanError> {
        let slot = self.slot(shapes);
        let made = slot.get_or_init(|| compile(model, shapes, self.max_tensor_bytes));
        if made.is_err() {
            self.kept()
                .slots
                .retain(|(_, kept)| !Arc::ptr_eq(kept, &slot));
        }
        made.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        let kept = self.kept();
        Stats {
            plans: kept.slots.len(),
            ..kept.stats
        }
    }

    /// The shapes of all plans that are compiled, the least recently used first.
    pub(crate) fn shapes(&self) -> Vec<Shapes> {
        let kept = self.kept();
        let compiled = kept
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.get(), Some(Ok(_))));
        compiled.map(|(shapes, _)| shapes.clone()).collect()
    }

    fn slot(&self, shapes: &Shapes) -> Slot {
        let mut kept = self.kept();
        let found = kept.slots.iter().position(|(known, _)| known == shapes);
        let (shapes, slot) = match found {
            Some(position) => {
                kept.stats.hits += 1;
                kept.slots.remove(position)
            }
            None => {
                kept.stats.misses += 1;
                if kept.slots.len() >= self.most {
                    kept.slots.remove(0);
                    kept.stats.evictions += 1;
                }
                (shapes.clone(), Slot::default())
            }
        };
        kept.slots.push((shapes, slot.clone()));
        slot
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(
    model: &InferenceModel,
    shapes: &Shapes,
    max_tensor_bytes: usize,
) -> Result<Plan, PlanError> {
    let refused = |e: tract_onnx::prelude::TractError| {
        PlanError::Refused(Arc::from(Box::<dyn Error + Send + Sync>::from(e)))
    };
    let typed = guard(|| specialise(model, shapes))
        .map_err(PlanError::Panicked)?
        .map_err(refused)?;
    if let Some((node, bytes)) = largest_tensor(&typed)
        && bytes > max_tensor_bytes
    {
        return Err(PlanError::TooLarge { node, bytes });
    }
    guard(|| typed.into_optimized()?.into_runnable())
        .map_err(PlanError::Panicked)?
        .map_err(refused)
}

/// The model with its input shapes fixed, so that every shape inside follows.
fn specialise(model: &InferenceModel, shapes: &Shapes) -> TractResult<TypedModel> {
    let mut model = model.clone();
    for (position, shape) in shapes.iter().enumerate() {
        let known = model.input_fact(position)?.datum_type;
        let mut fact = InferenceFact::shape(shape);
        fact.datum_type = known;
        model.set_input_fact(position, fact)?;
    }
    model.into_typed()
}

/// The node with the largest output, and its bytes.
fn largest_tensor(model: &TypedModel) -> Option<(String, usize)> {
    let outputs = model
        .nodes()
        .iter()
        .flat_map(|node| node.outputs.iter().map(move |output| (node, &output.fact)));
    let sizes = outputs.filter_map(|(node, fact)| {
        let count = fact
            .shape
            .as_concrete()?
            .iter()
            .fold(1_usize, |product, &size| product.saturating_mul(size));
        Some((node, count.saturating_mul(fact.datum_type.size_of())))
    });
    sizes
        .max_by_key(|&(_, bytes)| bytes)
        .map(|(node, bytes)| (node.name.clone(), bytes))
}
