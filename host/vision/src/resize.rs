//! Scaling.

mod passes;

use fast_image_resize as fir;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U16x3};

use self::passes::{Axis, Kernel, Plan, SLICE_PRODUCTS, failed};
use crate::cut::SLICE_PIXELS;
use crate::image::{CHANNELS, byte_count};
use crate::{Budget, Image, VisionError};

/// Interpolation filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The nearest old pixel.
    Nearest,
    /// Bilinear, from the 2 x 2 nearest old pixels at any scale (OpenCV's `INTER_LINEAR`).
    Bilinear,
    /// Bicubic, from the 4 x 4 nearest old pixels at any scale (OpenCV's `INTER_CUBIC`, a = -0.75).
    Bicubic,
    /// The mean of the old pixels whose centres are within the new one.
    Area,
}

/// The parameter of the cubic convolution kernel (R. Keys, 1981). OpenCV uses the same.
const CUBIC_A: f64 = -0.75;
/// Radius of the cubic kernel in pixels.
const CUBIC_REACH: u32 = 2;

/// Weight of a pixel at a distance of `x` pixels: the cubic convolution kernel of R. Keys, 1981.
pub(crate) fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        CUBIC_A * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

/// Scales to exactly `width` x `height`. Pixel centres are at half-integers; past the edge, the edge pixels are repeated.
/// It differs from OpenCV by at most 1 in a channel, since the bilinear filter rounds to 8 bits twice.
///
/// # Errors
/// [`VisionError::NoPixels`], [`VisionError::TooLarge`], [`VisionError::Budget`].
pub fn resize(
    image: &Image,
    width: u32,
    height: u32,
    filter: Filter,
    budget: &Budget<'_>,
) -> Result<Image, VisionError> {
    budget.look()?;
    let len = byte_count("the result", width, height)?;
    let (mut pixels, _claim) = budget.zeros(len)?;
    if (width, height) == (image.width(), image.height()) {
        pixels.copy_from_slice(image.pixels());
        return Image::from_rgb(width, height, pixels);
    }
    match filter {
        Filter::Nearest => nearest(image, width, height, &mut pixels, budget)?,
        Filter::Bilinear => smooth(image, width, height, BILINEAR, &mut pixels, budget)?,
        Filter::Area => smooth(image, width, height, AREA, &mut pixels, budget)?,
        Filter::Bicubic => resize_cubic(image, width, height, &mut pixels, budget)?,
    }
    Image::from_rgb(width, height, pixels)
}

const BILINEAR: Kernel = Kernel {
    algorithm: fir::ResizeAlg::Interpolation(fir::FilterType::Bilinear),
    reach: 1.0,
    grows: false,
};
const AREA: Kernel = Kernel {
    algorithm: fir::ResizeAlg::Convolution(fir::FilterType::Box),
    reach: 0.5,
    grows: true,
};

/// The old pixel under the centre of each new one.
fn nearest(
    image: &Image,
    width: u32,
    height: u32,
    pixels: &mut [u8],
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    let across = f64::from(image.width()) / f64::from(width);
    let down = f64::from(image.height()) / f64::from(height);
    let last = image.height() as usize - 1;
    let mut y = down * 0.5;
    for row in pixels.chunks_exact_mut(width as usize * CHANNELS) {
        let old = image.row((y as usize).min(last));
        let old = old.as_chunks::<CHANNELS>().0;
        y += down;
        let new = row.as_chunks_mut::<CHANNELS>().0;
        for (slice, part) in new.chunks_mut(SLICE_PIXELS).enumerate() {
            for (x, pixel) in (slice * SLICE_PIXELS..).zip(part.iter_mut()) {
                let x = (across * 0.5 + across * x as f64) as usize;
                *pixel = old.get(x).or(old.last()).copied().unwrap_or_default();
            }
            budget.spend(part.len() as u64)?;
        }
    }
    Ok(())
}

