//! What several components here do in the same way.

mod line;
pub mod nn;

pub use line::line_tensor;
