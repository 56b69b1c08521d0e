//! PNG files, decoded row by row, so that there is no second copy of the picture.

use ::png::{BitDepth, ColorType, Decoder, DecodingError, Info, InterlaceInfo, Limits};
use ::png::{Transformations, expand_interlaced_row};

use super::reader::Reader;
use super::{DecodeLimits, damaged};
use crate::image::CHANNELS;
use crate::{Budget, DecodeError, Image};

pub(super) const NAME: &str = "PNG";

/// Bytes of the decoder besides rows: the window and tables of inflate, and its initial buffer.
const STATE_BYTES: u64 = 1 << 18;
/// Rows in the decoder's buffer before it is compacted: 4, the previous, the current, and the next one.
const KEPT_ROWS: u64 = 7;
/// A growing list has up to twice the needed capacity.
const GROWTH: u64 = 2;
/// Copies of an EXIF chunk in the decoder: its buffer, with spare capacity, and the stored chunk.
const EXIF_COPIES: u64 = 4;
/// Bytes of the signature, and those of a chunk around its data: length, type, checksum.
const SIGNATURE_BYTES: usize = 8;
const CHUNK_FRAME_BYTES: usize = 12;

pub(super) fn pixels(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let broken = |error: DecodingError| damaged(NAME, error);
    let _state = budget.claim(STATE_BYTES.saturating_add(exif_bytes(bytes) * EXIF_COPIES))?;
    // The decoder has its own limit, which is counted here.
    let unlimited = Limits { bytes: usize::MAX };
    let mut decoder = Decoder::new_with_limits(Reader::new(bytes, budget), unlimited);
    // A small profile or text chunk may inflate to gigabytes.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let info = decoder.read_header_info().map_err(broken)?;
    let ((width, height), interlaced) = (info.size(), info.interlaced);
    limits.check(width, height)?;
    let _rows = budget.claim(row_bytes(info))?;
    let mut reader = decoder.read_info().map_err(broken)?;

    let (colour, depth) = reader.output_color_type();
    let shape = Shape {
        channels: colour.samples(),
        wide: depth == BitDepth::Sixteen,
    };
    let stride = width as usize * CHANNELS;
    let (mut pixels, _claim) = budget.zeros(stride * height as usize)?;
    let line_bytes = reader.output_line_size(width).unwrap_or_default();
    if interlaced {
        let (mut line, _line) = budget.zeros(line_bytes)?;
        let (mut rgb, _rgb) = budget.zeros(stride)?;
        while let Some(row) = reader.read_row(&mut line).map_err(broken)? {
            if let InterlaceInfo::Adam7(place) = &row {
                shape.convert(&line, &mut rgb);
                let bits = 8 * CHANNELS as u8;
                expand_interlaced_row(&mut pixels, stride, &rgb, place, bits);
            }
            budget.spend(width.into())?;
        }
    } else {
        let plain = colour == ColorType::Rgb && !shape.wide;
        let (mut line, _line) = budget.zeros(if plain { 0 } else { line_bytes })?;
        for row in pixels.chunks_exact_mut(stride) {
            let into = if plain {
                &mut *row
            } else {
                line.as_mut_slice()
            };
            reader.read_row(into).map_err(broken)?;
            if !plain {
                shape.convert(&line, row);
            }
            budget.spend(width.into())?;
        }
        // The bytes after the last row have a checksum too.
        reader.read_row(&mut []).map_err(broken)?;
    }
    Image::from_rgb(width, height, pixels).map_err(|error| damaged(NAME, error))
}

/// Bytes of the decoder for encoded rows.
fn row_bytes(info: &Info<'_>) -> u64 {
    let bits = u64::from(info.width).saturating_mul(info.bits_per_pixel() as u64);
    let row = bits.div_ceil(8).saturating_add(1); // one says how the row is filtered
    // The passes of an interlaced picture have shorter rows, but slightly more of them.
    let rows = u64::from(info.height) + u64::from(info.interlaced);
    row.saturating_mul(rows.min(KEPT_ROWS) * GROWTH)
}

/// Bytes of all EXIF chunks, which the decoder always keeps.
fn exif_bytes(bytes: &[u8]) -> u64 {
    let mut rest = bytes.get(SIGNATURE_BYTES..).unwrap_or_default();
    let mut sum = 0_u64;
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if &kind == b"eXIf" {
            sum += u64::from(length).min(rest.len() as u64);
        }
        let chunk = (length as usize).saturating_add(CHUNK_FRAME_BYTES);
        rest = rest.get(chunk..).unwrap_or_default();
    }
    sum
}

/// The pixel format of the decoder.
struct Shape {
    /// 1 to 4: grey, grey and alpha, RGB, RGB and alpha.
    channels: usize,
    /// 16 bits a channel, the higher byte first.
    wide: bool,
}

impl Shape {
    /// Converts a row to 8-bit RGB, up to the shorter one of both.
    fn convert(&self, row: &[u8], out: &mut [u8]) {
        let out = out.as_chunks_mut::<CHANNELS>().0;
        let eight = |[high, low]: [u8; 2]| {
            // Rounded: 65,535 is 257 times 255.
            let value = u32::from(u16::from_be_bytes([high, low]));
            ((value + 128) / 257) as u8
        };
        match (self.channels, self.wide) {
            (1, false) => each(row, out, |&[grey]: &[u8; 1]| [grey; CHANNELS]),
            (2, false) => each(row, out, |&[grey, _]| [grey; CHANNELS]),
            (3, false) => each(row, out, |&rgb: &[u8; 3]| rgb),
            (_, false) => each(row, out, |&[r, g, b, _]| [r, g, b]),
            (1, true) => each(row, out, |&grey: &[u8; 2]| [eight(grey); CHANNELS]),
            (2, true) => each(row, out, |&[a, b, _, _]| [eight([a, b]); CHANNELS]),
            (3, true) => each(row, out, |&[a, b, c, d, e, f]| {
                [eight([a, b]), eight([c, d]), eight([e, f])]
            }),
            (_, true) => each(row, out, |&[a, b, c, d, e, f, _, _]| {
                [eight([a, b]), eight([c, d]), eight([e, f])]
            }),
        }
    }
}

fn each<const N: usize>(
    row: &[u8],
    out: &mut [[u8; CHANNELS]],
    rgb: impl Fn(&[u8; N]) -> [u8; CHANNELS],
) {
    for (out, pixel) in out.iter_mut().zip(row.as_chunks::<N>().0) {
        *out = rgb(pixel);
    }
}
