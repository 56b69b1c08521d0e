//! Code that several components share.

pub mod label;
mod line;
pub mod nn;

pub use line::line_tensor;
