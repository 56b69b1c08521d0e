//! From pixels to the bytes of a file.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::{Image, VisionError};

/// File formats that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lossy, for photographs. At most 65,535 pixels a side.
    Jpeg,
    /// Lossless.
    Png,
}

/// Encodes a picture. `quality` is 1 to 100 and counts for JPEG only.
///
/// # Errors
/// [`VisionError::Quality`]; [`VisionError::Encode`] if the format cannot hold the size.
pub fn encode(image: &Image, format: Format, quality: u8) -> Result<Vec<u8>, VisionError> {
    let mut bytes = Vec::new();
    let (width, height, rgb) = (image.width(), image.height(), ExtendedColorType::Rgb8);
    let written = match format {
        Format::Jpeg => {
            if !(1..=100).contains(&quality) {
                return Err(VisionError::Quality { quality });
            }
            JpegEncoder::new_with_quality(&mut bytes, quality).write_image(
                image.pixels(),
                width,
                height,
                rgb,
            )
        }
        Format::Png => PngEncoder::new(&mut bytes).write_image(image.pixels(), width, height, rgb),
    };
    written.map_err(|e| VisionError::Encode { source: e.into() })?;
    Ok(bytes)
}
