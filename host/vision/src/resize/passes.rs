//! The two passes of a resize, in slices: along the rows in bands of rows, and down the columns in strips of columns.
//!
//! Within a pass every row, or column, is scaled by itself, so that slices give the very pixels of the whole.

use fast_image_resize as fir;
use fast_image_resize::PixelTrait;
use fast_image_resize::images::{TypedImage, TypedImageRef};

use crate::{Budget, VisionError};

/// Products of a pixel and a weight in one slice: some ten milliseconds.
pub(super) const SLICE_PRODUCTS: u64 = 1 << 25;
/// Least columns of a strip: fewer would read the same lines of memory again and again.
const LEAST_STRIP: u64 = 64;
/// A picture between the passes may have so many pixels whatever the order of the passes.
const SMALL_PIXELS: u64 = 1 << 22;
/// Above that, it may have so many times the pixels of the larger one of the old and the new picture. Else the other order is taken.
const MOST_GROWTH: u64 = 2;
/// Bytes that the resizer takes for each weight: as it is computed, and as a whole number.
const WEIGHT_BYTES: u64 = 8 + 4;
/// Bytes that it takes for the weights of a new pixel: where they begin and end, and a list.
const WINDOW_BYTES: u64 = 8 + 32;

/// How a new pixel comes from old ones.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) algorithm: fir::ResizeAlg,
    /// Old pixels on each side that count.
    pub(super) reach: f64,
    /// It reaches further where the picture shrinks.
    pub(super) grows: bool,
}

/// One side of the picture.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    from: u32,
    to: u32,
    /// Pixels that stand before the first and after the last one, where the kernel reaches past the edge.
    pub(super) margin: u32,
}

impl Axis {
    /// A side that stays as it is needs no margin.
    pub(super) fn new(from: u32, to: u32, margin: u32) -> Self {
        let margin = if from == to { 0 } else { margin };
        Self { from, to, margin }
    }

    /// Pixels with both margins.
    pub(super) fn padded(&self) -> u32 {
        self.from.saturating_add(2 * self.margin)
    }

    fn changes(&self) -> bool {
        self.from != self.to
    }

    /// Most old pixels that count for a new one.
    fn window(&self, kernel: &Kernel) -> u64 {
        let scale = f64::from(self.from) / f64::from(self.to);
        let scale = if kernel.grows { scale.max(1.0) } else { 1.0 };
        (kernel.reach * scale).ceil() as u64 * 2 + 1
    }

    /// Bytes of the resizer's table of weights.
    fn table_bytes(&self, kernel: &Kernel) -> u64 {
        let one = self.window(kernel) * WEIGHT_BYTES + WINDOW_BYTES;
        one.saturating_mul(self.to.into())
    }
}

/// A resize of both sides.
pub(super) struct Plan {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) kernel: Kernel,
    /// The order of the passes for pictures of usual shapes.
    pub(super) down_first: bool,
    /// Products of a pixel and a weight in one slice.
    pub(super) slice: u64,
}

impl Plan {
    /// From the padded old picture to the new one.
    pub(super) fn run<P: PixelTrait + Default + Clone>(
        &self,
        from: &[P],
        to: &mut [P],
        budget: &Budget<'_>,
    ) -> Result<(), VisionError> {
        match (self.x.changes(), self.y.changes()) {
            (true, false) => self.across(from, to, budget),
            (false, _) => self.down(from, self.x.padded(), to, budget),
            (true, true) if self.goes_down_first() => {
                let (width, height) = (self.x.padded(), self.y.to);
                let (mut between, _claim) = budget.zeros(len(width, height))?;
                self.down(from, width, &mut between, budget)?;
                self.across(&between, to, budget)
            }
            (true, true) => {
                let (width, height) = (self.x.to, self.y.padded());
                let (mut between, _claim) = budget.zeros(len(width, height))?;
                self.across(from, &mut between, budget)?;
                self.down(&between, width, to, budget)
            }
        }
    }

