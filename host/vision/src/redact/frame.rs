//! Masks burned into a frame without a header: its own values are replaced, so that all others stay as they are.

use super::{RedactError, blurred};
use crate::image::CHANNELS;
use crate::mask::{Grid, each_row};
use crate::raw::{BLACK, luma_and_chroma};
use crate::{Budget, DecodeLimits, Fill, Image, Mask, RawFormat, RawFrame, decode_raw};

pub(super) fn redact(
    bytes: &[u8],
    frame: &RawFrame,
    masks: &[Mask],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, RedactError> {
    frame.fits(bytes, limits)?;
    let (width, height) = frame.size();
    let cell @ [across, down] = frame.cell();
    // Only a blur needs the colours.
    let blurred = if masks.iter().any(|mask| mask.fill == Fill::Blur) {
        let image = decode_raw(bytes, frame, limits, budget)?;
        let _image = budget.claim(image.byte_len() as u64)?;
        blurred(&image, masks, across.max(down), budget)?
    } else {
        None
    };
    let _blurred = budget.claim(blurred.as_ref().map_or(0, Image::byte_len) as u64)?;
    let (mut out, _out) = budget.list(bytes.len())?;
    out.extend_from_slice(bytes);
    frame.clear_padding(&mut out);
    let grid = Grid::of_cells(width, height, cell, 0);
    each_row(masks, grid, budget, |y, fills| {
        for (x, fill) in fills.iter().enumerate() {
            let Some(fill) = fill else { continue };
            let place = Cell {
                left: x * across as usize,
                top: y * down as usize,
                right: ((x + 1) * across as usize).min(width as usize),
                bottom: ((y + 1) * down as usize).min(height as usize),
            };
            let source = blurred.as_ref().filter(|_| *fill == Fill::Blur);
            place.fill(&mut out, frame, source);
        }
        budget.spend(fills.len() as u64)?;
        Ok::<_, RedactError>(())
    })?;
    Ok(out)
}

/// Pixels that share chroma.
struct Cell {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Cell {
    /// Writes the colours of `blurred`, or black.
    fn fill(&self, out: &mut [u8], frame: &RawFrame, blurred: Option<&Image>) {
        let mut sums = [0_u32; CHANNELS];
        let mut count = 0;
        for y in self.top..self.bottom {
            for x in self.left..self.right {
                let colour = colour(frame.format(), blurred, x, y);
                for (sum, value) in sums.iter_mut().zip(colour) {
                    *sum += u32::from(value);
                }
                count += 1;
                frame.put_pixel(out, x, y, colour);
            }
        }
        let [_, u, v] = sums.map(|sum| (sum / count.max(1)) as u8); // a mean of bytes is one
        frame.put_chroma(out, self.left, self.top, [u, v]);
    }
}

/// Y, U and V of a pixel, or its three channels in formats without chroma.
fn colour(format: RawFormat, blurred: Option<&Image>, x: usize, y: usize) -> [u8; CHANNELS] {
    let pixel = blurred.and_then(|it| it.row(y).as_chunks::<CHANNELS>().0.get(x));
    match (format, pixel) {
        (RawFormat::Nv12 | RawFormat::Yuy2, None) => BLACK,
        (RawFormat::Gray8 | RawFormat::Rgb, None) => [0; CHANNELS],
        (RawFormat::Nv12 | RawFormat::Yuy2, Some(rgb)) => luma_and_chroma(*rgb),
        (RawFormat::Gray8 | RawFormat::Rgb, Some(rgb)) => *rgb,
    }
}
