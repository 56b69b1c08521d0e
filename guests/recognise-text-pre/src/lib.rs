//! Sample to the recogniser's input: a picture of one line of text, 48 pixels high and at least 320 wide.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision;
use label_reader::sizes;

struct RecogniseTextPre;

impl Preprocessor for RecogniseTextPre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let line = vision::decode(sample)?;
        let size = (line.width(), line.height());
        let width = sizes::recogniser_width(size);
        let scaled = vision::resize(
            &line,
            sizes::line_width(size, width),
            sizes::LINE_HEIGHT,
            vision::Filter::Bilinear,
        )?;
        let tensor = vision::normalise(
            &[&scaled],
            width,
            sizes::LINE_HEIGHT,
            vision::Normalisation::bgr(),
        )?;
        Ok(vec![NamedTensor {
            name: "x".into(),
            tensor,
        }])
    }
}

hotshoe_sdk::preprocessor!(RecogniseTextPre);
