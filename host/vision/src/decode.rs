//! Decoding of picture files.

mod bmp;
mod jpeg;
mod markers;
mod orientation;
mod png;
mod reader;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::ImageFormat;

use crate::image::CHANNELS;
use crate::{Budget, BudgetError, DecodeError, Image, Image16, MAX_PIXELS};

/// Limits of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels, width times height. Default [`MAX_PIXELS`], which is also the upper bound.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: MAX_PIXELS,
        }
    }
}

impl DecodeLimits {
    pub(crate) fn check(&self, width: u32, height: u32) -> Result<(), DecodeError> {
        let limit = self.max_pixels.min(MAX_PIXELS);
        let (width, height) = (u64::from(width), u64::from(height));
        if width.saturating_mul(height) > limit {
            return Err(DecodeError::TooLarge {
                width,
                height,
                limit,
            });
        }
        Ok(())
    }
}

/// What [`decode_with`] does besides decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether the picture is turned and flipped as its EXIF orientation says. Default true, as OpenCV's `imread` does.
    pub apply_orientation: bool,
    /// The colour behind transparent pixels. With `None`, alpha is dropped, so that hidden colours show. Default white.
    pub background: Option<[u8; CHANNELS]>,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            apply_orientation: true,
            background: Some([u8::MAX; CHANNELS]),
        }
    }
}

/// Decodes a JPEG or PNG file, recognised by its first bytes. Alpha is dropped, grey becomes RGB, 16 bits become the higher 8, rounded.
/// The size in the header is checked before memory is allocated. An EXIF orientation is not applied. Bytes after the end of the first
/// picture are left out. A JPEG frame without Huffman tables gets those of the standard.
///
/// # Errors
/// [`DecodeError`]: empty, another format, too large, or damaged (cut off, broken); [`DecodeError::Budget`]. After the last scan, a
/// progressive JPEG file is assembled without a check of the deadline, which takes about 10 ns per pixel.
pub fn decode(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let options = DecodeOptions {
        apply_orientation: false,
        background: None,
    };
    decode_format(
        bytes,
        &[Format::Jpeg, Format::Png],
        &options,
        limits,
        budget,
    )
}

/// As [`decode`], also of BMP files, upright and over a background. For 16-bit values, see [`decode_u16`].
///
/// # Errors
/// As [`decode`]. An orientation that turns the picture needs memory for a second one.
pub fn decode_with(
    bytes: &[u8],
    options: &DecodeOptions,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let formats = [Format::Jpeg, Format::Png, Format::Bmp];
    decode_format(bytes, &formats, options, limits, budget)
}

/// The 16-bit values of a PNG file as they are stored: depth in millimetres, for most cameras. Alpha is dropped.
///
/// # Errors
/// [`DecodeError::NotWide`] for a picture of 8 bits or fewer; else as [`decode`].
pub fn decode_u16(
    bytes: &[u8],
    apply_orientation: bool,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image16, DecodeError> {
    match recognise(bytes, &[Format::Jpeg, Format::Png, Format::Bmp])? {
        Format::Png => {}
        Format::Jpeg | Format::Bmp => return Err(DecodeError::NotWide),
    }
    budget.look()?;
    let decoded = caught(png::NAME, || png::wide(bytes, limits, budget))?;
    let orientation = png::orientation(bytes).filter(|_| apply_orientation);
    let Some(orientation) = orientation else {
        return Ok(decoded);
    };
    let channels = decoded.channels();
    let stored = orientation::Rows {
        width: decoded.width(),
        height: decoded.height(),
        bytes: decoded.into_bytes(),
    };
    let shown = orientation::apply(orientation, stored, channels * 2, budget)?;
    Ok(Image16::new(
        shown.width,
        shown.height,
        channels,
        shown.bytes,
    ))
}

fn decode_format(
    bytes: &[u8],
    formats: &[Format],
    options: &DecodeOptions,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let format = recognise(bytes, formats)?;
    budget.look()?;
    let background = options.background;
    let (image, orientation) = caught(format.name(), || match format {
        Format::Jpeg => jpeg::pixels(bytes, limits, budget),
        Format::Png => {
            let image = png::pixels(bytes, background, limits, budget)?;
            Ok((image, png::orientation(bytes)))
        }
        Format::Bmp => Ok((bmp::pixels(bytes, background, limits, budget)?, None)),
    })?;
    let Some(orientation) = orientation.filter(|_| options.apply_orientation) else {
        return Ok(image);
    };
    let stored = orientation::Rows {
        width: image.width(),
        height: image.height(),
        bytes: image.into_pixels(),
    };
    let shown = orientation::apply(orientation, stored, CHANNELS, budget)?;
    Image::from_rgb(shown.width, shown.height, shown.bytes)
        .map_err(|error| damaged(format.name(), error))
}

/// A colour over another one, rounded. 255 is opaque.
fn blend(over: [u8; CHANNELS], alpha: u8, under: [u8; CHANNELS]) -> [u8; CHANNELS] {
    let alpha = u32::from(alpha);
    let [r, g, b] = over;
    let [r0, g0, b0] = under;
    let mix = |over: u8, under: u8| {
        let sum = u32::from(over) * alpha + u32::from(under) * (255 - alpha);
        ((sum + 127) / 255) as u8
    };
    [mix(r, r0), mix(g, g0), mix(b, b0)]
}

fn damaged(
    format: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DecodeError {
    let source = source.into();
    DecodeError::Damaged { format, source }
}

thread_local! {
    /// Whether a panic of this thread becomes a returned error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder and catches its panic: fuzzing found damaged files on which the JPEG decoder panics instead of returning an error.
/// It is not logged, since a camera could fill the journal with damaged files.
fn caught<T>(
    format: &'static str,
    work: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            if !CAUGHT.get() {
                before(about);
            }
        }));
    });
    CAUGHT.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(false);
    result.unwrap_or_else(|panic| {
        Err(match panic.downcast_ref::<BudgetError>() {
            Some(error) => DecodeError::Budget(*error),
            None => damaged(format, "the decoder failed"),
        })
    })
}

/// The format of a file that [`decode_with`] decodes.
pub(crate) fn format_of(bytes: &[u8]) -> Result<PictureFormat, DecodeError> {
    recognise(bytes, &[Format::Jpeg, Format::Png, Format::Bmp])
}

pub(crate) use Format as PictureFormat;
pub(crate) use jpeg::spread;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Bmp,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => jpeg::NAME,
            Self::Png => png::NAME,
            Self::Bmp => bmp::NAME,
        }
    }
}

/// The format of a file, if it is one of `formats`.
fn recognise(bytes: &[u8], formats: &[Format]) -> Result<Format, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let unsupported = |found| Err(DecodeError::Unsupported { found });
    let Ok(found) = image::guess_format(bytes) else {
        return unsupported("of an unknown format".to_owned());
    };
    let format = match found {
        ImageFormat::Jpeg => Some(Format::Jpeg),
        ImageFormat::Png => Some(Format::Png),
        ImageFormat::Bmp => Some(Format::Bmp),
        _ => None,
    };
    match format.filter(|format| formats.contains(format)) {
        Some(format) => Ok(format),
        None => unsupported(format!("{found:?}")),
    }
}