    /// A picture of one row of millions of pixels would have as many pixels a row between the passes, in hundreds of rows. It depends on
    /// the shapes alone, so that the same pictures always give the same pixels.
    fn goes_down_first(&self) -> bool {
        let area = |width: u32, height: u32| u64::from(width) * u64::from(height);
        let old = area(self.x.padded(), self.y.padded());
        let new = area(self.x.to, self.y.to);
        let between = if self.down_first {
            area(self.x.padded(), self.y.to)
        } else {
            area(self.x.to, self.y.padded())
        };
        let usual = between <= SMALL_PIXELS.max(MOST_GROWTH * old.max(new));
        self.down_first == usual
    }

    /// Scales all rows.
    fn across<P: PixelTrait>(
        &self,
        from: &[P],
        to: &mut [P],
        budget: &Budget<'_>,
    ) -> Result<(), VisionError> {
        let _table = budget.claim(self.x.table_bytes(&self.kernel))?;
        let (width, new_width) = (self.x.padded(), self.x.to);
        let row_products = u64::from(new_width) * self.x.window(&self.kernel);
        let rows = (self.slice / row_products.max(1)).max(1);
        let (from_band, to_band) = (
            (rows as usize).saturating_mul(width as usize),
            (rows as usize).saturating_mul(new_width as usize),
        );
        for (from, to) in from.chunks(from_band).zip(to.chunks_mut(to_band)) {
            let rows = (to.len() / new_width.max(1) as usize) as u32;
            let crop = [self.x.margin, 0, self.x.from, rows];
            self.convolve(from, (width, rows), to, (new_width, rows), crop)?;
            budget.spend(row_products * u64::from(rows))?;
        }
        Ok(())
    }

    /// Scales all columns of a picture of this width.
    fn down<P: PixelTrait + Default + Clone>(
        &self,
        from: &[P],
        width: u32,
        to: &mut [P],
        budget: &Budget<'_>,
    ) -> Result<(), VisionError> {
        let _table = budget.claim(self.y.table_bytes(&self.kernel))?;
        let (height, new_height) = (self.y.padded(), self.y.to);
        let column_products = u64::from(new_height) * self.y.window(&self.kernel);
        let columns = (self.slice / column_products.max(1)).max(LEAST_STRIP);
        let columns = u64::from(width).min(columns) as u32;
        let crop = |left, columns| [left, self.y.margin, columns, self.y.from];
        if columns == width {
            let whole = crop(0, width);
            self.convolve(from, (width, height), to, (width, new_height), whole)?;
            budget.spend(column_products * u64::from(width))?;
            return Ok(());
        }
        let (mut strip, _strip) = budget.zeros(len(columns, new_height))?;
        for left in (0..width).step_by(columns as usize) {
            let columns = columns.min(width - left);
            let crop = crop(left, columns);
            let size = (columns, new_height);
            self.convolve(from, (width, height), &mut strip, size, crop)?;
            let place = left as usize..(left + columns) as usize;
            let rows = to.chunks_exact_mut(width as usize);
            for (row, part) in rows.zip(strip.chunks_exact(columns as usize)) {
                if let Some(place) = row.get_mut(place.clone()) {
                    place.clone_from_slice(part);
                }
            }
            budget.spend(column_products * u64::from(columns))?;
        }
        Ok(())
    }

    /// Scales a part of the old picture (left, top, width and height) to the size of the new one.
    fn convolve<P: PixelTrait>(
        &self,
        from: &[P],
        (from_width, from_height): (u32, u32),
        to: &mut [P],
        (width, height): (u32, u32),
        crop: [u32; 4],
    ) -> Result<(), VisionError> {
        let [left, top, across, down] = crop.map(f64::from);
        let options = fir::ResizeOptions::new()
            .resize_alg(self.kernel.algorithm)
            .crop(left, top, across, down);
        let from = TypedImageRef::new(from_width, from_height, from).map_err(failed)?;
        let mut to = TypedImage::from_pixels_slice(width, height, to).map_err(failed)?;
        // By type, or all other kinds of pixels would be compiled too.
        fir::Resizer::new()
            .resize_typed(&from, &mut to, &options)
            .map_err(failed)
    }
}

