//! Grey pictures.

use crate::cut::SLICE_PIXELS;
use crate::image::CHANNELS;
use crate::{Budget, Image, VisionError};

/// Fixed-point bits of the weights.
const BITS: u32 = 15;
/// Luma of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B. The three sum up to one, so that white stays 255.
const WEIGHTS: [u32; CHANNELS] = [9798, 19_235, 3735];

/// The luma of each pixel, in all three channels, rounded.
///
/// # Errors
/// [`VisionError::Budget`]; the result has as many pixels.
pub fn grey(image: &Image, budget: &Budget<'_>) -> Result<Image, VisionError> {
    budget.look()?;
    let (mut pixels, _claim) = budget.list(image.byte_len())?;
    let [red, green, blue] = WEIGHTS;
    let (all, _) = image.pixels().as_chunks::<CHANNELS>();
    for slice in all.chunks(SLICE_PIXELS) {
        for &[r, g, b] in slice {
            let sum = u32::from(r) * red + u32::from(g) * green + u32::from(b) * blue;
            let luma = ((sum + (1 << (BITS - 1))) >> BITS) as u8;
            pixels.extend_from_slice(&[luma; CHANNELS]);
        }
        budget.spend(slice.len() as u64)?;
    }
    Image::from_rgb(image.width(), image.height(), pixels)
}
