//! What several components here do in the same way.

pub mod label;
mod line;
pub mod nn;

pub use line::line_tensor;
