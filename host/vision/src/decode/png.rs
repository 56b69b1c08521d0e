//! PNG files, decoded row by row, so that there is no second copy of the picture.

use ::png::{BitDepth, Decoder, DecodingError, Info, InterlaceInfo, Limits};
use ::png::{Transformations, expand_interlaced_row};

use image::metadata::Orientation;

use super::reader::Reader;
use super::{DecodeLimits, blend, damaged};
use crate::image::CHANNELS;
use crate::{Budget, DecodeError, Image, Image16};

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

/// What the rows of a file become.
#[derive(Clone, Copy)]
enum Target {
    /// 8-bit RGB, over a background where there is one.
    Rgb { background: Option<[u8; CHANNELS]> },
    /// The stored 16-bit values, big-endian, without alpha.
    Wide,
}

impl Target {
    const fn pixel_bytes(self, shape: &Shape) -> usize {
        match self {
            Self::Rgb { .. } => CHANNELS,
            Self::Wide => shape.colours() * 2,
        }
    }

    /// Converts a row, up to the shorter one of both.
    fn convert(self, shape: &Shape, row: &[u8], out: &mut [u8]) {
        match self {
            Self::Rgb { background } => shape.to_rgb(row, out, background),
            Self::Wide => shape.drop_alpha(row, out),
        }
    }
}

/// Rows of pixels without padding.
struct Rows {
    width: u32,
    height: u32,
    pixel_bytes: usize,
    bytes: Vec<u8>,
}

/// 8-bit RGB. Without a background, alpha is dropped.
pub(super) fn pixels(
    bytes: &[u8],
    background: Option<[u8; CHANNELS]>,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    let rows = read(bytes, Target::Rgb { background }, limits, budget)?;
    Image::from_rgb(rows.width, rows.height, rows.bytes).map_err(|error| damaged(NAME, error))
}

/// The stored 16-bit values.
pub(super) fn wide(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image16, DecodeError> {
    let rows = read(bytes, Target::Wide, limits, budget)?;
    let channels = rows.pixel_bytes / 2;
    Ok(Image16::new(rows.width, rows.height, channels, rows.bytes))
}

/// The orientation in the first EXIF chunk, wherever it is.
pub(super) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let exif = chunks(bytes).find(|(kind, _)| kind == EXIF)?.1;
    Orientation::from_exif_chunk(exif)
}

fn read(
    bytes: &[u8],
    target: Target,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Rows, DecodeError> {
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
    if matches!(target, Target::Wide) && !shape.wide {
        return Err(DecodeError::NotWide);
    }
    let pixel_bytes = target.pixel_bytes(&shape);
    let stride = width as usize * pixel_bytes;
    let (mut pixels, _claim) = budget.zeros(stride * height as usize)?;
    let line_bytes = reader.output_line_size(width).unwrap_or_default();
    if interlaced {
        let (mut line, _line) = budget.zeros(line_bytes)?;
        let (mut converted, _converted) = budget.zeros(stride)?;
        while let Some(row) = reader.read_row(&mut line).map_err(broken)? {
            if let InterlaceInfo::Adam7(place) = &row {
                target.convert(&shape, &line, &mut converted);
                let bits = 8 * pixel_bytes as u8; // at most 48
                expand_interlaced_row(&mut pixels, stride, &converted, place, bits);
            }
            budget.spend(width.into())?;
        }
    } else {
        let plain = line_bytes == stride;
        let (mut line, _line) = budget.zeros(if plain { 0 } else { line_bytes })?;
        for row in pixels.chunks_exact_mut(stride) {
            let into = if plain {
                &mut *row
            } else {
                line.as_mut_slice()
            };
            reader.read_row(into).map_err(broken)?;
            if !plain {
                target.convert(&shape, &line, row);
            }
            budget.spend(width.into())?;
        }
        // The bytes after the last row have a checksum too.
        reader.read_row(&mut []).map_err(broken)?;
    }
    Ok(Rows {
        width,
        height,
        pixel_bytes,
        bytes: pixels,
    })
}

/// Bytes of the decoder for encoded rows.
fn row_bytes(info: &Info<'_>) -> u64 {
    let bits = u64::from(info.width).saturating_mul(info.bits_per_pixel() as u64);
    let row = bits.div_ceil(8).saturating_add(1); // one says how the row is filtered
    // The passes of an interlaced picture have shorter rows, but slightly more of them.
    let rows = u64::from(info.height) + u64::from(info.interlaced);
    row.saturating_mul(rows.min(KEPT_ROWS) * GROWTH)
}

/// Type of an EXIF chunk.
const EXIF: &[u8; 4] = b"eXIf";

/// Bytes of all EXIF chunks, which the decoder always keeps.
fn exif_bytes(bytes: &[u8]) -> u64 {
    let lengths = chunks(bytes).filter(|(kind, _)| kind == EXIF);
    lengths.map(|(_, data)| data.len() as u64).sum()
}

/// Type and data of each chunk. The data of a chunk that is cut off are what there is of it.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[a, b, c, d, kind @ ..], data) = rest.split_first_chunk::<8>()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let chunk = length.saturating_add(CHUNK_FRAME_BYTES);
        rest = rest.get(chunk..).unwrap_or_default();
        Some((kind, data.get(..length).unwrap_or(data)))
    })
}

/// The pixel format of the decoder.
struct Shape {
    /// 1 to 4: grey, grey and alpha, RGB, RGB and alpha.
    channels: usize,
    /// 16 bits a channel, the higher byte first.
    wide: bool,
}

impl Shape {
    /// Channels besides alpha.
    const fn colours(&self) -> usize {
        if self.channels < CHANNELS {
            1
        } else {
            CHANNELS
        }
    }

    fn to_rgb(&self, row: &[u8], out: &mut [u8], background: Option<[u8; CHANNELS]>) {
        let out = out.as_chunks_mut::<CHANNELS>().0;
        let eight = |[high, low]: [u8; 2]| {
            // Rounded: 65,535 is 257 times 255.
            let value = u32::from(u16::from_be_bytes([high, low]));
            ((value + 128) / 257) as u8
        };
        let over = |rgb, alpha| background.map_or(rgb, |under| blend(rgb, alpha, under));
        match (self.channels, self.wide) {
            (1, false) => each(row, out, |&[grey]: &[u8; 1]| [grey; CHANNELS]),
            (2, false) => each(row, out, |&[grey, alpha]| over([grey; CHANNELS], alpha)),
            (3, false) => each(row, out, |&rgb: &[u8; 3]| rgb),
            (_, false) => each(row, out, |&[r, g, b, alpha]| over([r, g, b], alpha)),
            (1, true) => each(row, out, |&grey: &[u8; 2]| [eight(grey); CHANNELS]),
            (2, true) => each(row, out, |&[a, b, high, low]| {
                over([eight([a, b]); CHANNELS], eight([high, low]))
            }),
            (3, true) => each(row, out, |&[a, b, c, d, e, f]| {
                [eight([a, b]), eight([c, d]), eight([e, f])]
            }),
            (_, true) => each(row, out, |&[a, b, c, d, e, f, high, low]| {
                let rgb = [eight([a, b]), eight([c, d]), eight([e, f])];
                over(rgb, eight([high, low]))
            }),
        }
    }

    fn drop_alpha(&self, row: &[u8], out: &mut [u8]) {
        let (from, to) = (self.channels * 2, self.colours() * 2);
        for (pixel, out) in row.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            out.copy_from_slice(pixel.get(..to).unwrap_or_default());
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
