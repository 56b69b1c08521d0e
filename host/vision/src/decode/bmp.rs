//! BMP files.

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder, ImageError};

use super::reader::Reader;
use super::{DecodeLimits, blend, damaged};
use crate::image::CHANNELS;
use crate::{Budget, DecodeError, Image};

pub(super) const NAME: &str = "BMP";

/// Bytes of the decoder besides rows: the palette.
const STATE_BYTES: u64 = 1 << 13;
/// Bytes of an encoded pixel, at most.
const PIXEL_BYTES: u64 = 4;
/// Channels of a file with alpha.
const RGBA: usize = 4;

pub(super) fn pixels(
    bytes: &[u8],
    background: Option<[u8; CHANNELS]>,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let broken = |error: ImageError| damaged(NAME, error);
    let _state = budget.claim(STATE_BYTES)?;
    let decoder = BmpDecoder::new(Reader::new(bytes, budget)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    let _row = budget.claim(u64::from(width) * PIXEL_BYTES)?;
    let count = width as usize * height as usize;
    let (mut pixels, _claim) = budget.zeros(count * CHANNELS)?;
    if decoder.color_type() == ColorType::Rgba8 {
        let (mut rgba, _rgba) = budget.zeros(count * RGBA)?;
        decoder.read_image(&mut rgba).map_err(broken)?;
        let out = pixels.as_chunks_mut::<CHANNELS>().0;
        for (out, &[r, g, b, alpha]) in out.iter_mut().zip(rgba.as_chunks::<RGBA>().0) {
            *out = background.map_or([r, g, b], |under| blend([r, g, b], alpha, under));
            budget.spend(1)?;
        }
    } else {
        decoder.read_image(&mut pixels).map_err(broken)?;
    }
    Image::from_rgb(width, height, pixels).map_err(|error| damaged(NAME, error))
}
