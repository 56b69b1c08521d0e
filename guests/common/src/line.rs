//! A picture of one line of text as a model's input.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision::{self, Filter, Normalisation};
use label_reader::sizes::{self, Size};

/// The sample's picture, scaled to [`sizes::LINE_HEIGHT`], as an NCHW tensor as wide as `input_width` says for the picture's size.
pub fn line_tensor(sample: &Sample, input_width: impl Fn(Size) -> u32) -> Result<Tensor> {
    let line = vision::decode(sample)?;
    let size = (line.width(), line.height());
    let width = input_width(size);
    let scaled = vision::resize(
        &line,
        sizes::line_width(size, width),
        sizes::LINE_HEIGHT,
        Filter::Bilinear,
    )?;
    Ok(vision::normalise(
        &[&scaled],
        width,
        sizes::LINE_HEIGHT,
        Normalisation::bgr(),
    )?)
}
