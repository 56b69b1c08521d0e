//! LRU cache of compiled plans, one for each combination of input shapes and constant values.

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use tract_onnx::pb::GraphProto;
use tract_onnx::prelude::{
    InferenceFact, InferenceModel, InferenceModelExt, IntoArcTensor, IntoRunnable, TractResult,
    TypedModel, TypedSimplePlan,
};

use crate::Stats;
use crate::backend::InputSignature;
use crate::guard::guard;
use crate::tract::values::{ConstantInputs, MOST_VALUES, RequiredConstants};

/// A plan for one combination of shapes and constants.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) compiled: Arc<TypedSimplePlan>,
    /// Whether a run has succeeded, which proves that the shapes fit the model.
    pub(crate) proven: AtomicBool,
}

/// Why a plan cannot be compiled.
#[derive(Debug, Clone)]
pub(crate) enum PlanError {
    /// The backend cannot specialise the model for these shapes.
    Refused(Arc<dyn Error + Send + Sync>),
    /// A tensor inside the model would have this many bytes.
    TooLarge { node: String, bytes: usize },
    /// The backend panicked.
    Panicked(String),
}

/// Filled by the first run that needs it; others wait without blocking runs with other shapes.
type Slot = Arc<OnceLock<Result<Arc<Plan>, PlanError>>>;

#[derive(Debug, Default)]
struct Entries {
    /// Least recently used first. There are few, so a linear search is fast.
    slots: Vec<(InputSignature, Slot)>,
    stats: Stats,
}

/// A bounded cache of plans.
#[derive(Debug)]
pub(crate) struct Plans {
    most: usize,
    max_tensor_bytes: usize,
    need: RequiredConstants,
    kept: Mutex<Entries>,
}

impl Plans {
    /// Caches up to `most` plans, at least 1. Plans with a tensor over `max_tensor_bytes` are refused.
    pub(crate) fn new(most: usize, max_tensor_bytes: usize, graph: &GraphProto) -> Self {
        Self {
            most: most.max(1),
            max_tensor_bytes,
            need: RequiredConstants::of(graph),
            kept: Mutex::default(),
        }
    }

    /// The plan for this signature, which is compiled on the first use. Values become constants if tract needs them.
    pub(crate) fn get(
        &self,
        model: &InferenceModel,
        signature: &InputSignature,
    ) -> Result<Arc<Plan>, PlanError> {
        let mut fixed = self.need.get();
        if fixed == ConstantInputs::Scalars && self.others(&fixed.of(signature)) >= MOST_VALUES {
            fixed = ConstantInputs::Shapes;
        }
        let mut first = None;
        loop {
            match self.get_exactly(model, &fixed.of(signature)) {
                Ok(plan) => {
                    if first.is_some() {
                        self.need.raise(fixed);
                    }
                    return Ok(plan);
                }
                Err(error @ PlanError::TooLarge { .. }) => return Err(error),
                Err(error) => {
                    // The error of the most general plan names the input that causes it.
                    let first = first.get_or_insert(error);
                    match fixed.more(signature) {
                        Some(more) => fixed = more,
                        None => return Err(first.clone()),
                    }
                }
            }
        }
    }

    fn get_exactly(
        &self,
        model: &InferenceModel,
        signature: &InputSignature,
    ) -> Result<Arc<Plan>, PlanError> {
        let slot = self.slot(signature);
        let made = slot.get_or_init(|| compile(model, signature, self.max_tensor_bytes));
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

    /// The signatures of the compiled plans, least recently used first.
    pub(crate) fn signatures(&self) -> Vec<InputSignature> {
        let kept = self.kept();
        let compiled = kept
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.get(), Some(Ok(_))));
        compiled.map(|(signature, _)| signature.clone()).collect()
    }

    /// Number of plans for the same shapes and other values.
    fn others(&self, signature: &InputSignature) -> usize {
        let kept = self.kept();
        let alike = kept.slots.iter().filter(|(known, _)| {
            known.shapes == signature.shapes
                && !same(known, signature)
                && known.values.iter().any(Option::is_some)
        });
        alike.count()
    }

    fn slot(&self, signature: &InputSignature) -> Slot {
        let mut kept = self.kept();
        let found = kept
            .slots
            .iter()
            .position(|(known, _)| same(known, signature));
        let (signature, slot) = match found {
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
                (signature.clone(), Slot::default())
            }
        };
        kept.slots.push((signature, slot.clone()));
        slot
    }

    fn kept(&self) -> MutexGuard<'_, Entries> {
        self.kept.lock()
    }
}

fn same(one: &InputSignature, other: &InputSignature) -> bool {
    let mut values = one.values.iter().zip(&other.values);
    // The type of an input is fixed, so that equal bytes of equal shapes are equal tensors.
    one.shapes == other.shapes
        && values.all(|pair| match pair {
            (Some(one), Some(other)) => one.bytes() == other.bytes(),
            (one, other) => one.is_none() && other.is_none(),
        })
}

fn compile(
    model: &InferenceModel,
    signature: &InputSignature,
    max_tensor_bytes: usize,
) -> Result<Arc<Plan>, PlanError> {
    let refused = |e: tract_onnx::prelude::TractError| {
        PlanError::Refused(Arc::from(Box::<dyn Error + Send + Sync>::from(e)))
    };
    let typed = guard(|| specialise(model, signature))
        .map_err(PlanError::Panicked)?
        .map_err(refused)?;
    if let Some((node, bytes)) = largest_tensor(&typed)
        && bytes > max_tensor_bytes
    {
        return Err(PlanError::TooLarge { node, bytes });
    }
    let compiled = guard(|| typed.into_optimized()?.into_runnable())
        .map_err(PlanError::Panicked)?
        .map_err(refused)?;
    Ok(Arc::new(Plan {
        compiled,
        proven: AtomicBool::new(false),
    }))
}

/// The model with fixed input shapes and constants, so that all inner shapes can be inferred.
fn specialise(model: &InferenceModel, signature: &InputSignature) -> TractResult<TypedModel> {
    let mut model = model.clone();
    for (position, (shape, value)) in signature.shapes.iter().zip(&signature.values).enumerate() {
        let fact = match value {
            Some(value) => InferenceFact::try_from(value.to_raw().into_arc_tensor())?,
            None => {
                let known = model.input_fact(position)?.datum_type;
                let mut fact = InferenceFact::shape(shape);
                fact.datum_type = known;
                fact
            }
        };
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
