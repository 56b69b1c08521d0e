//! Blurring regions of a picture beyond recognition.

use std::ops::Range;

use crate::cut::{SLICE_PIXELS, checked};
use crate::image::CHANNELS;
use crate::{Budget, Image, MAX_PIXELS, VisionError};

/// Most regions of one call.
pub const MAX_REGIONS: usize = 1024;
/// Number of box blurs. Three approximate a Gaussian whose standard deviation is the radius.
const PASSES: u32 = 3;
/// Width in bytes of a strip for the vertical blur: its sums fit the cache.
const STRIP_BYTES: usize = 4096 * CHANNELS;
/// Steps of the budget per pixel and pass.
const STEPS_A_PIXEL: usize = 4;

/// An upright rectangle, in pixels from the top left corner of the picture.
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
/// `2 * radius + 1` pixels a side. They use only pixels inside the region, and repeat its edge. A radius of 0 means a quarter of the
/// region's shorter side, at least 1; the radius is clamped to that side.
///
/// # Errors
/// [`VisionError::NotFinite`], [`VisionError::NegativeSize`], [`VisionError::TooManyRegions`] over [`MAX_REGIONS`] or, in pixels over all
/// regions, [`MAX_PIXELS`]; [`VisionError::Budget`].
pub fn blur(
    image: &Image,
    regions: &[Region],
    radius: u32,
    budget: &Budget<'_>,
) -> Result<Image, VisionError> {
    budget.look()?;
    if regions.len() > MAX_REGIONS {
        return Err(too_many(regions.len(), 0));
    }
    let areas = regions
        .iter()
        .filter_map(|region| Area::of(region, image).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let pixels: u64 = areas.iter().map(Area::pixels).sum();
    if pixels > MAX_PIXELS {
        return Err(too_many(regions.len(), pixels));
    }
    let (width, height) = (image.width(), image.height());
    let (mut bytes, _claim) = budget.list(image.byte_len())?;
    for slice in image.pixels().chunks(SLICE_PIXELS * CHANNELS) {
        bytes.extend_from_slice(slice);
        budget.spend((slice.len() / CHANNELS) as u64)?;
    }
    let stride = width as usize * CHANNELS;
    for area in &areas {
        area.blur(&mut bytes, stride, area.radius(radius), budget)?;
    }
    Image::from_rgb(width, height, bytes)
}

fn too_many(count: usize, pixels: u64) -> VisionError {
    VisionError::TooManyRegions {
        count,
        pixels,
        limit: MAX_REGIONS,
        pixel_limit: MAX_PIXELS,
    }
}

/// The whole pixels of a region: rows from the top, and bytes of a row.
struct Area {
    rows: Range<usize>,
    bytes: Range<usize>,
}

impl Area {
    /// `None` if no pixel is in it.
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

    /// Blurs it in place. One row, or one column of a strip, is copied at a time.
    fn blur(
        &self,
        picture: &mut [u8],
        stride: usize,
        radius: usize,
        budget: &Budget<'_>,
    ) -> Result<(), VisionError> {
        let strip = self.bytes.len().min(STRIP_BYTES);
        let longest = self.bytes.len().max(self.rows.len() * strip);
        let (mut before, _claim) = budget.list(longest)?;
        let (mut sums, _sums) = budget.list(strip)?;
        for _ in 0..PASSES {
            for y in self.rows.clone() {
                // The mean of one pixel is that pixel.
                if self.bytes.len() == CHANNELS {
                    break;
                }
                let row = y * stride + self.bytes.start..y * stride + self.bytes.end;
                if let Some(row) = picture.get_mut(row) {
                    across(row, radius, &mut before, budget)?;
                }
            }
            for start in self.bytes.clone().step_by(strip) {
                if self.rows.len() == 1 {
                    break;
                }
                let strip = start..self.bytes.end.min(start + strip);
                let rows = Rows {
                    picture: &mut *picture,
                    stride,
                    first: self.rows.start,
                    count: self.rows.len(),
                    strip,
                };
                rows.down(radius, &mut before, &mut sums, budget)?;
            }
        }
        Ok(())
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

/// One box blur along a row. `before` is a buffer for a copy of the row.
fn across(
    row: &mut [u8],
    radius: usize,
    before: &mut Vec<u8>,
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    before.clear();
    before.extend_from_slice(row);
    let (pixels, _) = before.as_chunks::<CHANNELS>();
    let Some(last) = pixels.len().checked_sub(1) else {
        return Ok(());
    };
    let at = |index: usize| pixels.get(index.min(last)).copied().unwrap_or_default();
    let window = 2 * radius as u32 + 1;
    // The window of the pixel before the first one: the edge stands for all that is left of it.
    let mut sums = at(0).map(|value| u32::from(value) * (radius as u32 + 1));
    for index in 0..radius {
        add(&mut sums, &at(index));
    }
    let (out, _) = row.as_chunks_mut::<CHANNELS>();
    for (slice, part) in out.chunks_mut(SLICE_PIXELS).enumerate() {
        for (index, pixel) in (slice * SLICE_PIXELS..).zip(part.iter_mut()) {
            add(&mut sums, &at(index + radius));
            subtract(&mut sums, &at(index.saturating_sub(radius + 1)));
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = mean(sum, window);
            }
        }
        budget.spend((part.len() * STEPS_A_PIXEL) as u64)?;
    }
    Ok(())
}

/// The same byte range of consecutive rows.
struct Rows<'a> {
    picture: &'a mut [u8],
    stride: usize,
    first: usize,
    count: usize,
    strip: Range<usize>,
}

impl Rows<'_> {
    fn row(&mut self, index: usize) -> &mut [u8] {
        let at = (self.first + index) * self.stride;
        let bytes = at + self.strip.start..at + self.strip.end;
        self.picture.get_mut(bytes).unwrap_or_default()
    }

    /// One box blur along all columns, row by row. `before` is a buffer for a copy of all rows, `sums` for one row.
    fn down(
        mut self,
        radius: usize,
        before: &mut Vec<u8>,
        sums: &mut Vec<u32>,
        budget: &Budget<'_>,
    ) -> Result<(), VisionError> {
        let width = self.strip.len();
        before.clear();
        for index in 0..self.count {
            before.extend_from_slice(self.row(index));
            budget.spend(1)?;
        }
        let last = self.count.saturating_sub(1);
        let at = |index: usize| {
            let start = index.min(last) * width;
            before.get(start..start + width).unwrap_or_default()
        };
        let window = 2 * radius as u32 + 1;
        sums.clear();
        sums.extend(
            at(0)
                .iter()
                .map(|value| u32::from(*value) * (radius as u32 + 1)),
        );
        for index in 0..radius {
            add(sums, at(index));
        }
        for index in 0..self.count {
            add(sums, at(index + radius));
            subtract(sums, at(index.saturating_sub(radius + 1)));
            for (value, sum) in self.row(index).iter_mut().zip(&*sums) {
                *value = mean(*sum, window);
            }
            budget.spend((width / CHANNELS * STEPS_A_PIXEL) as u64)?;
        }
        Ok(())
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
