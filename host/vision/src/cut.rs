//! Operations that move pixels without changing them.

use crate::image::{CHANNELS, byte_count};
use crate::{Budget, Image, VisionError};

/// Pixels between two checks of the budget.
pub(crate) const SLICE_PIXELS: usize = 1 << 16;

/// Quarter turns, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// 90 degrees.
    Quarter,
    /// 180 degrees.
    Half,
    /// 270 degrees.
    ThreeQuarters,
}

/// Crops to the part of a rectangle inside the picture, with its edges rounded to whole pixels.
///
/// # Errors
/// [`VisionError::NotFinite`], [`VisionError::NegativeSize`], [`VisionError::Outside`] if no pixel is in it; [`VisionError::Budget`].
pub fn crop(
    image: &Image,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    budget: &Budget<'_>,
) -> Result<Image, VisionError> {
    budget.look()?;
    checked(x, y, width, height)?;
    let (left, right) = span(x, width, image.width());
    let (top, bottom) = span(y, height, image.height());
    if left >= right || top >= bottom {
        let (image_width, image_height) = (image.width(), image.height());
        return Err(VisionError::Outside {
            x,
            y,
            width,
            height,
            image_width,
            image_height,
        });
    }
    let bytes = left as usize * CHANNELS..right as usize * CHANNELS;
    let (new_width, new_height) = (right - left, bottom - top);
    let (mut pixels, _claim) = budget.list(byte_count("the result", new_width, new_height)?)?;
    for row in image.rows().skip(top as usize).take(new_height as usize) {
        pixels.extend_from_slice(row.get(bytes.clone()).unwrap_or_default());
        budget.spend(new_width.into())?;
    }
    Image::from_rgb(new_width, new_height, pixels)
}

/// Checks that all four are finite, and neither side is negative.
pub(crate) fn checked(x: f32, y: f32, width: f32, height: f32) -> Result<(), VisionError> {
    for (what, value) in [("x", x), ("y", y), ("width", width), ("height", height)] {
        if !value.is_finite() {
            return Err(VisionError::NotFinite { what, value });
        }
    }
    if width < 0.0 || height < 0.0 {
        return Err(VisionError::NegativeSize { width, height });
    }
    Ok(())
}

/// The whole pixels of an interval within `0..size`.
fn span(start: f32, length: f32, size: u32) -> (u32, u32) {
    let edge = |at: f64| at.round().clamp(0.0, f64::from(size)) as u32;
    let start = f64::from(start);
    (edge(start), edge(start + f64::from(length)))
}

/// Rotates the picture clockwise.
///
/// # Errors
/// [`VisionError::Budget`]; the result has as many pixels.
pub fn rotate(
    image: &Image,
    rotation: Rotation,
    budget: &Budget<'_>,
) -> Result<Image, VisionError> {
    budget.look()?;
    let (width, height) = (image.width(), image.height());
    let (mut pixels, _claim) = budget.list(image.byte_len())?;
    match rotation {
        Rotation::Half => {
            let (all, _) = image.pixels().as_chunks::<CHANNELS>();
            for slice in all.rchunks(SLICE_PIXELS) {
                pixels.extend(slice.iter().rev().flatten());
                budget.spend(slice.len() as u64)?;
            }
            return Image::from_rgb(width, height, pixels);
        }
        Rotation::Quarter => {
            for column in 0..width as usize {
                gather(&mut pixels, image.rows().rev(), column, budget)?;
            }
        }
        Rotation::ThreeQuarters => {
            for column in (0..width as usize).rev() {
                gather(&mut pixels, image.rows(), column, budget)?;
            }
        }
    }
    Image::from_rgb(height, width, pixels)
}

/// Appends one column, from the first of the rows to the last.
fn gather<'a>(
    pixels: &mut Vec<u8>,
    mut rows: impl ExactSizeIterator<Item = &'a [u8]>,
    column: usize,
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    while rows.len() > 0 {
        let slice = rows.len().min(SLICE_PIXELS);
        for row in rows.by_ref().take(slice) {
            pixels.extend_from_slice(pixel(row, column));
        }
        budget.spend(slice as u64)?;
    }
    Ok(())
}

fn pixel(row: &[u8], column: usize) -> &[u8] {
    row.get(column * CHANNELS..(column + 1) * CHANNELS)
        .unwrap_or_default()
}
