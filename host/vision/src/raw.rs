//! Frames without a file header, as cameras and GStreamer hand them over. Their media type says what they are.

mod planes;

use thiserror::Error;

use crate::image::CHANNELS;
use crate::{Budget, DecodeError, DecodeLimits, ErrorKind, Image};

pub(crate) use planes::{BLACK, luma_and_chroma};

/// The media type, before its parameters. It has GStreamer's name.
const MEDIA_TYPE: &str = "video/x-raw";

/// Layout of the pixels of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawFormat {
    /// `NV12`: rows of Y; then half as many rows of U and V in turn, one of each for 2 x 2 pixels.
    Nv12,
    /// `YUY2`, also `YUYV`: Y, U, Y, V for 2 pixels.
    Yuy2,
    /// `GRAY8`, also `GREY`: one byte a pixel.
    Gray8,
    /// `RGB`, also `RGB24`: three bytes a pixel.
    Rgb,
}

/// The parameters of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame {
    format: RawFormat,
    width: u32,
    height: u32,
    stride: u64,
}

/// Why a frame could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RawFrameError {
    /// A parameter that a frame needs is missing.
    #[error(
        "the media type of a raw frame lacks `{parameter}`; write `video/x-raw; format=NV12; width=640; height=480`"
    )]
    Missing {
        /// `format`, `width` or `height`.
        parameter: &'static str,
    },
    /// A parameter is given twice.
    #[error("the media type has `{parameter}` twice")]
    Repeated {
        /// Its name.
        parameter: &'static str,
    },
    /// A format that is not decoded.
    #[error("`format` is `{found}`; use NV12, YUY2, GRAY8 or RGB")]
    Format {
        /// The value.
        found: String,
    },
    /// A size that is not a whole number of at least 1.
    #[error("`{parameter}` is `{found}`; write a whole number from 1 to 4294967295")]
    Number {
        /// Its name.
        parameter: &'static str,
        /// The value.
        found: String,
    },
    /// Rows would overlap.
    #[error("`stride` is {found}, but a row of `width` {width} has {least} bytes")]
    Stride {
        /// Bytes.
        found: u64,
        /// Pixels.
        width: u32,
        /// Bytes of a row.
        least: u64,
    },
    /// The payload does not have the bytes that the parameters say.
    #[error(
        "the frame has {found} bytes, but `width` {width}, `height` {height} and `stride` {stride} make {want}"
    )]
    Length {
        /// Bytes.
        found: u64,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes.
        stride: u64,
        /// Bytes.
        want: u64,
    },
}

impl RawFrameError {
    /// The kind of the error.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Format { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidInput,
        }
    }
}

impl RawFrame {
    /// Reads a media type such as `video/x-raw; format=NV12; width=640; height=480; stride=704`. `None` if it is of another kind.
    /// `stride` is the number of bytes from one row to the next, in each plane; by default rows are without padding.
    /// Other parameters are left out.
    ///
    /// # Errors
    /// [`RawFrameError`] names the parameter.
    pub fn from_media_type(text: &str) -> Result<Option<Self>, RawFrameError> {
        let mut parts = text.split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE))
        {
            return Ok(None);
        }
        let mut values: [(&'static str, Option<&str>); 4] = [
            ("format", None),
            ("width", None),
            ("height", None),
            ("stride", None),
        ];
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let known = values
                .iter_mut()
                .find(|(known, _)| name.trim().eq_ignore_ascii_case(known));
            let Some((parameter, slot)) = known else {
                continue;
            };
            if slot.replace(value.trim().trim_matches('"')).is_some() {
                return Err(RawFrameError::Repeated { parameter });
            }
        }
        let [format, width, height, stride] = values;
        let format = format_of(needed(format)?)?;
        let width = number(width.0, needed(width)?)?;
        let height = number(height.0, needed(height)?)?;
        let least = format.row_bytes(width);
        let stride = match stride {
            (parameter, Some(text)) => number(parameter, text)?.into(),
            (_, None) => least,
        };
        if stride < least {
            let found = stride;
            return Err(RawFrameError::Stride {
                found,
                width,
                least,
            });
        }
        Ok(Some(Self {
            format,
            width,
            height,
            stride,
        }))
    }

    /// Rows of all planes.
    fn rows(&self) -> u64 {
        let height = u64::from(self.height);
        match self.format {
            RawFormat::Nv12 => height + height.div_ceil(2),
            RawFormat::Yuy2 | RawFormat::Gray8 | RawFormat::Rgb => height,
        }
    }

    /// Checks the number of bytes. The last row may be without its padding.
    fn check(&self, bytes: &[u8]) -> Result<(), RawFrameError> {
        let found = bytes.len() as u64;
        let want = self.rows().saturating_mul(self.stride);
        let padding = self.stride - self.format.row_bytes(self.width);
        if (want - padding..=want).contains(&found) {
            return Ok(());
        }
        Err(RawFrameError::Length {
            found,
            width: self.width,
            height: self.height,
            stride: self.stride,
            want,
        })
    }
}

fn needed<'t>(
    (parameter, value): (&'static str, Option<&'t str>),
) -> Result<&'t str, RawFrameError> {
    value.ok_or(RawFrameError::Missing { parameter })
}

