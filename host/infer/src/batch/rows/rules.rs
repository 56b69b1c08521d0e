//! The effect of each operator on rows.

use tract_onnx::pb::NodeProto;

use super::facts::{Dependence, Fact, Size};
use super::{layers, sizes};
use crate::onnx::is_own;

/// An operator with an unknown effect on rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown;

/// The fact of one output.
pub(super) type FactResult = Result<Fact, Unknown>;
/// An input; `None` if it is omitted.
pub(super) type Input<'a> = Option<&'a Fact>;

/// Operators with random outputs.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Element-wise operators, with broadcasting.
const ELEMENT_BY_ELEMENT: [&str; 73] = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BiasGelu",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "FastGelu",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "QuickGelu",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
];

/// The facts of the outputs in order; unknown ones at the end are missing.
pub(super) fn apply(
    node: &NodeProto,
    inputs: &[Input<'_>],
    opset: i64,
) -> Result<Vec<Fact>, Unknown> {
    let operator = node.op_type.as_str();
    if !(is_own(node) || node.domain == "com.microsoft") || RANDOM.contains(&operator) {
        return Err(Unknown);
    }
    if let Some(list) = sizes::apply(node, inputs) {
        return Ok(vec![list]);
    }
    let found = if operator.starts_with("QLinear") {
        layers::quantised(node, inputs)
    } else if ELEMENT_BY_ELEMENT.contains(&operator) {
        let inputs: Vec<&Fact> = inputs.iter().copied().flatten().collect();
        spread(&inputs).map(|fact| vec![fact])
    } else {
        layers::apply(node, inputs, opset)
    };
    let is_constant =
        |input: &Input<'_>| input.is_none_or(|fact| fact.dependence == Dependence::Constant);
    let holds_graphs = node.attribute.iter().any(|it| it.g.is_some());
    match found {
        // Outputs of constant inputs are constant.
        Err(Unknown) if inputs.iter().all(is_constant) && !holds_graphs => {
            Ok(vec![Fact::constant(None); node.output.len()])
        }
        found => found,
    }
}

/// The fact of an element-wise operator with broadcasting.
pub(super) fn spread(inputs: &[&Fact]) -> FactResult {
    let mut shapes = Vec::with_capacity(inputs.len());
    for input in inputs {
        shapes.push(input.shape.as_deref().ok_or(Unknown)?);
    }
    let rank = shapes
        .iter()
        .map(|shape| shape.len())
        .max()
        .ok_or(Unknown)?;
    // Axes are counted from the innermost, where inputs of different ranks align.
    let mut back = None;
    for (input, shape) in inputs.iter().zip(&shapes) {
        if let Dependence::Rows(axis) = input.dependence {
            let this = shape.len() - axis;
            if *back.get_or_insert(this) != this {
                return Err(Unknown);
            }
        }
    }
    let counts = inputs
        .iter()
        .any(|input| input.dependence == Dependence::Counts);
    let dependence = match back {
        None if counts => Dependence::Counts,
        None => Dependence::Constant,
        Some(_) if counts => return Err(Unknown),
        Some(back) => {
            for (input, shape) in inputs.iter().zip(&shapes) {
                let meets = shape.len().checked_sub(back).and_then(|at| shape.get(at));
                let is_single = meets.is_none_or(|size| *size == Size::Is(1));
                // A constant with more than one row there has one value per row of the batch.
                if !matches!(input.dependence, Dependence::Rows(_)) && !is_single {
                    return Err(Unknown);
                }
            }
            Dependence::Rows(rank - back)
        }
    };
    Ok(Fact {
        dependence,
        shape: Some(spread_shapes(&shapes, rank)),
        value: None,
    })
}

/// The broadcast shape of all of these.
pub(super) fn spread_shapes(shapes: &[&[Size]], rank: usize) -> Vec<Size> {
    let mut sizes = vec![Size::Is(1); rank];
    for shape in shapes {
        for (size, other) in sizes.iter_mut().rev().zip(shape.iter().rev()) {
            *size = size.spread(*other);
        }
    }
    sizes
}

/// A required input.
pub(super) fn given<'a>(inputs: &[Input<'a>], at: usize) -> Result<&'a Fact, Unknown> {
    inputs.get(at).copied().flatten().ok_or(Unknown)
}

/// Whether an input is omitted, or the same in any batch.
pub(super) fn is_constant(inputs: &[Input<'_>], at: usize) -> bool {
    let input = inputs.get(at).copied().flatten();
    input.is_none_or(|fact| fact.dependence == Dependence::Constant)
}

/// Whether all inputs from this one on are omitted, or the same in any batch.
pub(super) fn are_constant_from(inputs: &[Input<'_>], at: usize) -> bool {
    (at..inputs.len()).all(|at| is_constant(inputs, at))
}

/// The axis of the rows of an input, and its shape.
pub(super) fn rows(fact: &Fact) -> Result<(usize, &[Size]), Unknown> {
    match (fact.dependence, &fact.shape) {
        (Dependence::Rows(axis), Some(shape)) => Ok((axis, shape)),
        _ => Err(Unknown),
    }
}

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let from = if axis < 0 {
        axis.checked_add(i64::try_from(rank).ok()?)?
    } else {
        axis
    };
    usize::try_from(from).ok().filter(|axis| *axis < rank)
}

pub(super) fn number(node: &NodeProto, name: &str) -> Option<i64> {
    let found = node.attribute.iter().find(|it| it.name == name);
    found.map(|attribute| attribute.i)
}

pub(super) fn integers(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    let found = node.attribute.iter().find(|it| it.name == name);
    found.map(|attribute| attribute.ints.clone())
}

/// The values of a list, if all are known.
pub(super) fn values(fact: &Fact) -> Option<Vec<i64>> {
    let numbers = fact.value.as_ref()?.iter().map(|size| match size {
        Size::Is(number) => Some(*number),
        _ => None,
    });
    numbers.collect()
}

/// Numbers that are an attribute in older operator sets and an input in newer ones; `Ok(None)` if they are omitted.
pub(super) fn listed(
    node: &NodeProto,
    inputs: &[Input<'_>],
    name: &str,
    at: usize,
) -> Result<Option<Vec<i64>>, Unknown> {
    match inputs.get(at).copied().flatten() {
        Some(fact) => values(fact).ok_or(Unknown).map(Some),
        None => Ok(integers(node, name)),
    }
}

/// The axis of an attribute.
pub(super) fn axis(node: &NodeProto, default: i64, rank: usize) -> Result<usize, Unknown> {
    let axis = number(node, "axis").unwrap_or(default);
    axis_of(axis, rank).ok_or(Unknown)
}
