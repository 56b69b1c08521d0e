//! Inputs that a plan takes as constants.
//!
//! tract infers the types of a graph before it runs it: axes, sizes and pads must be known then, and also the condition of an `If`, if only
//! the taken branch is compiled. In most files these are constants. If they are inputs, a plan is compiled for their values.

use std::sync::atomic::{AtomicU8, Ordering};

use tract_onnx::pb::GraphProto;

use crate::ElementType;
use crate::backend::InputSignature;

/// Number of plans for different values of the same shapes, after which a plan for any values is used, if there is one: a counter input
/// must not compile a plan at every run.
pub(crate) const MOST_VALUES: usize = 8;

/// The inputs that a plan takes as constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ConstantInputs {
    /// Only the shapes.
    Shapes,
    /// Also integers and flags of rank 0.
    Scalars,
    /// Also small inputs of integers or flags.
    Integers,
    /// Also small inputs of any type.
    Small,
}

impl ConstantInputs {
    const ALL: [Self; 4] = [Self::Shapes, Self::Scalars, Self::Integers, Self::Small];

    /// The signature with only the values that are constants.
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

    /// The next level that takes more values of this signature, if there is one.
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

/// The inputs that the plans of a model take as constants; it grows if tract needs more.
#[derive(Debug)]
pub(crate) struct RequiredConstants(AtomicU8);

impl RequiredConstants {
    /// Scalars are constants from the start in a graph with branches; otherwise a branch that depends on an input is compiled at every
    /// run.
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
