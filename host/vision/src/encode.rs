//! Encoding of picture files.

use std::io::{self, Write};

use image::ExtendedColorType;
use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use png::{BitDepth, ColorType, Compression};

use crate::budget::Claim;
use crate::{Budget, BudgetError, Image, VisionError};

/// Most pixels a side that a JPEG file can have: its sizes have 16 bits.
const MAX_JPEG_SIDE: u32 = 65_535;
/// Bytes of a chunk of pixels in a PNG file.
const PNG_CHUNK_BYTES: usize = 1 << 16;
/// Rows of the PNG encoder: the previous, the current, and the filtered one.
const PNG_ROWS: u64 = 3;
/// Bytes of the JPEG encoder's own tables.
const JPEG_STATE_BYTES: u64 = 1 << 14;
/// Bytes of the PNG encoder's chunk and tables, with fast compression.
const PNG_FAST_BYTES: u64 = 1 << 17;
/// The same without compression, which uses another library.
const PNG_STORED_BYTES: u64 = 1 << 19;
/// Writes of the encoder, of a few bytes each, between two checks of the deadline.
const STEPS_A_WRITE: u64 = 64;

/// Output file formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lossy, for photographs. At most 65,535 pixels a side.
    Jpeg,
    /// Lossless.
    Png,
}

/// Encodes a picture. `quality` is 1 to 100 and applies to JPEG only.
///
/// # Errors
/// [`VisionError::Quality`]; [`VisionError::JpegSide`] if the picture is too large for the format; [`VisionError::Budget`];
/// [`VisionError::Encode`].
pub fn encode(
    image: &Image,
    format: Format,
    quality: u8,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, VisionError> {
    budget.look()?;
    match format {
        Format::Jpeg => jpeg(image, quality, budget),
        Format::Png => {
            let shape = PngShape {
                width: image.width(),
                height: image.height(),
                colour: ColorType::Rgb,
                depth: BitDepth::Eight,
            };
            let pixels = image.pixels();
            let file = png(shape, pixels, Compression::Fast, PNG_FAST_BYTES, budget)?;
            // Noise is larger after this compression than before it, where a row takes one byte more, and the file little.
            let stored = image.byte_len() + image.height() as usize;
            if file.len() <= stored + stored / 1000 + 256 {
                return Ok(file);
            }
            drop(file);
            let compression = Compression::NoCompression;
            png(shape, pixels, compression, PNG_STORED_BYTES, budget)
        }
    }
}

/// A BMP file of 24 bits a pixel.
pub(crate) fn bmp(image: &Image, budget: &Budget<'_>) -> Result<Vec<u8>, VisionError> {
    let mut sink = Sink::new(budget);
    let (width, height) = (image.width(), image.height());
    let written =
        BmpEncoder::new(&mut sink).encode(image.pixels(), width, height, ExtendedColorType::Rgb8);
    sink.finish(written)
}

/// A PNG file of 16-bit values, big-endian, of 1 or 3 channels.
pub(crate) fn png16(
    width: u32,
    height: u32,
    channels: usize,
    values: &[u8],
    budget: &Budget<'_>,
) -> Result<Vec<u8>, VisionError> {
    let shape = PngShape {
        width,
        height,
        colour: if channels == 1 {
            ColorType::Grayscale
        } else {
            ColorType::Rgb
        },
        depth: BitDepth::Sixteen,
    };
    png(shape, values, Compression::Fast, PNG_FAST_BYTES, budget)
}

fn jpeg(image: &Image, quality: u8, budget: &Budget<'_>) -> Result<Vec<u8>, VisionError> {
    if !(1..=100).contains(&quality) {
        return Err(VisionError::Quality { quality });
    }
    let (width, height) = (image.width(), image.height());
    if width.max(height) > MAX_JPEG_SIDE {
        return Err(VisionError::JpegSide {
            width,
            height,
            limit: MAX_JPEG_SIDE,
        });
    }
    let _state = budget.claim(JPEG_STATE_BYTES)?;
    let mut sink = Sink::new(budget);
    let written = JpegEncoder::new_with_quality(&mut sink, quality).encode(
        image.pixels(),
        width,
        height,
        ExtendedColorType::Rgb8,
    );
    sink.finish(written)
}

/// The header of a PNG file.
#[derive(Clone, Copy)]
struct PngShape {
    width: u32,
    height: u32,
    colour: ColorType,
    depth: BitDepth,
}

fn png(
    shape: PngShape,
    pixels: &[u8],
    compression: Compression,
    state_bytes: u64,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, VisionError> {
    let row_bytes = pixels.len() / shape.height.max(1) as usize;
    let _state = budget.claim(PNG_ROWS * row_bytes as u64 + state_bytes)?;
    let mut sink = Sink::new(budget);
    let written = write_png(
        shape,
        pixels.chunks_exact(row_bytes.max(1)),
        compression,
        &mut sink,
    );
    sink.finish(written)
}

fn write_png<'p>(
    shape: PngShape,
    rows: impl Iterator<Item = &'p [u8]>,
    compression: Compression,
    sink: &mut Sink<'_>,
) -> Result<(), png::EncodingError> {
    let budget = sink.budget;
    let mut encoder = png::Encoder::new(sink, shape.width, shape.height);
    encoder.set_color(shape.colour);
    encoder.set_depth(shape.depth);
    encoder.set_compression(compression);
    encoder.set_filter(png::Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer_with_size(PNG_CHUNK_BYTES)?;
    for row in rows {
        stream.write_all(row)?;
        budget.spend(shape.width.into()).map_err(io::Error::other)?;
    }
    stream.finish()?;
    writer.finish()
}

/// The output of an encoder: it grows within the budget, and fails at the deadline.
struct Sink<'b> {
    budget: &'b Budget<'b>,
    bytes: Vec<u8>,
    claim: Option<Claim<'b>>,
}

impl<'b> Sink<'b> {
    fn new(budget: &'b Budget<'b>) -> Self {
        Self {
            budget,
            bytes: Vec::new(),
            claim: None,
        }
    }

    fn grow(&mut self, more: usize) -> Result<(), BudgetError> {
        self.budget.spend(STEPS_A_WRITE)?;
        let wanted = self.bytes.len().saturating_add(more);
        if wanted > self.bytes.capacity() {
            // The old and the new buffer exist at once during the move.
            let capacity = wanted.max(self.bytes.capacity().saturating_mul(2));
            let claim = self.budget.claim(capacity as u64)?;
            let more = capacity - self.bytes.len();
            self.budget.reserve(&mut self.bytes, more)?;
            self.claim = Some(claim);
        }
        Ok(())
    }

    fn finish<E>(self, written: Result<(), E>) -> Result<Vec<u8>, VisionError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Encoders ignore some errors of their writes.
        match (self.budget.refused(), written) {
            (Some(refused), _) => Err(refused.into()),
            (None, Ok(())) => Ok(self.bytes),
            (None, Err(error)) => Err(VisionError::Encode {
                source: error.into(),
            }),
        }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.grow(bytes.len()).map_err(io::Error::other)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
