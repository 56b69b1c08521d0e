//! Sample to the angle classifier's input: a picture of one line of text, 48 pixels high.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision;
use label_reader::sizes;

struct ClassifyAnglePre;

impl Preprocessor for ClassifyAnglePre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let line = vision::decode(sample)?;
        let width = sizes::line_width((line.width(), line.height()), sizes::ANGLE_WIDTH);
        let scaled = vision::resize(&line, width, sizes::LINE_HEIGHT, vision::Filter::Bilinear)?;
        let tensor = vision::normalise(
            &[&scaled],
            sizes::ANGLE_WIDTH,
            sizes::LINE_HEIGHT,
            vision::Normalisation::bgr(),
        )?;
        Ok(vec![NamedTensor {
            name: "x".into(),
            tensor,
        }])
    }
}

hotshoe_sdk::preprocessor!(ClassifyAnglePre);
