#![forbid(unsafe_code)]
//! Native operations on pictures: decode, resize, letterbox, crop, rotate, warp, blur, grey, normalise, encode, and masks that are burned in.
//!
//! Pure functions from pixels to pixels: no I/O, threads, clock or state. Every operation takes a [`Budget`]: memory is counted before it
//! is allocated, and the deadline is checked between slices of the work. A picture has at most [`MAX_PIXELS`].

mod blur;
mod budget;
mod cut;
mod decode;
mod encode;
mod error;
mod grey;
mod image;
mod image16;
mod letterbox;
mod mask;
mod normalise;
mod projection;
mod raw;
mod redact;
mod resize;
mod warp;

pub use blur::{MAX_REGIONS, Region, blur};
pub use budget::{Budget, BudgetError, Claim};
pub use cut::{Rotation, crop, rotate};
pub use decode::{DecodeLimits, DecodeOptions, decode, decode_u16, decode_with};
pub use encode::{Format, encode};
pub use error::{DecodeError, ErrorKind, VisionError};
pub use grey::grey;
pub use image::{Image, MAX_PIXELS};
pub use image16::Image16;
pub use letterbox::{Letterbox, letterbox};
pub use mask::{Fill, Mask};
pub use normalise::{Channels, Layout, Normalisation, Normaliser, normalise};
pub use raw::{RawFormat, RawFrame, RawFrameError, decode_raw};
pub use redact::{RedactError, redact};
pub use resize::{Filter, resize};
pub use warp::warp;