/// Longest value in a message, in characters.
const MAX_SHOWN: usize = 40;

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn number(parameter: &'static str, text: &str) -> Result<u32, RawFrameError> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| RawFrameError::Number {
        parameter,
        found: shown(text),
    })
}

fn format_of(text: &str) -> Result<RawFormat, RawFrameError> {
    match text {
        "NV12" => Ok(RawFormat::Nv12),
        "YUY2" | "YUYV" => Ok(RawFormat::Yuy2),
        "GRAY8" | "GREY" => Ok(RawFormat::Gray8),
        "RGB" | "RGB24" => Ok(RawFormat::Rgb),
        _ => Err(RawFrameError::Format { found: shown(text) }),
    }
}

impl RawFormat {
    /// Bytes of a row without padding; of the wider plane, where there are two.
    fn row_bytes(self, width: u32) -> u64 {
        let width = u64::from(width);
        match self {
            Self::Nv12 => width.next_multiple_of(2),
            Self::Yuy2 => width.next_multiple_of(2) * 2,
            Self::Gray8 => width,
            Self::Rgb => width * CHANNELS as u64,
        }
    }
}

/// Decodes a frame to RGB. Y, U and V are those of ITU-R BT.601 with limited range (Y from 16 to 235), and a chroma value counts for all
/// pixels that share it, as OpenCV's `cvtColor` does it. Grey becomes RGB.
///
/// # Errors
/// [`DecodeError::TooLarge`], [`DecodeError::Raw`] if the number of bytes is wrong, [`DecodeError::Budget`].
pub fn decode_raw(
    bytes: &[u8],
    frame: &RawFrame,
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, DecodeError> {
    budget.look()?;
    limits.check(frame.width, frame.height)?;
    frame.check(bytes)?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let stride = frame.stride as usize;
    let row_of = |index: usize| bytes.get(index * stride..).unwrap_or_default();
    let (mut pixels, _claim) = budget.list(width * height * CHANNELS)?;
    for y in 0..height {
        let row = row_of(y);
        match frame.format {
            RawFormat::Rgb => {
                pixels.extend_from_slice(row.get(..width * CHANNELS).unwrap_or_default());
            }
            RawFormat::Gray8 => pixels.extend(row.iter().take(width).flat_map(|&g| [g; CHANNELS])),
            RawFormat::Nv12 => {
                let chroma = row_of(height + y / 2).as_chunks::<2>().0.iter();
                let pairs = row.iter().take(width).zip(chroma.flat_map(|uv| [uv, uv]));
                pixels.extend(pairs.flat_map(|(&y, &[u, v])| rgb(y, u, v)));
            }
            RawFormat::Yuy2 => {
                let pairs = row.as_chunks::<4>().0.iter();
                let values = pairs.flat_map(|&[y, u, next, v]| [(y, u, v), (next, u, v)]);
                pixels.extend(values.take(width).flat_map(|(y, u, v)| rgb(y, u, v)));
            }
        }
        budget.spend(width as u64)?;
    }
    // The number of bytes was checked, so that no row is shorter.
    Image::from_rgb(frame.width, frame.height, pixels).map_err(|_| {
        DecodeError::Raw(RawFrameError::Length {
            found: bytes.len() as u64,
            width: frame.width,
            height: frame.height,
            stride: frame.stride,
            want: frame.rows().saturating_mul(frame.stride),
        })
    })
}

/// Fixed-point bits of the factors.
const BITS: u32 = 16;

/// The factors follow from the luma weights of ITU-R BT.601-7, section 2.5 (0.299, 0.587, 0.114), and its 8-bit ranges: 219 steps of Y from 16,
/// 224 steps of U and V around 128.
mod factor {
    const RED: f64 = 0.299;
    const GREEN: f64 = 0.587;
    const BLUE: f64 = 0.114;
    const Y_SCALE: f64 = 255.0 / 219.0;
    const UV_SCALE: f64 = 255.0 / 224.0;

    const fn fixed(value: f64) -> i32 {
        (value * (1 << super::BITS) as f64 + 0.5) as i32
    }

    pub(super) const Y: i32 = fixed(Y_SCALE);
    pub(super) const V_RED: i32 = fixed(2.0 * (1.0 - RED) * UV_SCALE);
    pub(super) const V_GREEN: i32 = fixed(2.0 * (1.0 - RED) * RED / GREEN * UV_SCALE);
    pub(super) const U_GREEN: i32 = fixed(2.0 * (1.0 - BLUE) * BLUE / GREEN * UV_SCALE);
    pub(super) const U_BLUE: i32 = fixed(2.0 * (1.0 - BLUE) * UV_SCALE);
}

fn rgb(y: u8, u: u8, v: u8) -> [u8; CHANNELS] {
    let half = 1 << (BITS - 1);
    let luma = (i32::from(y) - 16) * factor::Y + half;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    [
        luma + v * factor::V_RED,
        luma - u * factor::U_GREEN - v * factor::V_GREEN,
        luma + u * factor::U_BLUE,
    ]
    .map(|value| (value >> BITS).clamp(0, 255) as u8)
}
