//! JPEG files.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::markers::Markers;
use super::reader::Reader;
use super::{DecodeLimits, damaged};
use crate::image::CHANNELS;
use crate::{Budget, DecodeError, Image};

pub(super) const NAME: &str = "JPEG";

/// Most scans of a progressive file. A scan of a few bytes may cover the whole picture.
const MAX_SCANS: usize = 100;
/// Copies of metadata in the decoder: the segments, and their concatenation.
const METADATA_COPIES: u64 = 2;
/// Bytes of the decoder besides rows: code tables.
const STATE_BYTES: u64 = 1 << 17;

/// The pixels as they are stored, and the EXIF orientation.
pub(super) fn pixels(
    bytes: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<(Image, Option<Orientation>), DecodeError> {
    let broken = |error: DecodeErrors| damaged(NAME, error);
    let markers = Markers::read(bytes);
    // A phone appends a film, a camera's buffer the rest of an older frame. The decoder would take markers in it for those of the picture.
    let bytes = markers
        .end
        .map_or(bytes, |end| bytes.get(..end).unwrap_or(bytes));
    let completed = markers.with_tables(bytes, budget)?;
    let (bytes, _completed) = match &completed {
        Some((bytes, claim)) => (bytes.as_slice(), Some(claim)),
        None => (bytes, None),
    };
    let frame = Frame::read(bytes);
    if let Some(frame) = &frame {
        limits.check(frame.width.into(), frame.height.into())?;
    }
    let metadata = bytes.len() as u64 * METADATA_COPIES;
    let _state = budget.claim(STATE_BYTES + metadata)?;
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Reader::new(bytes, budget), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32); // both have 16 bits
    limits.check(width, height)?;
    let orientation = decoder.exif().map(Vec::as_slice);
    let orientation = orientation.and_then(Orientation::from_exif_chunk);
    if markers.end.is_none() {
        return Err(damaged(NAME, "the end-of-image marker is missing"));
    }
    let frame = frame.filter(|it| (it.width.into(), it.height.into()) == (width, height));
    let frame = frame.unwrap_or_else(|| Frame::largest(width, height));
    let _rows = budget.claim(frame.decoder_bytes())?;

    let count = width as usize * height as usize;
    let (mut pixels, _claim) = budget.zeros(count * CHANNELS)?;
    if decoder.input_colorspace() == Some(ColorSpace::Luma) {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        // The grey pixels are at the end and are expanded from the beginning, so that none is overwritten before it is read.
        let greys = pixels.split_at_mut(count * (CHANNELS - 1)).1;
        decoder.decode_into(greys).map_err(broken)?;
        for index in 0..count {
            let grey = pixels.get(count * (CHANNELS - 1) + index).copied();
            let at = index * CHANNELS;
            if let (Some(grey), Some(rgb)) = (grey, pixels.get_mut(at..at + CHANNELS)) {
                rgb.fill(grey);
            }
        }
    } else {
        decoder.decode_into(&mut pixels).map_err(broken)?;
    }
    budget.look()?;
    let image = Image::from_rgb(width, height, pixels).map_err(|error| damaged(NAME, error))?;
    Ok((image, orientation))
}

/// How far the file spreads the value of a pixel, in pixels: over a block of 8 x 8 samples at the lowest sampling rate, and what
/// upsampling takes of the next block. The most that is possible if the headers do not say.
pub(crate) fn spread(bytes: &[u8]) -> u32 {
    const LARGEST_FACTOR: u64 = 4;
    let frame = Frame::read(bytes);
    let factors = frame.iter().flat_map(|frame| &frame.sampling);
    let largest = factors.map(|(across, down)| *across.max(down)).max();
    let largest = largest.filter(|it| (1..=LARGEST_FACTOR).contains(it));
    let factor = largest.unwrap_or(LARGEST_FACTOR) as u32; // at most 4
    8 * factor + factor - 1
}

/// The parameters in the headers that determine the decoder's memory.
struct Frame {
    width: u16,
    height: u16,
    /// Horizontal and vertical sampling factor of each component.
    sampling: Vec<(u64, u64)>,
    /// Whether all coefficients are kept until the last scan: in progressive files, and in files with separate scans per component.
    whole: bool,
}

impl Frame {
    /// Parses the headers up to the first scan. `None` if the segments are not contiguous: the decoder then searches for the next marker,
    /// and may find others.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(2..)?;
        let mut frame: Option<Self> = None;
        loop {
            let (&mark, after) = rest.split_first()?;
            if mark != 0xFF {
                return None;
            }
            let (&kind, after) = after.split_first()?;
            // Fill bytes 0xFF may precede a marker.
            if kind == 0xFF {
                rest = rest.get(1..)?;
                continue;
            }
            let (&length, _) = after.split_first_chunk::<2>()?;
            let segment = after.get(2..usize::from(u16::from_be_bytes(length)))?;
            match kind {
                // The decoder continues at another position than the end of the segment.
                0x00 => return None,
                0xE0 if segment.len() == 4 => return None,
                0xC0..=0xC2 => frame = Some(Self::of(kind == 0xC2, segment)?),
                0xDA => {
                    let mut frame = frame?;
                    let in_scan = usize::from(*segment.first()?);
                    frame.whole |= in_scan != frame.sampling.len();
                    return Some(frame);
                }
                _ => {}
            }
            rest = after.get(usize::from(u16::from_be_bytes(length))..)?;
        }
    }

    fn of(progressive: bool, segment: &[u8]) -> Option<Self> {
        let (&[_, high_h, low_h, high_w, low_w, _], components) =
            segment.split_first_chunk::<6>()?;
        let sampling = components.as_chunks::<3>().0.iter();
        let sampling =
            sampling.map(|&[_, factors, _]| (u64::from(factors >> 4), u64::from(factors & 0xF)));
        Some(Self {
            width: u16::from_be_bytes([high_w, low_w]),
            height: u16::from_be_bytes([high_h, low_h]),
            sampling: sampling.collect(),
            whole: progressive,
        })
    }

    /// The frame of this size that needs the most memory.
    fn largest(width: u32, height: u32) -> Self {
        Self {
            width: width as u16,
            height: height as u16,
            sampling: vec![(4, 4), (1, 1), (1, 1), (4, 4)],
            whole: true,
        }
    }

    /// Bytes of the decoder for coefficients and upsampled rows.
    fn decoder_bytes(&self) -> u64 {
        /// Pixels per side of a block.
        const BLOCK: u64 = 8;
        /// Coefficients and intermediate values have 16 bits.
        const VALUE_BYTES: u64 = 2;
        let most = |side: fn(&(u64, u64)) -> u64| self.sampling.iter().map(side).max();
        let across = most(|it| it.0).unwrap_or(1).max(1);
        let down = most(|it| it.1).unwrap_or(1).max(1);
        let units_across = u64::from(self.width).div_ceil(BLOCK * across);
        let units_down = u64::from(self.height).div_ceil(BLOCK * down);
        let mut values = 0;
        for &(x, y) in &self.sampling {
            let (x, y) = (x.max(1), y.max(1));
            let row = units_across * x * BLOCK;
            let larger = across.div_ceil(x) * down.div_ceil(y);
            // A row of blocks; the rows before and after; and what they are scaled up to, twice as wide in files of an odd kind.
            values += row * y * BLOCK + 3 * row * y + row * y * larger + row * larger * 2 * BLOCK;
            values += row * BLOCK;
            if self.whole {
                values += units_across * units_down * x * y * BLOCK * BLOCK;
            }
        }
        values * VALUE_BYTES
    }
}
