#![forbid(unsafe_code)]
//! Native operations on pictures: decode, resize, crop, rotate, warp, blur, normalise, encode.
//!
//! Pure functions from pixels to pixels: no I/O, no threads, no state. Every size is checked before memory is taken for it,
//! so that a picture from an unknown source costs at most [`MAX_PIXELS`] pixels.

mod blur;
mod cut;
mod decode;
mod encode;
mod error;
mod image;
mod normalise;
mod projection;
mod resize;
mod warp;

pub use blur::{MAX_REGIONS, Region, blur};
pub use cut::{Rotation, crop, rotate};
pub use decode::{DecodeLimits, decode};
pub use encode::{Format, encode};
pub use error::{DecodeError, ErrorKind, VisionError};
pub use image::{Image, MAX_PIXELS};
pub use normalise::{Channels, Layout, Normalisation, Normaliser, normalise};
pub use resize::{Filter, resize};
pub use warp::warp;
