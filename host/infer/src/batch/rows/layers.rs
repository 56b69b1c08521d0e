//! Operators that work along dimensions.

use tract_onnx::pb::NodeProto;

use super::facts::{Dependence, Fact, Size};
use super::moves::{
    concat, expand, flatten, gather, one_hot, pad, permuted, reduce, reduced, reshape, resize,
    slice, squeeze, tile, transpose, unsqueeze, with_size,
};
use super::rules::{
    FactResult, Input, Unknown, are_constant_from, axis, axis_of, given, integers, is_constant,
    listed, number, rows, spread, spread_shapes,
};
use super::sizes;

/// The facts of an operator's outputs.
pub(super) fn apply(
    node: &NodeProto,
    inputs: &[Input<'_>],
    opset: i64,
) -> Result<Vec<Fact>, Unknown> {
    let one = |found: FactResult| found.map(|fact| vec![fact]);
    let operator = node.op_type.as_str();
    // The first versions train by default.
    let trains = number(node, "training_mode").unwrap_or(0) != 0
        || opset < 7 && number(node, "is_test").unwrap_or(0) == 0;
    match operator {
        "Constant" => one(constant(node)),
        "ConstantOfShape" => one(sizes::filled(node, given(inputs, 0)?)),
        "Dropout" if inputs.len() < 3 && !trains => one(given(inputs, 0).cloned()),
        "Conv" | "FusedConv" | "ConvInteger" | "ConvTranspose" => one(window(inputs, Some(1))),
        "MaxPool" | "AveragePool" | "LpPool" | "GlobalAveragePool" | "GlobalMaxPool"
        | "GlobalLpPool" => {
            // The indices of MaxPool count from the first row of the batch.
            one(window(inputs, None))
        }
        "BatchNormalization" if !trains => one(outermost(inputs)),
        "InstanceNormalization"
        | "GroupNormalization"
        | "LRN"
        | "DepthToSpace"
        | "SpaceToDepth" => one(outermost(inputs).map(|fact| resized(fact, operator))),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            let both = spread(&[given(inputs, 0)?, given(inputs, 1)?])?;
            let kept = rows(&both)?.0 == 0 && both.rank() > Some(1) && are_constant_from(inputs, 2);
            if kept { Ok(vec![both]) } else { Err(Unknown) }
        }
        "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
            let (of, shape) = rows(given(inputs, 0)?)?;
            let all: Vec<&Fact> = inputs.iter().copied().flatten().collect();
            let kept = axis(node, -1, shape.len())? > of && are_constant_from(inputs, 1);
            match spread(&all) {
                Ok(_) if kept => one(given(inputs, 0).cloned()),
                _ => Err(Unknown),
            }
        }
        "MeanVarianceNormalization" => {
            let axes = integers(node, "axes").unwrap_or_else(|| vec![0, 2, 3]);
            let (of, shape) = rows(given(inputs, 0)?)?;
            let mut mixed = axes.iter().map(|axis| axis_of(*axis, shape.len()));
            if mixed.any(|axis| axis.is_none_or(|axis| axis == of)) {
                return Err(Unknown);
            }
            one(given(inputs, 0).cloned())
        }
        "Softmax" | "LogSoftmax" | "Hardmax" => {
            let (of, shape) = rows(given(inputs, 0)?)?;
            let kept = if opset < 13 {
                // Normalises over all dimensions from the axis on.
                axis(node, 1, shape.len())? > of
            } else {
                axis(node, -1, shape.len())? != of
            };
            if kept {
                one(given(inputs, 0).cloned())
            } else {
                Err(Unknown)
            }
        }
        "LpNormalization" => along(node, inputs, -1).map(|(fact, _)| vec![fact]),
        "CumSum" => {
            let (of, shape) = rows(given(inputs, 0)?)?;
            let along =
                listed(node, inputs, "axis", 1)?.and_then(|it| axis_of(*it.first()?, shape.len()));
            if along.is_some_and(|axis| axis != of) {
                one(given(inputs, 0).cloned())
            } else {
                Err(Unknown)
            }
        }
        "TopK" => {
            let (fact, along) = along(node, inputs, -1)?;
            let fact = with_size(fact, along, Size::Fixed);
            if is_constant(inputs, 1) {
                Ok(vec![fact.clone(), fact])
            } else {
                Err(Unknown)
            }
        }
        "Split" => {
            let (fact, along) = along(node, inputs, 0)?;
            let part = with_size(fact, along, Size::Fixed);
            if is_constant(inputs, 1) {
                Ok(vec![part; node.output.len()])
            } else {
                Err(Unknown)
            }
        }
        "MatMul" | "FusedMatMul" | "MatMulInteger" if no_turns(node) => {
            let scalar = |at: usize| inputs.get(at).copied().flatten().is_none_or(is_single);
            if scalar(2) && scalar(3) {
                one(product(given(inputs, 0)?, given(inputs, 1)?))
            } else {
                Err(Unknown)
            }
        }
        "MatMulNBits" => {
            let (of, shape) = rows(given(inputs, 0)?)?;
            let last = shape.len() - 1;
            let kept = of != last && are_constant_from(inputs, 1);
            if kept {
                one(given(inputs, 0)
                    .cloned()
                    .map(|it| with_size(it, last, Size::Fixed)))
            } else {
                Err(Unknown)
            }
        }
        "Gemm" => one(gemm(node, inputs)),
        "QuantizeLinear" | "DequantizeLinear" => one(scaled(node, inputs)),
        "Transpose" => one(transpose(node, given(inputs, 0)?)),
        "Flatten" => one(flatten(node, given(inputs, 0)?)),
        "Unsqueeze" => one(unsqueeze(
            given(inputs, 0)?,
            listed(node, inputs, "axes", 1)?,
        )),
        "Squeeze" => one(squeeze(given(inputs, 0)?, listed(node, inputs, "axes", 1)?)),
        "Reshape" => one(reshape(
            given(inputs, 0)?,
            given(inputs, 1)?,
            number(node, "allowzero") == Some(1),
        )),
        "Expand" => one(expand(given(inputs, 0)?, given(inputs, 1)?)),
        "Tile" => one(tile(inputs)),
        "Concat" => one(concat(node, inputs)),
        "Slice" => one(slice(node, inputs)),
        "Gather" => one(gather(node, inputs)),
        "GatherElements" => {
            let (data, indices) = (given(inputs, 0)?, given(inputs, 1)?);
            let ((of, shape), (other, _)) = (rows(data)?, rows(indices)?);
            let kept = of == other && axis(node, 0, shape.len())? != of;
            if kept {
                one(Ok(indices.clone()))
            } else {
                Err(Unknown)
            }
        }
        "Pad" => one(pad(node, inputs)),
        "Resize" | "Upsample" => one(resize(node, inputs)),
        "GridSample" => {
            let (data, grid) = (given(inputs, 0)?, given(inputs, 1)?);
            let ((of, shape), (other, _)) = (rows(data)?, rows(grid)?);
            let mut sizes = vec![Size::Fixed; shape.len()];
            first(&mut sizes, Size::Batch);
            if (of, other) == (0, 0) {
                one(Ok(Fact::rows(0, sizes)))
            } else {
                Err(Unknown)
            }
        }
        "OneHot" => one(one_hot(node, inputs)),
        "Trilu" => {
            let (of, shape) = rows(given(inputs, 0)?)?;
            let kept = of + 2 < shape.len() && is_constant(inputs, 1);
            if kept {
                one(given(inputs, 0).cloned())
            } else {
                Err(Unknown)
            }
        }
        "ArgMax" | "ArgMin" => {
            let (fact, along) = along(node, inputs, 0)?;
            one(reduced(
                &fact,
                &[along],
                number(node, "keepdims") != Some(0),
            ))
        }
        "LSTM" | "GRU" | "RNN" => recurrent(node, inputs),
        "Einsum" => one(einsum(node, inputs)),
        _ if operator.starts_with("Reduce") => one(reduce(node, inputs)),
        _ => Err(Unknown),
    }
}

