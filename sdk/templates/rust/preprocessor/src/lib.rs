//! {{name}}: makes a model's input of a picture. The host does all work on pixels; the component holds handles.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{config, vision};

/// Maximum of the settings `width` and `height`.
const MOST: u32 = 4096;

struct Component;

impl Preprocessor for Component {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let width = side("width")?;
        let height = side("height")?;
        let name = config::get("input").unwrap_or_else(|| "x".into());
        let image = vision::decode(sample)?;
        let image = vision::resize(&image, width, height, vision::Filter::Bilinear)?;
        // From 0 to 1, which is the input of most picture models. Change it to that of your model's training.
        let normalisation = vision::Normalisation {
            layout: vision::Layout::Nchw,
            channels: vision::Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: (0.0, 0.0, 0.0),
            std: (1.0, 1.0, 1.0),
        };
        let tensor = vision::normalise(&[&image], width, height, normalisation)?;
        Ok(vec![NamedTensor { name, tensor }])
    }
}

/// A side of the model's input, from the release's settings.
fn side(key: &str) -> Result<u32> {
    let Some(text) = config::get(key) else {
        return Ok(32);
    };
    match text.parse() {
        Ok(side @ 1..=MOST) => Ok(side),
        _ => Err(Error::invalid_input(format_args!(
            "config `{key}` is `{text}`, which is not a number from 1 to {MOST}"
        ))),
    }
}

hotshoe_sdk::preprocessor!(Component);
