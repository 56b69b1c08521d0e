//! From the bytes of a file to pixels.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::image::CHANNELS;
use crate::{DecodeError, Image, MAX_PIXELS};

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels, width times height. Default [`MAX_PIXELS`], which is also the highest value that counts.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: MAX_PIXELS,
        }
    }
}

/// Bytes a pixel that a decoder may hold: 16-bit RGBA.
const DECODER_BYTES_PER_PIXEL: u64 = 8;
/// Bytes that a decoder may hold beside the pixels: rows, tables, text chunks.
const DECODER_BYTES_EXTRA: u64 = 16 * 1024 * 1024;

/// Decodes a JPEG or PNG file, told apart by its first bytes. Alpha is dropped, grey becomes RGB, 16 bits become 8.
/// The size is read from the header and checked before memory is taken for it. An EXIF orientation is not applied.
///
/// # Errors
/// [`DecodeError`]: empty, another format, too large, or damaged (cut off, broken).
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let (format, name) = recognise(bytes)?;
    let damaged = |source: Box<dyn std::error::Error + Send + Sync>| DecodeError::Damaged {
        format: name,
        source,
    };

    let limit = limits.max_pixels.min(MAX_PIXELS);
    // The header alone, before the decoder wants to see what follows it.
    if let Ok(size) = imagesize::blob_size(bytes) {
        check_size(size.width as u64, size.height as u64, limit)?;
    }

    // Fuzzing found damaged files on which the JPEG decoder panics, where it should return an error.
    let decoded = caught(|| pixels(bytes, format, limit));
    let decoded = decoded.unwrap_or_else(|| Err(Undecoded::Damaged("the decoder gave up".into())));
    decoded.map_err(|why| match why {
        Undecoded::Damaged(source) => damaged(source),
        Undecoded::Refused(error) => error,
    })
}

thread_local! {
    /// Is a panic of this thread an error that will be returned?
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, unless it panics. Nothing is printed about that: a camera could fill the journal with damaged files.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
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
    result.ok()
}

/// Why a decoder made no picture.
enum Undecoded {
    Damaged(Box<dyn std::error::Error + Send + Sync>),
    Refused(DecodeError),
}

fn pixels(bytes: &[u8], format: ImageFormat, limit: u64) -> Result<Image, Undecoded> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(
        limit
            .saturating_mul(DECODER_BYTES_PER_PIXEL)
            .saturating_add(DECODER_BYTES_EXTRA),
    );
    reader.limits(memory);

    let decoder = reader
        .into_decoder()
        .map_err(|e| Undecoded::Damaged(e.into()))?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), limit).map_err(Undecoded::Refused)?;
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(Undecoded::Damaged(
            "the end-of-image marker is missing".into(),
        ));
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(|e| Undecoded::Damaged(e.into()))?;
    Image::from_rgb(width, height, into_rgb(picture)).map_err(|e| Undecoded::Damaged(e.into()))
}

fn check_size(width: u64, height: u64, limit: u64) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > limit {
        return Err(DecodeError::TooLarge {
            width,
            height,
            limit,
        });
    }
    Ok(())
}

fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), DecodeError> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, "PNG")),
        Ok(other) => Err(DecodeError::Unsupported {
            found: format!("{other:?}"),
        }),
        Err(_) => Err(DecodeError::Unsupported {
            found: "of no known format".to_owned(),
        }),
    }
}

/// Whether the last scan is closed. The decoder itself fills what is missing with grey. Inside a scan, 0xFF is always
/// followed by 0x00 or a restart marker, so that the two markers looked for cannot be picture data.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xFF, 0xDA];
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last(END_OF_IMAGE) > last(START_OF_SCAN)
}

fn into_rgb(picture: DynamicImage) -> Vec<u8> {
    match picture {
        DynamicImage::ImageRgb8(p) => p.into_raw(),
        DynamicImage::ImageLuma8(p) => p
            .as_raw()
            .iter()
            .flat_map(|&grey| [grey; CHANNELS])
            .collect(),
        DynamicImage::ImageLumaA8(p) => p
            .as_raw()
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|&[grey, _]| [grey; CHANNELS])
            .collect(),
        DynamicImage::ImageRgba8(p) => p
            .as_raw()
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|&[r, g, b, _]| [r, g, b])
            .collect(),
        other => other.into_rgb8().into_raw(),
    }
}