/// Resizes with kernels that stay within 8 bits between the two passes.
fn smooth(
    image: &Image,
    width: u32,
    height: u32,
    kernel: Kernel,
    pixels: &mut [u8],
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    let from = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.pixels());
    let mut to = TypedImage::<U8x3>::from_buffer(width, height, pixels).map_err(failed)?;
    let plan = Plan {
        x: Axis::new(image.width(), width, 0),
        y: Axis::new(image.height(), height, 0),
        kernel,
        down_first: true, // faster with 8 bits
        slice: SLICE_PRODUCTS,
    };
    plan.run(from.map_err(failed)?.pixels(), to.pixels_mut(), budget)
}

/// A cubic kernel has negative weights, so that sums go below 0 and above 255 between the two passes. So they have 16 bits:
/// a channel's value is `UNIT` steps, and 0 is at `ZERO`.
const UNIT: u16 = 128;
/// See [`UNIT`]. It leaves room for 64 below 0, and the cubic kernel goes to 48 at most.
const ZERO: u16 = 64 * UNIT;

fn resize_cubic(
    image: &Image,
    width: u32,
    height: u32,
    pixels: &mut [u8],
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    let reach = f64::from(CUBIC_REACH);
    let cubic = fir::Filter::new("cubic", cubic, reach).map_err(failed)?;
    let plan = Plan {
        x: Axis::new(image.width(), width, CUBIC_REACH),
        y: Axis::new(image.height(), height, CUBIC_REACH),
        kernel: Kernel {
            algorithm: fir::ResizeAlg::Interpolation(fir::FilterType::Custom(cubic)),
            reach,
            grows: false,
        },
        down_first: false,
        slice: SLICE_PRODUCTS,
    };
    let (from_width, from_height) = (plan.x.padded(), plan.y.padded());
    let len = byte_count("the picture with its margin", from_width, from_height)? / CHANNELS;
    let (mut wide, _wide) = budget.list(len)?;
    widen(image, plan.x.margin, plan.y.margin, &mut wide, budget)?;
    let (mut scaled, _scaled) = budget.zeros::<U16x3>(pixels.len() / CHANNELS)?;
    plan.run(&wide, &mut scaled, budget)?;
    let narrow = |wide: u16| (wide.saturating_sub(ZERO - UNIT / 2) / UNIT).min(255) as u8;
    let new = pixels.as_chunks_mut::<CHANNELS>().0;
    for (new, scaled) in new
        .chunks_mut(SLICE_PIXELS)
        .zip(scaled.chunks(SLICE_PIXELS))
    {
        for (pixel, wide) in new.iter_mut().zip(scaled) {
            *pixel = wide.0.map(narrow);
        }
        budget.spend(new.len() as u64)?;
    }
    Ok(())
}

/// The picture in 16 bits, its edge pixels repeated on each side that has a margin: the resizer would reduce the weight of a kernel that
/// extends past the edge instead.
fn widen(
    image: &Image,
    across: u32,
    down: u32,
    pixels: &mut Vec<U16x3>,
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    let wide =
        |pixel: [u8; CHANNELS]| U16x3::new(pixel.map(|value| u16::from(value) * UNIT + ZERO));
    let edge = |row: Option<_>| row.into_iter().cycle().take(down as usize);
    for row in edge(image.rows().next())
        .chain(image.rows())
        .chain(edge(image.rows().next_back()))
    {
        let row = row.as_chunks::<CHANNELS>().0;
        let edge = |pixel: Option<&[u8; CHANNELS]>| {
            let pixel = pixel.copied();
            pixel.into_iter().cycle().take(across as usize)
        };
        pixels.extend(edge(row.first()).map(wide));
        for slice in row.chunks(SLICE_PIXELS) {
            pixels.extend(slice.iter().copied().map(wide));
            budget.spend(slice.len() as u64)?;
        }
        pixels.extend(edge(row.last()).map(wide));
    }
    Ok(())
}
