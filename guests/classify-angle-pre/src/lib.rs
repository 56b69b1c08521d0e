//! Sample to the angle classifier's input: a picture of one line of text, 48 pixels high.

use common::line_tensor;
use hotshoe_sdk::prelude::*;
use label_reader::sizes;

struct ClassifyAnglePre;

impl Preprocessor for ClassifyAnglePre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        Ok(vec![NamedTensor {
            name: "x".into(),
            tensor: line_tensor(sample, |_| sizes::ANGLE_WIDTH)?,
        }])
    }
}

hotshoe_sdk::preprocessor!(ClassifyAnglePre);