/// Operators on 8-bit numbers: scales and zero points must be single numbers, except for those of weights.
pub(super) fn quantised(node: &NodeProto, inputs: &[Input<'_>]) -> Result<Vec<Fact>, Unknown> {
    let others = |of: &[usize]| {
        let mut rest = (0..inputs.len()).filter(|at| !of.contains(at));
        rest.all(|at| is_constant(inputs, at))
    };
    let single = |at: usize| inputs.get(at).copied().flatten().is_none_or(is_single);
    let found = match node.op_type.as_str() {
        "QLinearConv" if others(&[0]) && single(1) && single(2) => window(
            &[
                inputs.first().copied().flatten(),
                inputs.get(3).copied().flatten(),
            ],
            Some(1),
        ),
        "QLinearMatMul" if others(&[0, 3]) && single(1) && single(2) => {
            product(given(inputs, 0)?, given(inputs, 3)?)
        }
        "QLinearAdd" | "QLinearMul" if others(&[0, 3]) && [1, 2, 4, 5].into_iter().all(single) => {
            spread(&[given(inputs, 0)?, given(inputs, 3)?])
        }
        "QLinearSigmoid" | "QLinearLeakyRelu" if others(&[0]) && single(1) && single(2) => {
            given(inputs, 0).cloned()
        }
        _ => Err(Unknown),
    };
    found.map(|fact| vec![fact])
}

fn constant(node: &NodeProto) -> FactResult {
    let attribute = node.attribute.first().ok_or(Unknown)?;
    match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => Ok(Fact::of(tensor)),
        ("value_int", _) => Ok(Fact::values(vec![Size::Is(attribute.i)], Vec::new())),
        ("value_ints", _) => Ok(Fact::list(
            attribute.ints.iter().map(|it| Size::Is(*it)).collect(),
        )),
        ("value_float", _) => Ok(Fact::constant(Some(Vec::new()))),
        _ => Ok(Fact::constant(None)),
    }
}

