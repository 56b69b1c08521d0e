//! Cutting out a quadrilateral and making it upright.

use crate::cut::SLICE_PIXELS;
use crate::image::{CHANNELS, byte_count};
use crate::projection::Projection;
use crate::resize::cubic;
use crate::{Budget, Filter, Image, VisionError};

/// Positions between two pixels are rounded to 1/32, as OpenCV does, so that all weights come from a small table.
const STEPS: usize = 32;

/// Work of one new pixel, which reads up to 16 old ones, in steps of the budget.
const STEPS_A_PIXEL: u64 = 8;

/// Weights of `N` neighbouring pixels for each of the [`STEPS`] positions between the middle two.
type Weights<const N: usize> = [[f32; N]; STEPS];

/// Maps `quad` to an upright `width` x `height` picture by a perspective transform: its corners, clockwise from the top left,
/// go to (0, 0), (width, 0), (width, height), (0, height), and integer positions are pixel centres (as in OpenCV's
/// `getPerspectiveTransform` and `warpPerspective` with `BORDER_REPLICATE`). A counter-clockwise `quad` gives a mirror image.
/// The transform does not average: shrink a large outline by at most half, or resize the picture first.
///
/// # Errors
/// [`VisionError::NoPixels`], [`VisionError::TooLarge`], [`VisionError::NotFinite`]; [`VisionError::Degenerate`] for an outline
/// that is not convex; [`VisionError::AreaWarp`]; [`VisionError::Budget`].
pub fn warp(
    image: &Image,
    quad: [[f32; 2]; 4],
    width: u32,
    height: u32,
    filter: Filter,
    budget: &Budget<'_>,
) -> Result<Image, VisionError> {
    budget.look()?;
    let len = byte_count("the result", width, height)?;
    if let Some(&value) = quad.iter().flatten().find(|v| !v.is_finite()) {
        return Err(VisionError::NotFinite {
            what: "a corner",
            value,
        });
    }
    let projection =
        Projection::onto(quad, width, height).ok_or(VisionError::Degenerate { quad })?;
    let source = Source::new(image);
    let (mut pixels, _claim) = budget.zeros(len)?;
    let out = &mut pixels;
    match filter {
        Filter::Nearest => fill(out, width, projection, budget, |x, y| source.nearest(x, y)),
        Filter::Bilinear => {
            let weights = table(|t| [1.0 - t, t]);
            fill(out, width, projection, budget, |x, y| {
                source.blend(x, y, &weights)
            })
        }
        Filter::Bicubic => {
            let weights = table(|t| [cubic(1.0 + t), cubic(t), cubic(1.0 - t), cubic(2.0 - t)]);
            fill(out, width, projection, budget, |x, y| {
                source.blend(x, y, &weights)
            })
        }
        Filter::Area => return Err(VisionError::AreaWarp),
    }?;
    Image::from_rgb(width, height, pixels)
}

/// Calls `sample` with the position in the old picture of every new pixel, in order.
fn fill(
    pixels: &mut [u8],
    width: u32,
    projection: Projection,
    budget: &Budget<'_>,
    sample: impl Fn(f64, f64) -> [u8; CHANNELS],
) -> Result<(), VisionError> {
    let rows = pixels.chunks_exact_mut(width as usize * CHANNELS);
    for (y, row) in rows.enumerate() {
        let slices = row.as_chunks_mut::<CHANNELS>().0.chunks_mut(SLICE_PIXELS);
        for (slice, part) in slices.enumerate() {
            for (x, pixel) in (slice * SLICE_PIXELS..).zip(part.iter_mut()) {
                let (from_x, from_y) = projection.apply(x as f64, y as f64);
                *pixel = sample(from_x, from_y);
            }
            budget.spend(part.len() as u64 * STEPS_A_PIXEL)?;
        }
    }
    Ok(())
}

fn table<const N: usize>(weights: impl Fn(f64) -> [f64; N]) -> Weights<N> {
    std::array::from_fn(|step| weights(step as f64 / STEPS as f64).map(|w| w as f32))
}

/// The old picture, its edge pixels repeated without end.
struct Source<'a> {
    image: &'a Image,
    last_column: i64,
    last_row: i64,
}

impl<'a> Source<'a> {
    fn new(image: &'a Image) -> Self {
        let (last_column, last_row) = (i64::from(image.width()) - 1, i64::from(image.height()) - 1);
        Self {
            image,
            last_column,
            last_row,
        }
    }

    fn row(&self, y: i64) -> &'a [u8] {
        self.image.row(y.clamp(0, self.last_row) as usize)
    }

    fn pixel(&self, row: &[u8], x: i64) -> [u8; CHANNELS] {
        let at = x.clamp(0, self.last_column) as usize * CHANNELS;
        row.get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default()
    }

    fn nearest(&self, x: f64, y: f64) -> [u8; CHANNELS] {
        self.pixel(self.row(y.round() as i64), x.round() as i64)
    }

    /// The weighted mean of the `N` x `N` pixels round a position.
    fn blend<const N: usize>(&self, x: f64, y: f64, table: &Weights<N>) -> [u8; CHANNELS] {
        let (left, across) = split::<N>(x, table);
        let (top, down) = split::<N>(y, table);
        let inside = left >= 0 && left + N as i64 - 1 <= self.last_column;
        let mut sum = [0.0_f32; CHANNELS];
        for (&weight_y, y) in down.iter().zip(top..) {
            let row = self.row(y);
            let mut line = [0.0_f32; CHANNELS];
            if inside {
                let run = row
                    .get(left as usize * CHANNELS..)
                    .unwrap_or_default()
                    .as_chunks::<CHANNELS>()
                    .0;
                across
                    .iter()
                    .zip(run)
                    .for_each(|(&weight, pixel)| add(&mut line, weight, pixel));
            } else {
                across
                    .iter()
                    .zip(left..)
                    .for_each(|(&weight, x)| add(&mut line, weight, &self.pixel(row, x)));
            }
            sum.iter_mut()
                .zip(line)
                .for_each(|(total, part)| *total += weight_y * part);
        }
        sum.map(|value| (value + 0.5) as u8) // `as` saturates
    }
}

fn add(sum: &mut [f32; CHANNELS], weight: f32, pixel: &[u8; CHANNELS]) {
    sum.iter_mut()
        .zip(pixel)
        .for_each(|(total, &value)| *total += weight * f32::from(value));
}

/// The first of the `N` pixels round a position, and their weights.
fn split<const N: usize>(at: f64, table: &Weights<N>) -> (i64, [f32; N]) {
    // A limit far outside any picture keeps the sums below from overflowing.
    let steps = (at.clamp(-1e12, 1e12) * STEPS as f64).round_ties_even() as i64;
    let whole = steps.div_euclid(STEPS as i64);
    let step = steps.rem_euclid(STEPS as i64) as usize;
    (
        whole - (N as i64 / 2 - 1),
        table.get(step).copied().unwrap_or([0.0; N]),
    )
}
