//! Operators that move, slice, concatenate, broadcast and reduce elements.

use tract_onnx::pb::NodeProto;

use super::facts::{Dependence, Fact, Size};
use super::rules::{
    FactResult, Input, Unknown, are_constant_from, axis, axis_of, given, integers, listed, number,
    rows, spread,
};

/// A fact with another size along `axis`.
pub(super) fn with_size(mut fact: Fact, axis: usize, size: Size) -> Fact {
    let slot = fact.shape.as_mut().and_then(|shape| shape.get_mut(axis));
    if let Some(slot) = slot {
        *slot = size;
    }
    fact
}

pub(super) fn permuted(fact: &Fact, order: &[usize]) -> FactResult {
    let shape = fact.shape.as_deref().ok_or(Unknown)?;
    let sizes = order
        .iter()
        .map(|from| shape.get(*from).copied())
        .collect::<Option<Vec<_>>>();
    let sizes = sizes
        .filter(|sizes| sizes.len() == shape.len())
        .ok_or(Unknown)?;
    Ok(match fact.dependence {
        Dependence::Rows(of) => Fact::rows(
            order.iter().position(|from| *from == of).ok_or(Unknown)?,
            sizes,
        ),
        Dependence::Constant => Fact::constant(Some(sizes)),
        Dependence::Counts => return Err(Unknown),
    })
}

pub(super) fn transpose(node: &NodeProto, input: &Fact) -> FactResult {
    let rank = input.rank().ok_or(Unknown)?;
    let order = match integers(node, "perm") {
        Some(order) => order
            .iter()
            .map(|axis| axis_of(*axis, rank))
            .collect::<Option<_>>()
            .ok_or(Unknown)?,
        None => (0..rank).rev().collect::<Vec<_>>(),
    };
    permuted(input, &order)
}

pub(super) fn flatten(node: &NodeProto, input: &Fact) -> FactResult {
    let (of, shape) = rows(input)?;
    let axis = match number(node, "axis").unwrap_or(1) {
        // The rank itself is a valid axis.
        axis if axis < 0 => axis_of(axis, shape.len()),
        axis => axis_of(axis, shape.len() + 1),
    };
    let axis = axis.ok_or(Unknown)?;
    // The rows must be exactly the dimensions before the axis.
    let alone = shape
        .iter()
        .take(axis)
        .enumerate()
        .all(|(at, size)| at == of || *size == Size::Is(1));
    if of < axis && alone {
        Ok(Fact::rows(0, vec![Size::Batch, Size::Fixed]))
    } else {
        Err(Unknown)
    }
}

pub(super) fn unsqueeze(input: &Fact, axes: Option<Vec<i64>>) -> FactResult {
    let (axes, shape) = (axes.ok_or(Unknown)?, input.shape.as_deref().ok_or(Unknown)?);
    let rank = shape.len() + axes.len();
    let axes = axes
        .iter()
        .map(|axis| axis_of(*axis, rank))
        .collect::<Option<Vec<_>>>()
        .ok_or(Unknown)?;
    let (mut sizes, mut old, mut moved) =
        (Vec::with_capacity(rank), shape.iter().enumerate(), None);
    for at in 0..rank {
        if axes.contains(&at) {
            sizes.push(Size::Is(1));
        } else {
            let (from, size) = old.next().ok_or(Unknown)?;
            if input.dependence == Dependence::Rows(from) {
                moved = Some(at);
            }
            sizes.push(*size);
        }
    }
    placed(input, moved, sizes)
}

pub(super) fn squeeze(input: &Fact, axes: Option<Vec<i64>>) -> FactResult {
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    // Without axes, a batch of one row would lose its row dimension.
    let axes = axes.ok_or(Unknown)?;
    let gone = axes
        .iter()
        .map(|axis| axis_of(*axis, shape.len()))
        .collect::<Option<Vec<_>>>()
        .ok_or(Unknown)?;
    removed(input, shape, &gone)
}

/// The fact without these dimensions.
fn removed(input: &Fact, shape: &[Size], gone: &[usize]) -> FactResult {
    let kept: Vec<usize> = (0..shape.len()).filter(|at| !gone.contains(at)).collect();
    let moved = match input.dependence {
        Dependence::Rows(of) => Some(kept.iter().position(|at| *at == of).ok_or(Unknown)?),
        _ => None,
    };
    let sizes = kept.iter().filter_map(|at| shape.get(*at).copied());
    placed(input, moved, sizes.collect())
}

