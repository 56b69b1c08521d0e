//! Making parts of a picture unrecognisable.

use std::ops::Range;

use crate::cut::checked;
use crate::image::CHANNELS;
use crate::{Image, MAX_PIXELS, VisionError};

/// Most regions of one call.
pub const MAX_REGIONS: usize = 1024;
/// Box blurs, one after another. Three come near to a Gaussian whose standard deviation is the radius.
const PASSES: u32 = 3;

/// An upright part of a picture, in pixels from its top left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// The left edge.
    pub x: f32,
    /// The top edge.
    pub y: f32,
    /// Not negative.
    pub width: f32,
    /// Not negative.
    pub height: f32,
}

/// Blurs each of the regions in turn, as far as it lies inside the picture, rounded outwards to whole pixels: three box blurs of
/// `2 * radius + 1` pixels a side. They take their pixels from inside the region alone, and repeat its edge. A radius of 0 stands for
/// a quarter of the region's shorter side, at least 1; one above that side is as good as that side.
///
/// # Errors
/// [`VisionError::NotFinite`], [`VisionError::NegativeSize`], [`VisionError::TooManyRegions`] over [`MAX_REGIONS`] or, in pixels over all
/// regions, [`MAX_PIXELS`].
pub fn blur(image: &Image, regions: &[Region], radius: u32) -> Result<Image, VisionError> {
    let areas = regions
        .iter()
        .filter_map(|region| Area::of(region, image).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let pixels: u64 = areas.iter().map(Area::pixels).sum();
    if regions.len() > MAX_REGIONS || pixels > MAX_PIXELS {
        return Err(VisionError::TooManyRegions {
            count: regions.len(),
            pixels,
            limit: MAX_REGIONS,
            pixel_limit: MAX_PIXELS,
        });
    }
    let (width, height) = (image.width(), image.height());
    let mut bytes = image.pixels().to_vec();
    let stride = width as usize * CHANNELS;
    for area in &areas {
        let radius = area.radius(radius);
        let rows = bytes
            .chunks_exact_mut(stride)
            .skip(area.rows.start)
            .take(area.rows.len());
        let mut rows: Vec<&mut [u8]> = rows
            .filter_map(|row| row.get_mut(area.bytes.clone()))
            .collect();
        for _ in 0..PASSES {
            rows.iter_mut().for_each(|row| across(row, radius));
            down(&mut rows, radius);
        }
    }
    Image::from_rgb(width, height, bytes)
}

/// The whole pixels of a region: rows from the top, and bytes of a row.
struct Area {
    rows: Range<usize>,
    bytes: Range<usize>,
}

impl Area {
    /// None where no pixel lies in it.
    fn of(region: &Region, image: &Image) -> Result<Option<Self>, VisionError> {
        let Region {
            x,
            y,
            width,
            height,
        } = *region;
        checked(x, y, width, height)?;
        let columns = outward(x, width, image.width());
        let rows = outward(y, height, image.height());
        let bytes = columns.start * CHANNELS..columns.end * CHANNELS;
        let empty = rows.is_empty() || bytes.is_empty() || width == 0.0 || height == 0.0;
        Ok((!empty).then_some(Self { rows, bytes }))
    }

    fn pixels(&self) -> u64 {
        (self.rows.len() * (self.bytes.len() / CHANNELS)) as u64
    }

    fn radius(&self, asked: u32) -> usize {
        let side = self.rows.len().min(self.bytes.len() / CHANNELS);
        match asked as usize {
            0 => (side / 4).max(1),
            asked => asked.min(side),
        }
    }
}

/// The pixels of `0..size` that an interval touches.
fn outward(start: f32, length: f32, size: u32) -> Range<usize> {
    let inside = |at: f64| at.clamp(0.0, f64::from(size)) as usize;
    let (start, length) = (f64::from(start), f64::from(length));
    inside(start.floor())..inside((start + length).ceil())
}

/// The rounded mean of a window's sum. A window has at most 2 * 8192 + 1 pixels, since a picture's shorter side has at most 8192.
fn mean(sum: u32, window: u32) -> u8 {
    ((sum + window / 2) / window) as u8 // a mean of bytes is one
}

/// One box blur along a row.
fn across(row: &mut [u8], radius: usize) {
    let before = row.to_vec();
    let (pixels, _) = before.as_chunks::<CHANNELS>();
    let Some(last) = pixels.len().checked_sub(1) else {
        return;
    };
    let at = |index: usize| pixels.get(index.min(last)).copied().unwrap_or_default();
    let window = 2 * radius as u32 + 1;
    // The window of the pixel before the first one: the edge stands for all that is left of it.
    let mut sums = at(0).map(|value| u32::from(value) * (radius as u32 + 1));
    for index in 0..radius {
        add(&mut sums, &at(index));
    }
    let (out, _) = row.as_chunks_mut::<CHANNELS>();
    for (index, pixel) in out.iter_mut().enumerate() {
        add(&mut sums, &at(index + radius));
        subtract(&mut sums, &at(index.saturating_sub(radius + 1)));
        for (value, sum) in pixel.iter_mut().zip(sums) {
            *value = mean(sum, window);
        }
    }
}

/// One box blur along all columns, a row at a time.
fn down(rows: &mut [&mut [u8]], radius: usize) {
    let before: Vec<Vec<u8>> = rows.iter().map(|row| row.to_vec()).collect();
    let Some(last) = before.len().checked_sub(1) else {
        return;
    };
    let at = |index: usize| {
        let row = before.get(index.min(last));
        row.map(Vec::as_slice).unwrap_or_default()
    };
    let window = 2 * radius as u32 + 1;
    let first = at(0).iter();
    let mut sums: Vec<u32> = first
        .map(|value| u32::from(*value) * (radius as u32 + 1))
        .collect();
    for index in 0..radius {
        add(&mut sums, at(index));
    }
    for (index, row) in rows.iter_mut().enumerate() {
        add(&mut sums, at(index + radius));
        subtract(&mut sums, at(index.saturating_sub(radius + 1)));
        for (value, sum) in row.iter_mut().zip(&sums) {
            *value = mean(*sum, window);
        }
    }
}

fn add(sums: &mut [u32], values: &[u8]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += u32::from(*value);
    }
}

fn subtract(sums: &mut [u32], values: &[u8]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum -= u32::from(*value);
    }
}
