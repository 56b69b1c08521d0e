//! Sample to CenterFace's input: the picture's bytes as they are, as f32, at a size that the model takes.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{config, vision};

/// The longest side of the model's input; the release's `longest-side` overrides it. A larger picture is made smaller.
const LONGEST_SIDE: u32 = 1024;

struct PrivacyPre;

impl Preprocessor for PrivacyPre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let longest = match config::get("longest-side") {
            Some(text) => side(&text)?,
            None => LONGEST_SIDE,
        };
        let picture = vision::decode(sample)?;
        let (width, height) =
            privacy_camera::input_size(picture.width(), picture.height(), longest);
        let scaled = vision::resize(&picture, width, height, vision::Filter::Bilinear)?;
        let as_it_is = vision::Normalisation {
            layout: vision::Layout::Nchw,
            channels: vision::Channels::Rgb,
            scale: 1.0,
            mean: (0.0, 0.0, 0.0),
            std: (1.0, 1.0, 1.0),
        };
        Ok(vec![NamedTensor {
            name: "input.1".into(),
            tensor: vision::normalise(&[&scaled], width, height, as_it_is)?,
        }])
    }
}

fn side(text: &str) -> Result<u32> {
    let side = text.parse().ok().filter(|side| (32..=4096).contains(side));
    side.ok_or_else(|| {
        Error::invalid_input(format_args!(
            "`longest-side` is {text:?}; it must be a number from 32 to 4096"
        ))
    })
}

hotshoe_sdk::preprocessor!(PrivacyPre);
