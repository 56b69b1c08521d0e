//! Tensors with their shapes checked, and finding them by name.

use crate::{Error, NamedTensor, Result, Tensor};

/// The elements of a tensor with `N` dimensions, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct View<T, const N: usize> {
    shape: [usize; N],
    elements: Vec<T>,
}

impl<T, const N: usize> View<T, N> {
    /// Outermost dimension first.
    pub fn shape(&self) -> [usize; N] {
        self.shape
    }

    /// All elements.
    pub fn elements(&self) -> &[T] {
        &self.elements
    }

    /// The parts along the outermost dimension: the items of a batch, the rows of a matrix.
    pub fn parts(&self) -> std::slice::ChunksExact<'_, T> {
        let part: usize = self.shape.iter().skip(1).product();
        self.elements.chunks_exact(part.max(1))
    }
}

/// Typed reading of a [`Tensor`].
pub trait TensorExt {
    /// The shape, outermost dimension first.
    fn dimensions(&self) -> Vec<usize>;

    /// Copies the elements of an f32 tensor whose shape fits `pattern`, in which `None` means any length.
    ///
    /// `unsupported` for another element type, `invalid-input` for a shape that does not fit.
    fn view_f32<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<f32, N>>;

    /// As [`view_f32`](TensorExt::view_f32), for u8.
    fn view_u8<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<u8, N>>;

    /// As [`view_f32`](TensorExt::view_f32), for i64.
    fn view_i64<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<i64, N>>;
}

impl TensorExt for Tensor {
    fn dimensions(&self) -> Vec<usize> {
        self.shape()
            .into_iter()
            .map(|length| length as usize)
            .collect()
    }

    fn view_f32<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<f32, N>> {
        Ok(View {
            shape: fit(&self.dimensions(), pattern)?,
            elements: self.read_f32()?,
        })
    }

    fn view_u8<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<u8, N>> {
        Ok(View {
            shape: fit(&self.dimensions(), pattern)?,
            elements: self.read_u8()?,
        })
    }

    fn view_i64<const N: usize>(&self, pattern: [Option<usize>; N]) -> Result<View<i64, N>> {
        Ok(View {
            shape: fit(&self.dimensions(), pattern)?,
            elements: self.read_i64()?,
        })
    }
}

fn fit<const N: usize>(shape: &[usize], pattern: [Option<usize>; N]) -> Result<[usize; N]> {
    let fits = |shape: &[usize; N]| {
        shape
            .iter()
            .zip(&pattern)
            .all(|(length, wanted)| wanted.is_none_or(|wanted| *length == wanted))
    };
    match <[usize; N]>::try_from(shape) {
        Ok(shape) if fits(&shape) => Ok(shape),
        _ => {
            let lengths: Vec<String> = pattern
                .iter()
                .map(|wanted| wanted.map_or("any".into(), |length| length.to_string()))
                .collect();
            Err(Error::invalid_input(format_args!(
                "a tensor of the shape {shape:?} does not fit [{}]",
                lengths.join(", ")
            )))
        }
    }
}

/// Finding a tensor among a model's outputs.
pub trait Named {
    /// The tensor of this name; `invalid-input` lists the names of the others.
    fn named(&self, name: &str) -> Result<&Tensor>;

    /// The tensor of a model with one output; `invalid-input` lists the names if there are several.
    fn only(&self) -> Result<&Tensor>;
}

impl Named for [NamedTensor] {
    fn named(&self, name: &str) -> Result<&Tensor> {
        let found = self
            .iter()
            .find(|output| output.name == name)
            .map(|output| &output.tensor);
        found.ok_or_else(|| {
            Error::invalid_input(format_args!(
                "there is no tensor {name} among {}",
                names(self)
            ))
        })
    }

    fn only(&self) -> Result<&Tensor> {
        match self {
            [output] => Ok(&output.tensor),
            _ => Err(Error::invalid_input(format_args!(
                "one tensor is expected, not {}",
                names(self)
            ))),
        }
    }
}

fn names(outputs: &[NamedTensor]) -> String {
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    format!("[{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;

    #[test]
    fn shapes_fit_their_patterns_or_say_why_not() {
        assert_eq!(fit(&[2, 3], [None, Some(3)]).unwrap(), [2, 3]);
        let error = fit(&[2, 3], [None, Some(4)]).unwrap_err();
        assert_eq!(
            error.message(),
            "a tensor of the shape [2, 3] does not fit [any, 4]"
        );
        assert!(fit(&[2, 3], [None]).is_err());
    }

    #[test]
    fn parts_are_along_the_outermost_dimension() {
        let view = View {
            shape: [2, 3],
            elements: vec![1, 2, 3, 4, 5, 6],
        };
        assert_eq!(view.parts().collect::<Vec<_>>(), [[1, 2, 3], [4, 5, 6]]);
    }
}
