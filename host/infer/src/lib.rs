#![forbid(unsafe_code)]
//! Native inference: tensors, and ONNX models that run on them.
//!
//! A [`Model`] is loaded once per digest ([`Models`]) and shared. Its input dimensions may be open; the first run with each
//! combination of shapes compiles a plan for it, and a bounded number of plans is cached. All models share a pool of threads: a
//! run waits for a slot, returns to its caller at its deadline, and may join others in a batch. A [`NamedModel`] is a model of a
//! release, with variants of which one serves. All problems of a file, an input or a backend are errors: a panic inside a backend
//! is caught.

#[cfg(target_endian = "big")]
compile_error!("tensors are exchanged as little-endian bytes without conversion");

mod backend;
mod batch;
mod counts;
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
mod onnx;
mod options;
mod ort;
mod parts;
mod room;
mod served;
mod stats;
mod tensor;
mod tract;
mod whole;

pub use self::ort::{OrtLibrary, PINNED_LIBRARIES, ort_folder, ort_library};
pub use backend::{Backend, BackendChoice};
pub use batch::Batching;
pub use counts::VariantRuns;
pub use describe::TensorInfo;
pub use error::{ErrorKind, LoadError, RunError, TensorError, VariantError};
pub use executor::Usage;
pub use model::{BackendSwitch, Model, NO_RUNTIME, ReadModel, SwitchReason};
pub use models::Models;
pub use named::{Fallback, NamedModel, VariantChoice};
pub use options::{ModelOptions, Options, OrtOptions, PROVIDERS, Provider};
pub use room::NO_ROOM;
pub use stats::Stats;
pub use tensor::{ElementType, Tensor};
pub use whole::{WholeError, whole};