/// The input with another shape, with its rows along axis `moved`.
fn placed(input: &Fact, moved: Option<usize>, sizes: Vec<Size>) -> FactResult {
    match (input.dependence, moved) {
        (Dependence::Rows(_), Some(axis)) => Ok(Fact::rows(axis, sizes)),
        (Dependence::Constant, _) => Ok(Fact::constant(Some(sizes))),
        _ => Err(Unknown),
    }
}

pub(super) fn reshape(input: &Fact, target: &Fact, allow_zero: bool) -> FactResult {
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    let wanted = target.value.as_deref().ok_or(Unknown)?;
    let mut sizes = Vec::with_capacity(wanted.len());
    let mut rest = None;
    for (at, size) in wanted.iter().enumerate() {
        sizes.push(match size {
            Size::Is(0) if !allow_zero => *shape.get(at).ok_or(Unknown)?,
            Size::Is(-1) => {
                rest = Some(at);
                Size::Fixed
            }
            Size::Unknown => return Err(Unknown),
            size => *size,
        });
    }
    let Dependence::Rows(of) = input.dependence else {
        let constant = input.dependence == Dependence::Constant && !sizes.contains(&Size::Batch);
        return if constant {
            Ok(Fact::constant(Some(sizes)))
        } else {
            Err(Unknown)
        };
    };
    if !sizes.contains(&Size::Batch) {
        // The inferred dimension is the rows if the others have as many elements as one row.
        let rest = rest.ok_or(Unknown)?;
        let others = |sizes: &[Size], but: usize| {
            let all = sizes.iter().enumerate().filter(|(at, _)| *at != but);
            all.map(|(_, size)| match size {
                Size::Is(size) => Some(*size),
                _ => None,
            })
            .try_fold(1_i64, |count, size| count.checked_mul(size?))
        };
        match (others(shape, of), others(&sizes, rest)) {
            (Some(ours), Some(theirs)) if ours == theirs => {}
            _ => return Err(Unknown),
        }
        if let Some(size) = sizes.get_mut(rest) {
            *size = Size::Batch;
        }
    }
    let mut batch = sizes
        .iter()
        .enumerate()
        .filter(|(_, size)| **size == Size::Batch);
    let (Some((axis, _)), None) = (batch.next(), batch.next()) else {
        return Err(Unknown);
    };
    // Elements keep their order, so that rows stay rows if the dimensions outside of them are the same.
    let outside = |sizes: &[Size], axis: usize| -> Option<Vec<Size>> {
        let sizes = sizes
            .get(..axis)?
            .iter()
            .filter(|size| **size != Size::Is(1));
        Some(sizes.copied().collect())
    };
    let (before, after) = (outside(shape, of), outside(&sizes, axis));
    let known = |sizes: &Option<Vec<Size>>| {
        let mut all = sizes.iter().flatten();
        all.all(|size| matches!(size, Size::Is(_)))
    };
    // Unknown sizes are equal only if they are copied from the same dimension.
    let copied =
        axis == of && (0..of).all(|at| wanted.get(at) == Some(&Size::Is(0)) && !allow_zero);
    let count = |sizes: &Option<Vec<Size>>| {
        sizes
            .iter()
            .flatten()
            .try_fold(1_i64, |count, size| match size {
                Size::Is(size) => count.checked_mul(*size),
                _ => None,
            })
    };
    let same = known(&before) && known(&after) && count(&before) == count(&after);
    if copied || same {
        Ok(Fact::rows(axis, sizes))
    } else {
        Err(Unknown)
    }
}

pub(super) fn expand(input: &Fact, target: &Fact) -> FactResult {
    let wanted = target.value.as_deref().ok_or(Unknown)?;
    let sizes = wanted.iter().map(|size| match size {
        Size::Is(size) if *size < 1 => Size::Fixed,
        size => *size,
    });
    let sizes: Vec<Size> = sizes.collect();
    let batch: Vec<usize> = (0..sizes.len())
        .filter(|at| sizes.get(*at) == Some(&Size::Batch))
        .collect();
    let other = match batch.as_slice() {
        _ if sizes.contains(&Size::Unknown) => return Err(Unknown),
        [] => Fact::constant(Some(sizes)),
        [axis] => Fact::rows(*axis, sizes),
        _ => return Err(Unknown),
    };
    spread(&[input, &other])
}

