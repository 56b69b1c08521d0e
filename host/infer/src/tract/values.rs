//! Which inputs a plan takes as constants.
//!
//! tract types a graph before it runs it: axes, sizes, pads and the like must be known then, and so must what an `If` asks
//! for if only the branch taken is to be compiled. In most files these are constants. Where they are inputs, a plan is made
//! for their very values.

use std::sync::atomic::{AtomicU8, Ordering};

use tract_onnx::pb::GraphProto;

use crate::ElementType;
use crate::backend::InputSignature;

/// Plans for different values of the same shapes after which one that takes any values serves the rest, where there is one:
/// a counter must not compile a plan at every run.
pub(crate) const MOST_VALUES: usize = 8;

/// How much a plan takes as constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ConstantInputs {
    /// Nothing but the shapes.
    Shapes,
    /// Also integers and flags of rank 0.
    Scalars,
    /// Also inputs of few integers or flags.
    Integers,
    /// Also inputs of few elements of any type.
    Small,
}

impl ConstantInputs {
    const ALL: [Self; 4] = [Self::Shapes, Self::Scalars, Self::Integers, Self::Small];

    /// The signature with those values alone that are taken as constants.
    pub(crate) fn of(self, signature: &InputSignature) -> InputSignature {
        let known = signature.values.iter().map(Option::as_ref);
        let all = known.chain(std::iter::repeat(None));
        let kept = signature.shapes.iter().zip(all).map(|(shape, value)| {
            let value = value?;
            let float = is_float(value.element_type());
            let takes = match self {
                Self::Shapes => false,
                Self::Scalars => shape.is_empty() && !float,
                Self::Integers => !float,
                Self::Small => true,
            };
            takes.then(|| value.clone())
        });
        InputSignature {
            shapes: signature.shapes.clone(),
            values: kept.collect(),
        }
    }

    /// The next that takes more of this signature's values, if any does.
    pub(crate) fn more(self, signature: &InputSignature) -> Option<Self> {
        let count = |fixed: Self| fixed.of(signature).values.iter().flatten().count();
        let mut higher = Self::ALL.into_iter().filter(|fixed| *fixed > self);
        higher.find(|fixed| count(*fixed) > count(self))
    }
}

fn is_float(element_type: ElementType) -> bool {
    match element_type {
        ElementType::F16 | ElementType::F32 | ElementType::F64 => true,
        ElementType::Bool
        | ElementType::U8
        | ElementType::I8
        | ElementType::I32
        | ElementType::I64 => false,
    }
}

/// What the plans of a model take as constants; it grows where tract needs more.
#[derive(Debug)]
pub(crate) struct RequiredConstants(AtomicU8);

impl RequiredConstants {
    /// A graph with branches gets its scalars from the start: a branch that depends on an input is compiled at every run
    /// otherwise.
    pub(crate) fn of(graph: &GraphProto) -> Self {
        let mut operators = graph.node.iter().map(|node| node.op_type.as_str());
        let branches = operators.any(|operator| matches!(operator, "If" | "Loop"));
        let fixed = if branches {
            ConstantInputs::Scalars
        } else {
            ConstantInputs::Shapes
        };
        Self(AtomicU8::new(fixed as u8))
    }

    pub(crate) fn get(&self) -> ConstantInputs {
        let known = self.0.load(Ordering::Relaxed);
        let mut all = ConstantInputs::ALL.into_iter();
        all.find(|fixed| *fixed as u8 == known)
            .unwrap_or(ConstantInputs::Small)
    }

    pub(crate) fn raise(&self, fixed: ConstantInputs) {
        self.0.fetch_max(fixed as u8, Ordering::Relaxed);
    }
}
