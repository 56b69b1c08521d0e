//! Where the values of a frame are, to replace some of them.

use super::{RawFormat, RawFrame};
use crate::image::CHANNELS;
use crate::{DecodeError, DecodeLimits};

/// Y, U and V of black.
pub(crate) const BLACK: [u8; CHANNELS] = [16, 128, 128];

/// Y, U and V of a colour: the inverse of what decoding does, with weights of 8 bits.
pub(crate) fn luma_and_chroma(rgb: [u8; CHANNELS]) -> [u8; CHANNELS] {
    let [r, g, b] = rgb.map(i32::from);
    [
        ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16,
        ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128,
        ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128,
    ]
    .map(|value| value.clamp(0, 255) as u8)
}

impl RawFrame {
    /// The layout of the pixels.
    pub(crate) const fn format(&self) -> RawFormat {
        self.format
    }

    /// Width and height in pixels.
    pub(crate) const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Width and height of the pixels that share chroma.
    pub(crate) const fn cell(&self) -> [u32; 2] {
        match self.format {
            RawFormat::Nv12 => [2, 2],
            RawFormat::Yuy2 => [2, 1],
            RawFormat::Gray8 | RawFormat::Rgb => [1, 1],
        }
    }

    /// Checks the size and the number of bytes.
    pub(crate) fn fits(&self, bytes: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
        limits.check(self.width, self.height)?;
        Ok(self.check(bytes)?)
    }

    /// Position of the first byte of a row, counted over all planes.
    const fn row_at(&self, row: usize) -> usize {
        row * self.stride as usize
    }

    /// Sets the bytes that are not part of a pixel to 0.
    pub(crate) fn clear_padding(&self, bytes: &mut [u8]) {
        let (width, height) = (self.width as usize, self.height as usize);
        for (index, row) in bytes.chunks_mut(self.stride as usize).enumerate() {
            let used = match self.format {
                // The rows after those of Y have U and V.
                RawFormat::Nv12 if index < height => width,
                _ => self.format.row_bytes(self.width) as usize,
            };
            row.get_mut(used..).unwrap_or_default().fill(0);
            // The second Y of the last pair is beyond an odd width.
            if self.format == RawFormat::Yuy2
                && width % 2 == 1
                && let Some(beyond) = row.get_mut(used - 2)
            {
                *beyond = 0;
            }
        }
    }

    /// Writes a pixel without its chroma: Y of Y, U and V, else all channels, of which grey takes the first.
    pub(crate) fn put_pixel(&self, bytes: &mut [u8], x: usize, y: usize, colour: [u8; CHANNELS]) {
        let (step, used) = match self.format {
            RawFormat::Nv12 | RawFormat::Gray8 => (1, 1),
            RawFormat::Yuy2 => (2, 1),
            RawFormat::Rgb => (CHANNELS, CHANNELS),
        };
        let at = self.row_at(y) + x * step;
        if let (Some(to), Some(from)) = (bytes.get_mut(at..at + used), colour.get(..used)) {
            to.copy_from_slice(from);
        }
    }

    /// Writes the chroma of the cell that begins with this pixel, where there is one.
    pub(crate) fn put_chroma(&self, bytes: &mut [u8], x: usize, y: usize, [u, v]: [u8; 2]) {
        let [u_at, v_at] = match self.format {
            RawFormat::Nv12 => {
                let at = self.row_at(self.height as usize + y / 2) + x;
                [at, at + 1]
            }
            RawFormat::Yuy2 => {
                let at = self.row_at(y) + x * 2;
                [at + 1, at + 3]
            }
            RawFormat::Gray8 | RawFormat::Rgb => return,
        };
        for (at, value) in [(u_at, u), (v_at, v)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
    }
}
