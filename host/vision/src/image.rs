//! The picture type, and the size check of every operation.

use crate::VisionError;

/// Most pixels of one picture, or of all pictures that one tensor is made of: 64 Mi (192 MiB of RGB).
pub const MAX_PIXELS: u64 = 64 * 1024 * 1024;

/// Bytes of one RGB pixel.
pub(crate) const CHANNELS: usize = 3;

/// An 8-bit RGB picture: rows from the top, 3 bytes a pixel, no padding. It has at least one pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// Creates a picture from `width * height * 3` bytes.
    ///
    /// # Errors
    /// [`VisionError::NoPixels`], [`VisionError::TooLarge`] over [`MAX_PIXELS`], [`VisionError::WrongLength`].
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, VisionError> {
        let want = byte_count("the picture", width, height)?;
        if pixels.len() == want {
            Ok(Self {
                width,
                height,
                pixels,
            })
        } else {
            let (want, got) = (want as u64, pixels.len() as u64);
            Err(VisionError::WrongLength {
                width,
                height,
                want,
                got,
            })
        }
    }

    /// Pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The RGB bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Bytes of memory that the pixels take.
    pub fn byte_len(&self) -> usize {
        self.pixels.len()
    }

    /// A row, counted from the top; empty past the last one.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        let stride = self.width as usize * CHANNELS;
        let rest = self.pixels.get(y.saturating_mul(stride)..);
        rest.and_then(|rest| rest.get(..stride)).unwrap_or_default()
    }

    /// Rows from the top.
    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.pixels.chunks_exact(self.width as usize * CHANNELS)
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({} x {})", self.width, self.height)
    }
}

/// Bytes of a picture of this size. Fails if it is empty or over [`MAX_PIXELS`].
pub(crate) fn byte_count(
    what: &'static str,
    width: u32,
    height: u32,
) -> Result<usize, VisionError> {
    if width == 0 || height == 0 {
        return Err(VisionError::NoPixels {
            what,
            width,
            height,
        });
    }
    let count = u64::from(width) * u64::from(height);
    if count > MAX_PIXELS {
        return Err(VisionError::TooLarge {
            what,
            width,
            height,
            count,
            limit: MAX_PIXELS,
        });
    }
    Ok(count as usize * CHANNELS) // at most 192 Mi, so it fits
}