/// Pixels of a picture. Both sides are those of pictures that exist, but not together, so what overflows is refused by the budget.
fn len(width: u32, height: u32) -> usize {
    (width as usize).saturating_mul(height as usize)
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VisionError {
    VisionError::Resize {
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use fast_image_resize::pixels::{U8x3, U16x3};
    use proptest::prelude::*;

    use super::*;

    /// The same by one call of the resizer.
    fn whole<P: PixelTrait + Default + Clone>(plan: &Plan, from: &[P]) -> Vec<P> {
        let mut to = vec![P::default(); len(plan.x.to, plan.y.to)];
        let from_size = (plan.x.padded(), plan.y.padded());
        let crop = [plan.x.margin, plan.y.margin, plan.x.from, plan.y.from];
        let to_size = (plan.x.to, plan.y.to);
        plan.convolve(from, from_size, &mut to, to_size, crop)
            .unwrap();
        to
    }

    fn plan(from: (u32, u32), to: (u32, u32), margin: u32, kernel: Kernel, eight: bool) -> Plan {
        Plan {
            x: Axis::new(from.0, to.0, margin),
            y: Axis::new(from.1, to.1, margin),
            kernel,
            down_first: eight,
            slice: 1,
        }
    }

    fn kernel(number: usize) -> Kernel {
        let cubic = fir::Filter::new("cubic", crate::resize::cubic, 2.0).unwrap();
        let custom = fir::FilterType::Custom(cubic);
        match number {
            0 => crate::resize::BILINEAR,
            1 => crate::resize::AREA,
            _ => Kernel {
                algorithm: fir::ResizeAlg::Interpolation(custom),
                reach: 2.0,
                grows: false,
            },
        }
    }

    proptest! {
        #[test]
        fn slices_give_the_pixels_of_the_whole(from in (1..200_u32, 1..40_u32), to in (1..200_u32, 1..40_u32), number in 0..3_usize, seed: u32) {
            let budget = Budget::unlimited();
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 16
            };
            let eight = plan(from, to, 0, kernel(number), true);
            let pixels: Vec<U8x3> = (0..len(from.0, from.1))
                .map(|_| U8x3::new([next() as u8, next() as u8, next() as u8]))
                .collect();
            let mut sliced = vec![U8x3::default(); len(to.0, to.1)];
            if from != to {
                eight.run(&pixels, &mut sliced, &budget).unwrap();
                prop_assert_eq!(sliced, whole(&eight, &pixels));
            }
            let sixteen = plan(from, to, 2, kernel(number), false);
            let pixels: Vec<U16x3> = (0..len(sixteen.x.padded(), sixteen.y.padded()))
                .map(|_| U16x3::new([next() as u16, next() as u16, next() as u16]))
                .collect();
            let mut sliced = vec![U16x3::default(); len(to.0, to.1)];
            if from != to {
                sixteen.run(&pixels, &mut sliced, &budget).unwrap();
                prop_assert_eq!(sliced, whole(&sixteen, &pixels));
            }
        }
    }

    #[test]
    fn only_odd_shapes_change_the_order_of_the_passes() {
        let first = |from, to| plan(from, to, 0, kernel(0), true).goes_down_first();
        for (from, to) in [
            ((4000, 3000), (640, 640)),
            ((640, 480), (1920, 1080)),
            ((1000, 32), (320, 48)),
            ((600, 10), (20, 300)),
        ] {
            assert!(first(from, to), "{from:?} to {to:?}");
        }
        assert!(!first((24_000_000, 1), (640, 640)));
        let sixteen = plan((1, 24_000_000), (640, 640), 2, kernel(2), false);
        assert!(sixteen.goes_down_first());
    }
}
