//! Errors of picture operations.

use thiserror::Error;

use crate::{BudgetError, RawFrameError};

/// Kind of an error. All except the deadline are cases of `error-code` of the component interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The picture or an argument is malformed.
    InvalidInput,
    /// Well-formed, but not supported.
    Unsupported,
    /// A limit was reached.
    LimitExceeded,
    /// The deadline passed.
    DeadlineExceeded,
    /// A defect of this host.
    Internal,
}

impl BudgetError {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Memory { .. } | Self::Allocation { .. } => ErrorKind::LimitExceeded,
            Self::Deadline => ErrorKind::DeadlineExceeded,
        }
    }
}

/// Why a picture could not be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Empty input.
    #[error("the picture has 0 bytes; send a JPEG or PNG file")]
    Empty,
    /// The bytes are of another format.
    #[error("the picture is {found}; send a JPEG or PNG file")]
    Unsupported {
        /// The detected format.
        found: String,
    },
    /// The header states more pixels than the limit. Nothing was allocated.
    #[error(
        "the picture is {width} x {height} pixels, over the limit of {limit} in all; send a smaller one"
    )]
    TooLarge {
        /// Pixels.
        width: u64,
        /// Pixels.
        height: u64,
        /// Most pixels in all.
        limit: u64,
    },
    /// The format is known, and the file is cut off or broken.
    #[error("the {format} picture is damaged; send the whole file")]
    Damaged {
        /// `JPEG`, `PNG` or `BMP`.
        format: &'static str,
        /// The error of the decoder.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// 16-bit values were asked for, and the picture has fewer bits.
    #[error("the picture does not have 16 bits a channel; decode it as 8-bit RGB")]
    NotWide,
    /// A frame without a header does not fit its media type.
    #[error(transparent)]
    Raw(#[from] RawFrameError),
    /// The memory budget or the deadline was exceeded.
    #[error(transparent)]
    Budget(#[from] BudgetError),
}

impl DecodeError {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Damaged { .. } => ErrorKind::InvalidInput,
            Self::Unsupported { .. } | Self::NotWide => ErrorKind::Unsupported,
            Self::Raw(error) => error.kind(),
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Budget(error) => error.kind(),
        }
    }
}

/// Why an operation on a picture failed.
#[derive(Debug, Error)]
pub enum VisionError {
    /// A width or height of 0.
    #[error("{what} is {width} x {height} pixels; both must be at least 1")]
    NoPixels {
        /// Which picture.
        what: &'static str,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// More pixels than one result may have.
    #[error(
        "{what} is {width} x {height} pixels, {count} in all, over the limit of {limit}; make it smaller"
    )]
    TooLarge {
        /// Which picture.
        what: &'static str,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels in all, over all pictures.
        count: u64,
        /// Most pixels in all.
        limit: u64,
    },
    /// The bytes do not fit the size.
    #[error("{width} x {height} RGB pixels are {want} bytes, but there are {got}")]
    WrongLength {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes.
        want: u64,
        /// Bytes.
        got: u64,
    },
    /// A number that is infinite or not a number.
    #[error("{what} is {value}; it must be a finite number")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A rectangle with a negative side.
    #[error("a rectangle is {width} x {height}; neither may be negative")]
    NegativeSize {
        /// Pixels.
        width: f32,
        /// Pixels.
        height: f32,
    },
    /// A rectangle outside of the picture.
    #[error(
        "the rectangle at {x}, {y} of {width} x {height} is outside of the {image_width} x {image_height} picture"
    )]
    Outside {
        /// Pixels.
        x: f32,
        /// Pixels.
        y: f32,
        /// Pixels.
        width: f32,
        /// Pixels.
        height: f32,
        /// Pixels.
        image_width: u32,
        /// Pixels.
        image_height: u32,
    },
    /// Too many regions or pixels to blur.
    #[error(
        "{count} regions of {pixels} pixels in all are over the limit of {limit} regions or {pixel_limit} pixels; blur fewer in one call"
    )]
    TooManyRegions {
        /// Regions.
        count: usize,
        /// Pixels in all, over all regions, inside the picture.
        pixels: u64,
        /// Most regions.
        limit: usize,
        /// Most pixels.
        pixel_limit: u64,
    },
    /// Four corners that are not a perspective view of a rectangle.
    #[error(
        "the corners {quad:?} are not those of a convex outline; pass four, clockwise from the top left, of which no three are on one line"
    )]
    Degenerate {
        /// The corners, x and y.
        quad: [[f32; 2]; 4],
    },
    /// A filter that a warp does not have.
    #[error("a warp has no area filter; use bilinear or bicubic")]
    AreaWarp,
    /// No picture.
    #[error("there are no pictures to normalise; pass at least one")]
    NoImages,
    /// A picture larger than the tensor.
    #[error(
        "picture {index} is {width} x {height} pixels and the tensor {into_width} x {into_height}; resize it first"
    )]
    DoesNotFit {
        /// Which picture, from 0.
        index: usize,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        into_width: u32,
        /// Pixels.
        into_height: u32,
    },
    /// A division by zero.
    #[error(
        "the standard deviation of channel {channel} is 0; use 1 to leave the channel as it is"
    )]
    ZeroDeviation {
        /// Which channel, from 0.
        channel: usize,
    },
    /// A JPEG quality outside 1 to 100.
    #[error("the JPEG quality is {quality}; it must be 1 to 100")]
    Quality {
        /// The quality asked for.
        quality: u8,
    },
    /// The resizer failed.
    #[error("the picture could not be resized")]
    Resize {
        /// The error of the library.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The encoder failed.
    #[error("the picture could not be encoded")]
    Encode {
        /// The error of the library.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A picture with a longer side than a JPEG file can have.
    #[error(
        "the picture is {width} x {height} pixels, but a JPEG file has at most {limit} per side; encode it as PNG, or make it smaller"
    )]
    JpegSide {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Most pixels of a side.
        limit: u32,
    },
    /// The memory budget or the deadline was exceeded.
    #[error(transparent)]
    Budget(#[from] BudgetError),
}

impl VisionError {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::TooManyRegions { .. } | Self::JpegSide { .. } => {
                ErrorKind::LimitExceeded
            }
            Self::Budget(error) => error.kind(),
            Self::AreaWarp => ErrorKind::Unsupported,
            Self::Resize { .. } | Self::Encode { .. } => ErrorKind::Internal,
            _ => ErrorKind::InvalidInput,
        }
    }
}
