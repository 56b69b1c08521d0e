//! Facts about a tensor.

use tract_onnx::pb::TensorProto;

use crate::inspect::{numbers, read_tensor};

/// Most elements of a tensor whose values are tracked: shapes, axes, scales.
pub(super) const MOST_VALUES: usize = 64;

/// A size, or another integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The number of rows of the batch.
    Batch,
    /// This number.
    Is(i64),
    /// Unknown, but the same in any batch.
    Fixed,
    /// It may depend on the number of rows.
    Unknown,
}

impl Size {
    /// The size of a dimension in which two tensors are broadcast.
    pub(super) fn spread(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Batch, _) | (_, Self::Batch) => Self::Batch,
            (Self::Is(1), size) | (size, Self::Is(1)) => size,
            (Self::Is(size), _) | (_, Self::Is(size)) => Self::Is(size),
            (Self::Fixed, Self::Fixed) => Self::Fixed,
        }
    }

    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Is(_) | Self::Fixed)
    }
}

/// How the elements of a tensor depend on the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependence {
    /// Not at all.
    Constant,
    /// Each row along this axis depends on the same row of the inputs alone, and there are as many rows.
    Rows(usize),
    /// On the number of rows only.
    Counts,
}

/// What is known about a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) dependence: Dependence,
    /// Shape, outermost dimension first.
    pub(super) shape: Option<Vec<Size>>,
    /// The elements of a small tensor of at most one dimension. Fractions are [`Size::Fixed`].
    pub(super) value: Option<Vec<Size>>,
}

impl Fact {
    pub(super) fn constant(shape: Option<Vec<Size>>) -> Self {
        Self {
            dependence: Dependence::Constant,
            shape,
            value: None,
        }
    }

    pub(super) fn rows(axis: usize, shape: Vec<Size>) -> Self {
        Self {
            dependence: Dependence::Rows(axis),
            shape: Some(shape),
            value: None,
        }
    }

    /// A list of numbers.
    pub(super) fn list(value: Vec<Size>) -> Self {
        let length = i64::try_from(value.len()).map_or(Size::Fixed, Size::Is);
        Self::values(value, vec![length])
    }

    /// Numbers of this shape, which has at most one dimension.
    pub(super) fn values(value: Vec<Size>, shape: Vec<Size>) -> Self {
        let free = value.iter().all(|size| size.is_free());
        Self {
            dependence: if free {
                Dependence::Constant
            } else {
                Dependence::Counts
            },
            shape: Some(shape),
            value: Some(value),
        }
    }

    /// The fact of a weight.
    pub(super) fn of(weight: &TensorProto) -> Self {
        let shape: Vec<Size> = weight.dims.iter().map(|&size| Size::Is(size)).collect();
        let count = weight
            .dims
            .iter()
            .fold(1_i64, |count, &size| count.saturating_mul(size));
        let small = usize::try_from(count).is_ok_and(|count| count <= MOST_VALUES);
        if shape.len() > 1 || !small {
            return Self::constant(Some(shape));
        }
        let whole = |number: f64| {
            let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
            // Exact: it is an integer far below 2^63. The largest numbers mean "to the end", so their exact value does not matter.
            if is_whole {
                Size::Is(number as i64)
            } else if number.abs() >= 1e15 {
                Size::Is(if number > 0.0 { i64::MAX } else { i64::MIN })
            } else {
                Size::Fixed
            }
        };
        match read_tensor(weight) {
            Ok(tensor) => Self::values(numbers(&tensor).map(whole).collect(), shape),
            Err(_) => Self::constant(Some(shape)),
        }
    }

    pub(super) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// What is true for both; `None` if their rows differ.
    pub(super) fn either(self, other: &Self) -> Option<Self> {
        if self == *other {
            return Some(self);
        }
        let (one, two) = (self.shape?, other.shape.as_ref()?);
        if self.dependence != other.dependence
            || self.dependence == Dependence::Counts
            || one.len() != two.len()
        {
            return None;
        }
        let sizes = one.into_iter().zip(two);
        let shape = sizes.map(|(one, &other)| if one == other { one } else { Size::Fixed });
        Some(Self {
            dependence: self.dependence,
            shape: Some(shape.collect()),
            value: None,
        })
    }
}
