//! What devices, deployers and registries say to each other: types and bytes alone, bounded before they are looked at.
#![forbid(unsafe_code)]

pub mod have;
pub mod status;
pub mod wire;
