//! Decoding of picture files.

mod jpeg;
mod png;
mod reader;

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::ImageFormat;

use crate::{Budget, BudgetError, DecodeError, Image, MAX_PIXELS};

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
    fn check(&self, width: u32, height: u32) -> Result<(), DecodeError> {
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

/// Decodes a JPEG or PNG file, recognised by its first bytes. Alpha is dropped, grey becomes RGB, 16 bits become 8.
/// The size in the header is checked before memory is allocated. An EXIF orientation is not applied.
///
/// # Errors
/// [`DecodeError`]: empty, another format, too large, or damaged (cut off, broken); [`DecodeError::Budget`]. After the last scan, a
/// progressive JPEG file is assembled without a check of the deadline, which takes about 10 ns per pixel.
pub fn decode(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = recognise(bytes)?;
    budget.look()?;
    let decoded = caught(|| match format {
        Format::Jpeg => jpeg::pixels(bytes, limits, budget),
        Format::Png => png::pixels(bytes, limits, budget),
    });
    // Fuzzing found damaged files on which the JPEG decoder panics instead of returning an error.
    decoded.unwrap_or_else(|panic| {
        Err(match panic.downcast_ref::<BudgetError>() {
            Some(error) => DecodeError::Budget(*error),
            None => damaged(format.name(), "the decoder failed"),
        })
    })
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

/// Runs `work` and catches its panic. It is not logged, since a camera could fill the journal with damaged files.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
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
    result
}

#[derive(Clone, Copy)]
enum Format {
    Jpeg,
    Png,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => jpeg::NAME,
            Self::Png => png::NAME,
        }
    }
}

fn recognise(bytes: &[u8]) -> Result<Format, DecodeError> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(ImageFormat::Png) => Ok(Format::Png),
        Ok(other) => Err(DecodeError::Unsupported {
            found: format!("{other:?}"),
        }),
        Err(_) => Err(DecodeError::Unsupported {
            found: "of an unknown format".to_owned(),
        }),
    }
}
