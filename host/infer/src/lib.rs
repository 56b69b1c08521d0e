#![forbid(unsafe_code)]
//! Native inference: tensors, and ONNX models that run on them.
//!
//! A [`Model`] is loaded once by its digest ([`Models`]) and shared by all that hold it. Its input dimensions may be open; the
//! first run with each combination of shapes compiles a plan for exactly these, and a bounded number of plans is kept. All
//! models share a pool of threads: a run takes its turn there, ends for its caller at its deadline, and may be joined with
//! others into a batch. A [`NamedModel`] is what a release calls a model: variants of it, of which one serves. Whatever is wrong
//! with a file, an input or the backend comes back as an error: a panic inside the backend is caught.

#[cfg(target_endian = "big")]
compile_error!("tensors are exchanged as little-endian bytes without conversion");

mod backend;
mod batch;
mod describe;
mod error;
mod executor;
pub mod fold;
mod guard;
pub mod inspect;
mod model;
mod models;
mod named;
pub mod npz;
mod options;
mod ort;
mod stats;
mod tensor;
mod tract;

pub use self::ort::{OrtLibrary, ort_library};
pub use backend::{Backend, BackendChoice};
pub use batch::Batching;
pub use describe::TensorInfo;
pub use error::{ErrorKind, LoadError, RunError, TensorError, VariantError};
pub use executor::Usage;
pub use model::{Model, NO_RUNTIME, ReadModel, BackendSwitch};
pub use models::Models;
pub use named::{Fallback, NamedModel};
pub use options::{ModelOptions, Options, OrtOptions, PROVIDERS, Provider};
pub use stats::Stats;
pub use tensor::{ElementType, Tensor};
