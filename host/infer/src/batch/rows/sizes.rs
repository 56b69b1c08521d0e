//! Operators on shapes and other small lists of numbers, as exporters insert them between layers.

use tract_onnx::pb::NodeProto;

use super::facts::{Dependence, Fact, MOST_VALUES, Size};
use super::rules::{FactResult, Input, Unknown, axis_of, given, integers, number, values};

/// The fact of such an operator, if all its inputs are known.
pub(super) fn apply(node: &NodeProto, inputs: &[Input<'_>]) -> Option<Fact> {
    let first = given(inputs, 0).ok()?;
    if node.op_type == "Shape" {
        return shape(node, first);
    }
    if matches!(first.dependence, Dependence::Rows(_)) {
        return None;
    }
    let value = first.value.as_ref()?;
    match node.op_type.as_str() {
        "Gather" => {
            let indices = given(inputs, 1).ok()?;
            let picked = indices.value.as_ref()?.iter().map(|index| match index {
                Size::Is(index) => value.get(axis_of(*index, value.len())?).copied(),
                _ => None,
            });
            let is_list = first.rank() == Some(1);
            is_list.then_some(())?;
            Some(Fact::values(
                picked.collect::<Option<_>>()?,
                indices.shape.clone()?,
            ))
        }
        "Slice" => {
            let bound = |at: usize, name: &str| {
                let input = inputs.get(at).copied().flatten();
                match input
                    .map_or_else(|| integers(node, name), values)?
                    .as_slice()
                {
                    [bound] => Some(*bound),
                    _ => None,
                }
            };
            let step = inputs.get(4).copied().flatten();
            let backwards = step.is_some() && bound(4, "steps") != Some(1);
            (!backwards).then_some(())?;
            let length = value.len();
            let clamp = |bound: i64| {
                let length = i64::try_from(length).unwrap_or(i64::MAX);
                let bound = if bound < 0 {
                    bound.saturating_add(length)
                } else {
                    bound
                };
                usize::try_from(bound.clamp(0, length)).unwrap_or_default()
            };
            let (start, end) = (clamp(bound(1, "starts")?), clamp(bound(2, "ends")?));
            Some(Fact::list(value.get(start..end.max(start))?.to_vec()))
        }
        "Concat" => {
            let all = (0..inputs.len()).map(|at| {
                let input = given(inputs, at).ok()?;
                let list =
                    !matches!(input.dependence, Dependence::Rows(_)) && input.rank() == Some(1);
                input.value.clone().filter(|_| list)
            });
            Some(Fact::list(all.collect::<Option<Vec<_>>>()?.concat()))
        }
        "Unsqueeze" if first.rank() == Some(0) => Some(Fact::list(value.clone())),
        "Squeeze" if value.len() == 1 => Some(Fact::values(value.clone(), Vec::new())),
        "Reshape" if value.len() == 1 || first.rank() == Some(1) => {
            let target = given(inputs, 1).ok()?.value.as_ref()?;
            match (target.as_slice(), value.len()) {
                ([], 1) => Some(Fact::values(value.clone(), Vec::new())),
                ([_], _) => Some(Fact::list(value.clone())),
                _ => None,
            }
        }
        "Identity" | "Cast" => Some(first.clone()),
        "Add" | "Sub" | "Mul" | "Div" | "Equal" => {
            let other = given(inputs, 1).ok()?;
            let theirs = other
                .value
                .as_ref()
                .filter(|_| !matches!(other.dependence, Dependence::Rows(_)))?;
            let length = match (value.len(), theirs.len()) {
                (one, other) if one == other => one,
                (1, other) => other,
                (one, 1) => one,
                _ => return None,
            };
            let pairs = value.iter().cycle().zip(theirs.iter().cycle()).take(length);
            let made = pairs.map(|(one, other)| calculate(&node.op_type, *one, *other));
            let shape = if first.rank() >= other.rank() {
                &first.shape
            } else {
                &other.shape
            };
            Some(Fact::values(made.collect(), shape.clone()?))
        }
        "Where" => {
            let (yes, no) = (given(inputs, 1).ok()?, given(inputs, 2).ok()?);
            let (ours, theirs) = (yes.value.as_ref()?, no.value.as_ref()?);
            let same = ours.len() == value.len() && theirs.len() == value.len();
            same.then_some(())?;
            let choices = value.iter().zip(ours.iter().zip(theirs));
            let chosen = choices.map(|(which, (yes, no))| match which {
                Size::Is(0) => *no,
                Size::Is(_) => *yes,
                _ => Size::Unknown,
            });
            Some(Fact::values(chosen.collect(), first.shape.clone()?))
        }
        _ => None,
    }
}

fn shape(node: &NodeProto, of: &Fact) -> Option<Fact> {
    let sizes = of.shape.as_ref()?;
    let bound = |name: &str, default: usize| match number(node, name) {
        None => default,
        Some(at) => {
            let length = i64::try_from(sizes.len()).unwrap_or(i64::MAX);
            let at = if at < 0 {
                at.saturating_add(length)
            } else {
                at
            };
            usize::try_from(at.clamp(0, length)).unwrap_or_default()
        }
    };
    let (start, end) = (bound("start", 0), bound("end", sizes.len()));
    Some(Fact::list(sizes.get(start..end.max(start))?.to_vec()))
}

fn calculate(operator: &str, one: Size, other: Size) -> Size {
    match (operator, one, other) {
        (_, Size::Unknown, _) | (_, _, Size::Unknown) => Size::Unknown,
        ("Add", Size::Is(a), Size::Is(b)) => a.checked_add(b).map_or(Size::Fixed, Size::Is),
        ("Sub", Size::Is(a), Size::Is(b)) => a.checked_sub(b).map_or(Size::Fixed, Size::Is),
        ("Mul", Size::Is(a), Size::Is(b)) => a.checked_mul(b).map_or(Size::Fixed, Size::Is),
        ("Equal", Size::Is(a), Size::Is(b)) => Size::Is(i64::from(a == b)),
        ("Div", Size::Is(a), Size::Is(b)) if b != 0 && a % b == 0 => Size::Is(a / b),
        ("Add" | "Sub", Size::Batch, Size::Is(0)) | ("Add", Size::Is(0), Size::Batch) => {
            Size::Batch
        }
        ("Mul" | "Div", Size::Batch, Size::Is(1)) | ("Mul", Size::Is(1), Size::Batch) => {
            Size::Batch
        }
        (_, Size::Batch, _) | (_, _, Size::Batch) => Size::Unknown,
        _ => Size::Fixed,
    }
}

/// A tensor filled with one number, with the shape of an input.
pub(super) fn filled(node: &NodeProto, target: &Fact) -> FactResult {
    let sizes = target.value.as_ref().ok_or(Unknown)?;
    let mut batch = sizes
        .iter()
        .enumerate()
        .filter(|(_, size)| **size == Size::Batch);
    match (batch.next(), batch.next()) {
        _ if sizes.contains(&Size::Unknown) => Err(Unknown),
        (Some((axis, _)), None) => Ok(Fact::rows(axis, sizes.clone())),
        (None, _) => {
            Ok(repeated(node, sizes).unwrap_or_else(|| Fact::constant(Some(sizes.clone()))))
        }
        _ => Err(Unknown),
    }
}

/// A short list of one repeated number.
fn repeated(node: &NodeProto, sizes: &[Size]) -> Option<Fact> {
    let [Size::Is(length)] = sizes else {
        return None;
    };
    let length = usize::try_from(*length)
        .ok()
        .filter(|it| *it <= MOST_VALUES)?;
    let value = match node.attribute.iter().find(|it| it.name == "value") {
        None => Size::Is(0),
        Some(attribute) => *Fact::of(attribute.t.as_ref()?).value?.first()?,
    };
    Some(Fact::list(vec![value; length]))
}
