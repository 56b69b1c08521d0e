//! Sample to the text detector's input: the picture, its shorter side at least 736 pixels, both sides multiples of 32.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision;
use label_reader::sizes;

struct DetectTextPre;

impl Preprocessor for DetectTextPre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let picture = vision::decode(sample)?;
        let (width, height) =
            sizes::detector_size(sizes::working_size((picture.width(), picture.height())));
        let scaled = vision::resize(&picture, width, height, vision::Filter::Bilinear)?;
        let tensor = vision::normalise(&[&scaled], width, height, vision::Normalisation::bgr())?;
        Ok(vec![NamedTensor {
            name: "x".into(),
            tensor,
        }])
    }
}

hotshoe_sdk::preprocessor!(DetectTextPre);
