#![forbid(unsafe_code)]
//! Native inference: tensors, and ONNX models that run on them.
//!
//! A [`Model`] is loaded once by its digest ([`Models`]) and shared by all that hold it. Its input dimensions may be open; the
//! first run with each combination of shapes compiles a plan for exactly these, and a bounded number of plans is kept. A run
//! uses the calling thread alone, and any number of threads may run the same model at once. Whatever is wrong with a file, an
//! input or the backend comes back as an error: a panic inside the backend is caught.

#[cfg(target_endian = "big")]
compile_error!("tensors are exchanged as little-endian bytes without conversion");

mod describe;
mod error;
mod guard;
mod model;
mod models;
mod plans;
mod tensor;

pub use describe::TensorInfo;
pub use error::{ErrorKind, LoadError, RunError, TensorError};
pub use model::Model;
pub use models::{Models, Options};
pub use plans::Stats;
pub use tensor::{ElementType, Tensor};