pub(super) fn tile(inputs: &[Input<'_>]) -> FactResult {
    let (input, repeats) = (given(inputs, 0)?, given(inputs, 1)?);
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    let times = repeats
        .value
        .as_deref()
        .filter(|it| it.len() == shape.len())
        .ok_or(Unknown)?;
    let (mut sizes, mut moved) = (Vec::with_capacity(shape.len()), None);
    for (at, (size, times)) in shape.iter().zip(times).enumerate() {
        sizes.push(match (size, times) {
            (size, Size::Is(1)) => *size,
            (Size::Is(1), Size::Batch) if moved.is_none() => {
                moved = Some(at);
                Size::Batch
            }
            (Size::Batch | Size::Unknown, _) | (_, Size::Batch | Size::Unknown) => {
                return Err(Unknown);
            }
            (Size::Is(size), Size::Is(times)) => {
                size.checked_mul(*times).map_or(Size::Fixed, Size::Is)
            }
            _ => Size::Fixed,
        });
    }
    match (input.dependence, moved) {
        (Dependence::Rows(of), None) => Ok(Fact::rows(of, sizes)),
        (Dependence::Constant, Some(axis)) => Ok(Fact::rows(axis, sizes)),
        (Dependence::Constant, None) => Ok(Fact::constant(Some(sizes))),
        _ => Err(Unknown),
    }
}

pub(super) fn concat(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    let axis = axis(node, 1, shape.len())?;
    let mut total = Some(0_i64);
    for at in 0..inputs.len() {
        let other = given(inputs, at)?;
        if other.dependence != input.dependence || other.rank() != input.rank() {
            return Err(Unknown);
        }
        total = match (total, other.shape.as_ref().and_then(|it| it.get(axis))) {
            (Some(total), Some(Size::Is(size))) => total.checked_add(*size),
            _ => None,
        };
    }
    match input.dependence {
        Dependence::Counts => Err(Unknown),
        Dependence::Rows(of) if of == axis => Err(Unknown),
        _ => Ok(with_size(
            input.clone(),
            axis,
            total.map_or(Size::Fixed, Size::Is),
        )),
    }
}

pub(super) fn slice(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    if !are_constant_from(inputs, 1) {
        return Err(Unknown);
    }
    let count = match (inputs.get(1).copied().flatten(), integers(node, "starts")) {
        (Some(starts), _) => match starts.shape.as_deref() {
            Some([Size::Is(count)]) => usize::try_from(*count).map_err(|_| Unknown)?,
            _ => return Err(Unknown),
        },
        (None, Some(starts)) => starts.len(),
        (None, None) => return Err(Unknown),
    };
    let axes = match listed(node, inputs, "axes", 3)? {
        Some(axes) => axes
            .iter()
            .map(|axis| axis_of(*axis, shape.len()))
            .collect::<Option<Vec<_>>>()
            .ok_or(Unknown)?,
        None => (0..count).collect(),
    };
    if axes.contains(&of) {
        return Err(Unknown);
    }
    Ok(axes.into_iter().fold(input.clone(), |fact, axis| {
        with_size(fact, axis, Size::Fixed)
    }))
}

pub(super) fn gather(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let (data, indices) = (given(inputs, 0)?, given(inputs, 1)?);
    let (shape, places) = (
        data.shape.as_deref().ok_or(Unknown)?,
        indices.shape.as_deref().ok_or(Unknown)?,
    );
    let axis = axis(node, 0, shape.len())?;
    let (before, after) = (
        shape.get(..axis).unwrap_or_default(),
        shape.get(axis + 1..).unwrap_or_default(),
    );
    let sizes = [before, places, after].concat();
    match (data.dependence, indices.dependence) {
        (Dependence::Rows(of), Dependence::Constant) if of < axis => Ok(Fact::rows(of, sizes)),
        (Dependence::Rows(of), Dependence::Constant) if of > axis => {
            Ok(Fact::rows(of + places.len() - 1, sizes))
        }
        (Dependence::Constant, Dependence::Rows(of)) => Ok(Fact::rows(axis + of, sizes)),
        (Dependence::Constant, Dependence::Constant) => Ok(Fact::constant(Some(sizes))),
        _ => Err(Unknown),
    }
}

pub(super) fn pad(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    let pads = listed(node, inputs, "pads", 1)?.ok_or(Unknown)?;
    if !are_constant_from(inputs, 1) || pads.len() % 2 != 0 {
        return Err(Unknown);
    }
    let axes = match inputs.get(3).copied().flatten() {
        Some(_) => listed(node, inputs, "axes", 3)?.ok_or(Unknown)?,
        None => (0..).take(shape.len()).collect(),
    };
    let half = pads.len() / 2;
    if half != axes.len() {
        return Err(Unknown);
    }
    let mut made = input.clone();
    for (at, axis) in axes.iter().enumerate() {
        let axis = axis_of(*axis, shape.len()).ok_or(Unknown)?;
        let none = pads.get(at) == Some(&0) && pads.get(half + at) == Some(&0);
        match none {
            true => {}
            false if axis == of => return Err(Unknown),
            false => made = with_size(made, axis, Size::Fixed),
        }
    }
    Ok(made)
}

/// Sizes or scales must not change the rows.
pub(super) fn resize(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let (of, shape) = rows(input)?;
    let text = |name: &str| {
        let found = node.attribute.iter().find(|it| it.name == name);
        found.map(|attribute| attribute.s.as_slice())
    };
    let crops = text("coordinate_transformation_mode") == Some(b"tf_crop_and_resize");
    // With sizes, this keeps the aspect ratio and may change the rows.
    let keeps = text("keep_aspect_ratio_policy").is_some_and(|policy| policy != b"stretch");
    if crops || keeps {
        return Err(Unknown);
    }
    let mut sizes = vec![Size::Fixed; shape.len()];
    let slot = sizes.get_mut(of).ok_or(Unknown)?;
    *slot = Size::Batch;
    let made = Fact::rows(of, sizes);
    let place = match integers(node, "axes") {
        None => of,
        Some(axes) => match axes
            .iter()
            .position(|axis| axis_of(*axis, shape.len()) == Some(of))
        {
            Some(place) => place,
            None => return Ok(made),
        },
    };
    let at = |input: Input<'_>| input.and_then(|fact| fact.value.as_ref()?.get(place).copied());
    // In the first versions the scales are the second input; later a region is.
    let scales = inputs.len() == 2 || node.op_type == "Upsample";
    let scale = at(inputs.get(if scales { 1 } else { 2 }).copied().flatten());
    let kept =
        scale == Some(Size::Is(1)) || at(inputs.get(3).copied().flatten()) == Some(Size::Batch);
    if kept { Ok(made) } else { Err(Unknown) }
}

pub(super) fn one_hot(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let indices = given(inputs, 0)?;
    let (of, shape) = rows(indices)?;
    let axis = axis(node, -1, shape.len() + 1)?;
    let mut sizes = shape.to_vec();
    sizes.insert(axis, Size::Fixed);
    let of = if axis <= of { of + 1 } else { of };
    if are_constant_from(inputs, 1) {
        Ok(Fact::rows(of, sizes))
    } else {
        Err(Unknown)
    }
}

pub(super) fn reduce(node: &NodeProto, inputs: &[Input<'_>]) -> FactResult {
    let input = given(inputs, 0)?;
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    let axes = listed(node, inputs, "axes", 1)?.unwrap_or_default();
    if axes.is_empty() {
        // All axes, or none.
        let none = number(node, "noop_with_empty_axes") == Some(1);
        return if none {
            Ok(input.clone())
        } else {
            Err(Unknown)
        };
    }
    let axes = axes
        .iter()
        .map(|axis| axis_of(*axis, shape.len()))
        .collect::<Option<Vec<_>>>()
        .ok_or(Unknown)?;
    reduced(input, &axes, number(node, "keepdims") != Some(0))
}

pub(super) fn reduced(input: &Fact, axes: &[usize], keep: bool) -> FactResult {
    let shape = input.shape.as_deref().ok_or(Unknown)?;
    if matches!(input.dependence, Dependence::Rows(of) if axes.contains(&of))
        || input.dependence == Dependence::Counts
    {
        return Err(Unknown);
    }
    if !keep {
        return removed(input, shape, axes);
    }
    let bare = Fact {
        value: None,
        ..input.clone()
    };
    Ok(axes
        .iter()
        .fold(bare, |fact, axis| with_size(fact, *axis, Size::Is(1))))
}
