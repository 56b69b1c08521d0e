//! Values of inputs whose type in the file is narrower than that of their tensors.

use super::Model;
use crate::{RunError, Tensor};

impl Model {
    /// Checks the values of inputs whose type in the file is narrower than that of their tensors.
    #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
    pub(super) fn check_values(&self, ordered: &[&Tensor]) -> Result<(), RunError> {
        let all = self.inputs.iter().zip(&self.ranges).zip(ordered);
        for ((info, range), tensor) in all {
            let Some(range) = range else { continue };
            let (least, most) = (*range.values.start(), *range.values.end());
            let fits = |value: &f64| (least as f64..=most as f64).contains(value);
            if let Some(value) = tensor.numbers().find(|value| !fits(value)) {
                return Err(RunError::OutOfRange {
                    name: info.name.clone(),
                    element_type: range.element_type.clone(),
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}
