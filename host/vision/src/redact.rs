//! Masks burned into the file of a picture, or into a frame without a header.

mod frame;

use thiserror::Error;

use crate::decode::{PictureFormat, format_of, spread};
use crate::encode::{bmp, png16};
use crate::image::CHANNELS;
use crate::mask::{Grid, each_row};
use crate::{
    Budget, BudgetError, DecodeError, DecodeLimits, DecodeOptions, ErrorKind, Fill, Format, Image,
    Mask, RawFrame, Region, VisionError, blur, decode_u16, decode_with, encode,
};

/// Quality of a JPEG file that is encoded again.
const JPEG_QUALITY: u8 = 95;
/// A blur's radius is the longer side of the picture divided by this.
const BLUR_SHARE: u32 = 32;
/// The least radius, in pixels.
const LEAST_BLUR: u32 = 8;

/// Why masks could not be burned in.
#[derive(Debug, Error)]
pub enum RedactError {
    /// The picture could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It could not be blurred or encoded.
    #[error(transparent)]
    Vision(#[from] VisionError),
}

impl From<BudgetError> for RedactError {
    fn from(error: BudgetError) -> Self {
        Self::Decode(error.into())
    }
}

impl RedactError {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Decode(error) => error.kind(),
            Self::Vision(error) => error.kind(),
        }
    }
}

/// A picture of the same format with masks burned into its pixels. Every pixel that a mask touches is replaced, also one that it covers in
/// part. Nothing else of the input is kept but the other pixels: no metadata, thumbnails, further pictures, padding or alpha.
///
/// - A PNG or BMP file has the upright pixels of [`decode_with`], or of [`decode_u16`] if it has 16 bits. 16-bit pixels are black under
///   any mask.
/// - A JPEG file has them too, with quality 95. A mask grows by 8 to 35 pixels (17 in most files), since a lossy file spreads a pixel over
///   its block.
/// - In a frame of `media_type` `video/x-raw`, pixels that share a value with a masked pixel are masked too. All other values stay.
///
/// A blur has a radius of the longer side divided by 32, at least 8 pixels, and is of the smallest rectangle around all blurred masks.
///
/// # Errors
/// [`RedactError`]: it is not a picture, damaged, too large, or the budget was exceeded.
pub fn redact(
    bytes: &[u8],
    media_type: &str,
    masks: &[Mask],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, RedactError> {
    if let Some(frame) = RawFrame::from_media_type(media_type).map_err(DecodeError::from)? {
        return frame::redact(bytes, &frame, masks, limits, budget);
    }
    let format = format_of(bytes)?;
    if format == PictureFormat::Png
        && let Some(file) = wide(bytes, masks, limits, budget)?
    {
        return Ok(file);
    }
    let image = decode_with(bytes, &DecodeOptions::default(), limits, budget)?;
    let reach = match format {
        PictureFormat::Jpeg => spread(bytes),
        PictureFormat::Png | PictureFormat::Bmp => 0,
    };
    let image = burn(image, masks, reach, budget)?;
    let _image = budget.claim(image.byte_len() as u64)?;
    Ok(match format {
        PictureFormat::Jpeg => encode(&image, Format::Jpeg, JPEG_QUALITY, budget)?,
        PictureFormat::Png => encode(&image, Format::Png, JPEG_QUALITY, budget)?,
        PictureFormat::Bmp => bmp(&image, budget)?,
    })
}

/// A PNG file of 16-bit values; `None` if it has fewer bits.
fn wide(
    bytes: &[u8],
    masks: &[Mask],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Option<Vec<u8>>, RedactError> {
    let image = match decode_u16(bytes, true, limits, budget) {
        Ok(image) => image,
        Err(DecodeError::NotWide) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let _image = budget.claim(image.byte_len() as u64)?;
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let mut bytes = image.into_bytes();
    let pixel_bytes = channels * size_of::<u16>();
    let row_bytes = width as usize * pixel_bytes;
    let grid = Grid::of_pixels(width, height, 0);
    each_row(masks, grid, budget, |y, fills| {
        let row = bytes.get_mut(y * row_bytes..).unwrap_or_default();
        for (pixel, fill) in row.chunks_exact_mut(pixel_bytes).zip(fills) {
            if fill.is_some() {
                pixel.fill(0);
            }
        }
        Ok::<_, RedactError>(())
    })?;
    Ok(Some(png16(width, height, channels, &bytes, budget)?))
}

/// Burns masks into a picture.
fn burn(
    image: Image,
    masks: &[Mask],
    reach: u32,
    budget: &Budget<'_>,
) -> Result<Image, RedactError> {
    let _image = budget.claim(image.byte_len() as u64)?;
    let (width, height) = (image.width(), image.height());
    let blurred = blurred(&image, masks, reach, budget)?;
    let _blurred = budget.claim(blurred.as_ref().map_or(0, Image::byte_len) as u64)?;
    let mut pixels = image.into_pixels();
    let row_bytes = width as usize * CHANNELS;
    let grid = Grid::of_pixels(width, height, reach);
    each_row(masks, grid, budget, |y, fills| {
        let row = pixels.get_mut(y * row_bytes..).unwrap_or_default();
        let row = row.as_chunks_mut::<CHANNELS>().0;
        let from = blurred.as_ref().map(|it| it.row(y)).unwrap_or_default();
        let from = from.as_chunks::<CHANNELS>().0;
        for (x, (pixel, fill)) in row.iter_mut().zip(fills).enumerate() {
            match fill {
                None => {}
                Some(Fill::Black) => *pixel = [0; CHANNELS],
                Some(Fill::Blur) => *pixel = from.get(x).copied().unwrap_or_default(),
            }
        }
        Ok::<_, RedactError>(())
    })?;
    Ok(Image::from_rgb(width, height, pixels)?)
}

/// The picture, blurred in the smallest rectangle around all blurred masks. `None` if there are none.
fn blurred(
    image: &Image,
    masks: &[Mask],
    reach: u32,
    budget: &Budget<'_>,
) -> Result<Option<Image>, RedactError> {
    let to_blur = masks.iter().filter(|mask| mask.fill == Fill::Blur);
    let corners = to_blur.flat_map(|mask| &mask.polygon);
    let bounds = corners.fold(None, |bounds: Option<[f64; 4]>, [x, y]| {
        let [left, top, right, bottom] = bounds.unwrap_or([*x, *y, *x, *y]);
        Some([left.min(*x), top.min(*y), right.max(*x), bottom.max(*y)])
    });
    let Some([left, top, right, bottom]) = bounds else {
        return Ok(None);
    };
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    // More than the mask may touch, since `f32` rounds.
    let margin = f64::from(reach) + 2.0 + width.max(height) * 1e-6;
    let (x, y) = (left * width - margin, top * height - margin);
    let region = Region {
        x: x as f32,
        y: y as f32,
        width: (right * width + margin - x) as f32,
        height: (bottom * height + margin - y) as f32,
    };
    let radius = (image.width().max(image.height()) / BLUR_SHARE).max(LEAST_BLUR);
    Ok(Some(blur(image, &[region], radius, budget)?))
}
