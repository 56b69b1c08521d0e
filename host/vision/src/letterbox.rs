//! Pictures fitted into another shape.

use crate::image::{CHANNELS, byte_count};
use crate::{Budget, Filter, Image, VisionError, resize};

/// A picture with bars at two of its sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letterbox {
    /// The whole result.
    pub image: Image,
    /// Pixels to the left of the scaled picture.
    pub left: u32,
    /// Pixels above the scaled picture.
    pub top: u32,
    /// Pixels of the scaled picture.
    pub width: u32,
    /// Pixels of the scaled picture.
    pub height: u32,
}

/// Scales the picture to the largest size of the same shape that fits into `width` x `height`, and centres it there on `fill`.
/// Sides are rounded to whole pixels, at least 1; of an odd number of pixels around it, the one more is on the right or at the bottom.
///
/// # Errors
/// [`VisionError::NoPixels`], [`VisionError::TooLarge`], [`VisionError::Budget`].
pub fn letterbox(
    image: &Image,
    width: u32,
    height: u32,
    fill: [u8; CHANNELS],
    filter: Filter,
    budget: &Budget<'_>,
) -> Result<Letterbox, VisionError> {
    let bytes = byte_count("the result", width, height)?;
    let (scaled_width, scaled_height) = fitted((image.width(), image.height()), (width, height));
    let scaled = resize(image, scaled_width, scaled_height, filter, budget)?;
    let (left, top) = ((width - scaled_width) / 2, (height - scaled_height) / 2);
    let image = if (scaled_width, scaled_height) == (width, height) {
        scaled
    } else {
        let _scaled = budget.claim(scaled.byte_len() as u64)?;
        let (mut pixels, _claim) = budget.list(bytes)?;
        let fill_to = |pixels: &mut Vec<u8>, count: usize| {
            pixels.extend(fill.iter().cycle().take(count * CHANNELS));
        };
        let (width, left) = (width as usize, left as usize);
        for y in 0..height {
            match y.checked_sub(top).filter(|&y| y < scaled_height) {
                Some(y) => {
                    fill_to(&mut pixels, left);
                    pixels.extend_from_slice(scaled.row(y as usize));
                    fill_to(&mut pixels, width - left - scaled_width as usize);
                }
                None => fill_to(&mut pixels, width),
            }
            budget.spend(width as u64)?;
        }
        Image::from_rgb(width as u32, height, pixels)?
    };
    Ok(Letterbox {
        image,
        left,
        top,
        width: scaled_width,
        height: scaled_height,
    })
}

/// The size of the same shape that fits into the other one.
fn fitted((width, height): (u32, u32), (most_width, most_height): (u32, u32)) -> (u32, u32) {
    let [w, h, mw, mh] = [width, height, most_width, most_height].map(u64::from);
    // Rounded, of sides that are at least 1.
    let scaled = |side: u64, to: u64, of: u64| ((side * to + of / 2) / of).max(1) as u32;
    if mw * h <= mh * w {
        (most_width, scaled(h, mw, w).min(most_height))
    } else {
        (scaled(w, mh, h).min(most_width), most_height)
    }
}
