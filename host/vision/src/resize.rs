//! Scaling.

use fast_image_resize as fir;

use crate::image::{CHANNELS, byte_count};
use crate::{Image, VisionError};

/// How a new pixel is made from old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The old pixel whose centre is nearest.
    Nearest,
    /// From the 2 x 2 nearest old pixels, whatever the scale (OpenCV's `INTER_LINEAR`).
    Bilinear,
    /// From the 4 x 4 nearest old pixels, whatever the scale (OpenCV's `INTER_CUBIC`, a = -0.75).
    Bicubic,
    /// The mean of the old pixels whose centres lie under the new one.
    Area,
}

/// The parameter of the cubic convolution kernel (R. Keys, 1981). OpenCV uses the same.
const CUBIC_A: f64 = -0.75;
/// Pixels on each side that the cubic kernel reaches.
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
/// It differs from OpenCV by at most 1 in a channel, since each of the two passes rounds to 8 bits.
///
/// # Errors
/// [`VisionError::NoPixels`], [`VisionError::TooLarge`].
pub fn resize(image: &Image, width: u32, height: u32, filter: Filter) -> Result<Image, VisionError> {
    let len = byte_count("the result", width, height)?;
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| VisionError::Resize { source: e };
    let algorithm = match filter {
        Filter::Nearest => fir::ResizeAlg::Nearest,
        Filter::Bilinear => fir::ResizeAlg::Interpolation(fir::FilterType::Bilinear),
        Filter::Bicubic => {
            let kernel = fir::Filter::new("cubic", cubic, f64::from(CUBIC_REACH)).map_err(|e| failed(e.into()))?;
            fir::ResizeAlg::Interpolation(fir::FilterType::Custom(kernel))
        }
        Filter::Area => fir::ResizeAlg::Convolution(fir::FilterType::Box),
    };
    let mut options = fir::ResizeOptions::new().resize_alg(algorithm);

    // The resizer would give a cubic kernel that reaches past the edge less weight instead of repeating the edge.
    let padded;
    let source = if filter == Filter::Bicubic {
        padded = pad(image, CUBIC_REACH)?;
        let (left, top) = (f64::from(CUBIC_REACH), f64::from(CUBIC_REACH));
        options = options.crop(left, top, f64::from(image.width()), f64::from(image.height()));
        &padded
    } else {
        image
    };

    let mut pixels = vec![0; len];
    let (from_width, from_height) = (source.width(), source.height());
    let from = fir::images::ImageRef::new(from_width, from_height, source.pixels(), fir::PixelType::U8x3)
        .map_err(|e| failed(e.into()))?;
    let mut to = fir::images::Image::from_slice_u8(width, height, &mut pixels, fir::PixelType::U8x3)
        .map_err(|e| failed(e.into()))?;
    fir::Resizer::new().resize(&from, &mut to, &options).map_err(|e| failed(e.into()))?;
    Image::from_rgb(width, height, pixels)
}

/// Repeats the edge pixels `by` times on each side.
fn pad(image: &Image, by: u32) -> Result<Image, VisionError> {
    let (width, height) = (image.width() + 2 * by, image.height() + 2 * by);
    let mut pixels = Vec::with_capacity(byte_count("the picture with its margin", width, height)?);
    let (first, last) = (image.rows().next(), image.rows().next_back());
    let margin = by as usize;
    let above = first.into_iter().cycle().take(margin);
    let below = last.into_iter().cycle().take(margin);
    for row in above.chain(image.rows()).chain(below) {
        let left = row.first_chunk::<CHANNELS>().copied().unwrap_or_default();
        let right = row.last_chunk::<CHANNELS>().copied().unwrap_or_default();
        pixels.extend((0..margin).flat_map(|_| left));
        pixels.extend_from_slice(row);
        pixels.extend((0..margin).flat_map(|_| right));
    }
    Image::from_rgb(width, height, pixels)
}
