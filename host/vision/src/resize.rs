//! Scaling.

use fast_image_resize as fir;
use fast_image_resize::pixels::U16x3;

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
/// It differs from OpenCV by at most 1 in a channel, since the bilinear filter rounds to 8 bits twice.
///
/// # Errors
/// [`VisionError::NoPixels`], [`VisionError::TooLarge`].
pub fn resize(
    image: &Image,
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<Image, VisionError> {
    let len = byte_count("the result", width, height)?;
    let algorithm = match filter {
        Filter::Nearest => fir::ResizeAlg::Nearest,
        Filter::Bilinear => fir::ResizeAlg::Interpolation(fir::FilterType::Bilinear),
        Filter::Bicubic => return resize_cubic(image, width, height),
        Filter::Area => fir::ResizeAlg::Convolution(fir::FilterType::Box),
    };
    let options = fir::ResizeOptions::new().resize_alg(algorithm);
    let mut pixels = vec![0; len];
    let from = fir::images::ImageRef::new(
        image.width(),
        image.height(),
        image.pixels(),
        fir::PixelType::U8x3,
    );
    let to = fir::images::Image::from_slice_u8(width, height, &mut pixels, fir::PixelType::U8x3);
    let (from, mut to) = (from.map_err(failed)?, to.map_err(failed)?);
    fir::Resizer::new()
        .resize(&from, &mut to, &options)
        .map_err(failed)?;
    Image::from_rgb(width, height, pixels)
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VisionError {
    VisionError::Resize {
        source: error.into(),
    }
}

/// A cubic kernel has negative weights, so that sums go below 0 and above 255 between the two passes. 16 bits hold them:
/// a channel's value is `UNIT` steps, and 0 lies at `ZERO`.
const UNIT: u16 = 128;
/// See [`UNIT`]. It leaves room for 64 below 0, and the cubic kernel goes to 48 at most.
const ZERO: u16 = 64 * UNIT;

fn resize_cubic(image: &Image, width: u32, height: u32) -> Result<Image, VisionError> {
    let kernel = fir::Filter::new("cubic", cubic, f64::from(CUBIC_REACH)).map_err(failed)?;
    let margin = f64::from(CUBIC_REACH);
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Interpolation(fir::FilterType::Custom(
            kernel,
        )))
        .crop(
            margin,
            margin,
            f64::from(image.width()),
            f64::from(image.height()),
        );
    let (from_width, from_height, padded) = widen(image)?;
    let from = fir::images::TypedImageRef::new(from_width, from_height, &padded).map_err(failed)?;
    let mut to = fir::images::TypedImage::<U16x3>::new(width, height);
    fir::Resizer::new()
        .resize_typed(&from, &mut to, &options)
        .map_err(failed)?;
    let narrow = |wide: u16| (wide.saturating_sub(ZERO - UNIT / 2) / UNIT).min(255) as u8;
    Image::from_rgb(
        width,
        height,
        to.pixels()
            .iter()
            .flat_map(|pixel| pixel.0.map(narrow))
            .collect(),
    )
}

/// The picture in 16 bits, its edge pixels repeated on each side: the resizer would give a kernel that reaches past the edge
/// less weight instead.
fn widen(image: &Image) -> Result<(u32, u32, Vec<U16x3>), VisionError> {
    let (width, height) = (
        image.width() + 2 * CUBIC_REACH,
        image.height() + 2 * CUBIC_REACH,
    );
    let len = byte_count("the picture with its margin", width, height)? / CHANNELS;
    let margin = CUBIC_REACH as usize;
    let wide =
        |pixel: [u8; CHANNELS]| U16x3::new(pixel.map(|value| u16::from(value) * UNIT + ZERO));
    let edge = |row: Option<_>| row.into_iter().cycle().take(margin);
    let mut pixels = Vec::with_capacity(len);
    for row in edge(image.rows().next())
        .chain(image.rows())
        .chain(edge(image.rows().next_back()))
    {
        let row = row.as_chunks::<CHANNELS>().0;
        let edge = |pixel: Option<&[u8; CHANNELS]>| pixel.copied().into_iter().cycle().take(margin);
        let all = edge(row.first())
            .chain(row.iter().copied())
            .chain(edge(row.last()));
        pixels.extend(all.map(wide));
    }
    Ok((width, height, pixels))
}
