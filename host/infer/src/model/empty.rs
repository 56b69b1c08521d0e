//! Runs without rows: a batch of 0 samples, as between a detector that found nothing and the model for what it finds.

use std::time::Instant;

use super::Model;
use crate::counts::RunCounts;
use crate::{RunError, Tensor};

/// Largest row of zeros that is made, in bytes: 8 MiB. The sizes of an empty tensor cost a caller nothing.
const MAX_ROW_BYTES: usize = 8 << 20;

impl Model {
    /// The outputs without rows, if no input has a row and each row of the outputs follows from the same row of the inputs. `None` otherwise.
    pub(super) fn run_without_rows(
        &self,
        inputs: &[(&str, &Tensor)],
        deadline: Option<Instant>,
        counts: Option<&RunCounts>,
    ) -> Result<Option<Vec<(String, Tensor)>>, RunError> {
        let is_empty = |(_, tensor): &(&str, &Tensor)| tensor.shape().first() == Some(&0);
        if !self.has_rows || inputs.is_empty() || !inputs.iter().all(is_empty) {
            return Ok(None);
        }
        let one: Vec<(&str, Vec<usize>)> = inputs
            .iter()
            .map(|(name, tensor)| (*name, with_rows(tensor.shape(), 1)))
            .collect();
        let shapes = one.iter().map(|(name, shape)| (*name, shape.as_slice()));
        // Before a row is made, which may be as large as the shape says. What is wrong is said about the given shapes.
        let fits = |ordered: Vec<&[usize]>| self.check_shapes(ordered.into_iter()).is_ok();
        if !self.in_order(shapes).is_ok_and(fits) {
            return Ok(None);
        }
        let bytes = |tensor: &Tensor, shape: &[usize]| {
            let size = tensor.element_type().size();
            shape.iter().fold(size, |all, one| all.saturating_mul(*one))
        };
        let rows = inputs.iter().zip(&one);
        let sizes = rows.map(|((_, tensor), (_, shape))| bytes(tensor, shape));
        if sizes.fold(0, usize::saturating_add) > MAX_ROW_BYTES {
            return Ok(None);
        }
        let failed = |error: crate::TensorError| RunError::Failed {
            source: error.into(),
        };
        let zeros = inputs.iter().zip(&one).map(|((_, tensor), (_, shape))| {
            let zeros = vec![0; bytes(tensor, shape)];
            Tensor::from_bytes(tensor.element_type(), shape, &zeros)
        });
        let zeros: Vec<Tensor> = zeros.collect::<Result<_, _>>().map_err(failed)?;
        let row: Vec<(&str, &Tensor)> = one.iter().map(|it| it.0).zip(&zeros).collect();
        let outputs = self.run_counted(&row, deadline, counts)?.into_iter();
        let none = outputs.map(|(name, tensor)| {
            let shape = with_rows(tensor.shape(), 0);
            Tensor::from_bytes(tensor.element_type(), &shape, &[]).map(|none| (name, none))
        });
        none.collect::<Result<_, _>>().map(Some).map_err(failed)
    }
}

fn with_rows(shape: &[usize], rows: usize) -> Vec<usize> {
    let others = shape.iter().skip(1).copied();
    std::iter::once(rows).chain(others).collect()
}