fn is_single(fact: &Fact) -> bool {
    let single = |shape: &Vec<Size>| shape.iter().all(|size| *size == Size::Is(1));
    fact.dependence == Dependence::Constant && fact.shape.as_ref().is_some_and(single)
}

fn no_turns(node: &NodeProto) -> bool {
    let names = ["transA", "transB", "transBatchA", "transBatchB"];
    names
        .iter()
        .all(|name| number(node, name).unwrap_or(0) == 0)
}

fn first(sizes: &mut [Size], size: Size) {
    if let Some(first) = sizes.first_mut() {
        *first = size;
    }
}

/// An operator over all dimensions except the first two, such as a convolution or pooling, with constant other inputs.
fn window(inputs: &[Input<'_>], weights: Option<usize>) -> FactResult {
    let (of, shape) = rows(given(inputs, 0)?)?;
    if of != 0 || shape.len() < 3 || !are_constant_from(inputs, 1) {
        return Err(Unknown);
    }
    let mut sizes = vec![Size::Fixed; shape.len()];
    first(&mut sizes, Size::Batch);
    if weights.is_none()
        && let (Some(ours), Some(theirs)) = (sizes.get_mut(1), shape.get(1))
    {
        *ours = *theirs;
    }
    Ok(Fact::rows(0, sizes))
}

/// An operator that is independent along the first dimension, with constant other inputs.
fn outermost(inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    if of == 0 && shape.len() > 1 && are_constant_from(inputs, 1) {
        Ok(input.clone())
    } else {
        Err(Unknown)
    }
}

fn resized(fact: Fact, operator: &str) -> Fact {
    let moves = matches!(operator, "DepthToSpace" | "SpaceToDepth");
    let rank = fact.rank().unwrap_or_default();
    if moves {
        (1..rank).fold(fact, |fact, axis| with_size(fact, axis, Size::Fixed))
    } else {
        fact
    }
}

/// The first input, and the axis of an attribute, which must not be that of its rows.
fn along(node: &NodeProto, inputs: &[Input<'_>], default: i64) -> Result<(Fact, usize), Unknown> {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    let along = axis(node, default, shape.len())?;
    if along == of {
        Err(Unknown)
    } else {
        Ok((input.clone(), along))
    }
}

/// The product of two stacks of matrices.
fn product(a: &Fact, b: &Fact) -> FactResult {
    let (ours, theirs) = (
        a.shape.as_deref().ok_or(Unknown)?,
        b.shape.as_deref().ok_or(Unknown)?,
    );
    let (Some(lead_a), Some(lead_b)) = (ours.len().checked_sub(2), theirs.len().checked_sub(2))
    else {
        return Err(Unknown);
    };
    let rank = ours.len().max(theirs.len());
    let at = |shape: &[Size], axis: usize| shape.get(axis).copied().unwrap_or(Size::Unknown);
    // The dimensions of the other stack must broadcast over the rows.
    let spread_over = |shape: &[Size], back: usize| {
        let meets = shape.len().checked_sub(back).and_then(|at| shape.get(at));
        meets.is_none_or(|size| *size == Size::Is(1))
    };
    let dependence = match (a.dependence, b.dependence) {
        (Dependence::Constant, Dependence::Constant) => Dependence::Constant,
        (Dependence::Rows(of), Dependence::Constant) if of == lead_a => Dependence::Rows(rank - 2),
        (Dependence::Rows(of), Dependence::Constant)
            if of < lead_a && spread_over(theirs, ours.len() - of) =>
        {
            Dependence::Rows(rank - (ours.len() - of))
        }
        (Dependence::Constant, Dependence::Rows(of)) if of == lead_b + 1 => {
            Dependence::Rows(rank - 1)
        }
        (Dependence::Constant, Dependence::Rows(of))
            if of < lead_b && spread_over(ours, theirs.len() - of) =>
        {
            Dependence::Rows(rank - (theirs.len() - of))
        }
        (Dependence::Rows(one), Dependence::Rows(other))
            if one < lead_a && other < lead_b && ours.len() - one == theirs.len() - other =>
        {
            Dependence::Rows(rank - (ours.len() - one))
        }
        _ => return Err(Unknown),
    };
    let leads = [
        ours.get(..lead_a).unwrap_or_default(),
        theirs.get(..lead_b).unwrap_or_default(),
    ];
    let mut shape = spread_shapes(&leads, rank - 2);
    shape.extend([at(ours, lead_a), at(theirs, lead_b + 1)]);
    Ok(Fact {
        dependence,
        shape: Some(shape),
        value: None,
    })
}

fn gemm(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let turned = |fact: &Fact, name: &str| {
        let swap = number(node, name).unwrap_or(0) != 0;
        if swap {
            permuted(fact, &[1, 0])
        } else {
            Ok(fact.clone())
        }
    };
    let a = turned(given(inputs, 0)?, "transA")?;
    let b = turned(given(inputs, 1)?, "transB")?;
    let made = product(&a, &b)?;
    match inputs.get(2).copied().flatten() {
        Some(c) => spread(&[&made, c]),
        None => Ok(made),
    }
}

fn scaled(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    let apart = is_single(given(inputs, 1)?) || axis(node, 1, shape.len())? != of;
    let whole = number(node, "block_size").unwrap_or(0) == 0;
    if apart && whole && are_constant_from(inputs, 1) {
        Ok(input.clone())
    } else {
        Err(Unknown)
    }
}

/// A recurrent layer: steps, then rows; or rows first (`layout`).
fn recurrent(node: &NodeProto, inputs: &[Input<'_>]) -> Result<Vec<Fact>, Unknown> {
    let rows_first = number(node, "layout") == Some(1);
    let (of, shape) = rows(given(inputs, 0)?)?;
    if of != usize::from(!rows_first) || shape.len() != 3 {
        return Err(Unknown);
    }
    let weights = [1, 2, 3, 7].into_iter().all(|at| is_constant(inputs, at));
    // Sequence lengths have one dimension, states have three: directions, rows, elements.
    let along = |at: usize, axis: usize| {
        let input = inputs.get(at).copied().flatten();
        input.is_none_or(|fact| fact.dependence == Dependence::Rows(axis))
    };
    let state = usize::from(!rows_first);
    if !(weights && along(4, 0) && along(5, state) && along(6, state)) {
        return Err(Unknown);
    }
    let place = |rank: usize, axis: usize| {
        let mut sizes = vec![Size::Fixed; rank];
        if let Some(size) = sizes.get_mut(axis) {
            *size = Size::Batch;
        }
        Fact::rows(axis, sizes)
    };
    let all = place(4, if rows_first { 0 } else { 2 });
    Ok(vec![all, place(3, state), place(3, state)])
}

/// The letter of the rows must be in the output, and only in those inputs that have rows.
fn einsum(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let equation = node
        .attribute
        .iter()
        .find(|it| it.name == "equation")
        .ok_or(Unknown)?;
    let equation: String = String::from_utf8_lossy(&equation.s)
        .split_whitespace()
        .collect();
    let (terms, output) = equation.split_once("->").ok_or(Unknown)?;
    let terms: Vec<&str> = terms.split(',').collect();
    if equation.contains('.') || terms.len() != inputs.len() {
        return Err(Unknown);
    }
    let mut letter = None;
    for (at, term) in terms.iter().enumerate() {
        if let Dependence::Rows(of) = given(inputs, at)?.dependence {
            let this = term.chars().nth(of).ok_or(Unknown)?;
            if *letter.get_or_insert(this) != this || term.matches(this).count() != 1 {
                return Err(Unknown);
            }
        }
    }
    let letter = letter.ok_or(Unknown)?;
    for (at, term) in terms.iter().enumerate() {
        let has_rows = matches!(given(inputs, at)?.dependence, Dependence::Rows(_));
        if has_rows != term.contains(letter) || given(inputs, at)?.dependence == Dependence::Counts
        {
            return Err(Unknown);
        }
    }
    let axis = output.chars().position(|it| it == letter).ok_or(Unknown)?;
    let mut sizes = vec![Size::Fixed; output.chars().count()];
    if let Some(size) = sizes.get_mut(axis) {
        *size = Size::Batch;
    }
    Ok(Fact::rows(axis, sizes))
}
