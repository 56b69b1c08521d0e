//! Sample to the recogniser's input: a picture of one line of text, 48 pixels high and at least 320 wide.

use common::line_tensor;
use hotshoe_sdk::prelude::*;
use label_reader::sizes;

struct RecogniseTextPre;

impl Preprocessor for RecogniseTextPre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        Ok(vec![NamedTensor {
            name: "x".into(),
            tensor: line_tensor(sample, sizes::recogniser_width)?,
        }])
    }
}

hotshoe_sdk::preprocessor!(RecogniseTextPre);
