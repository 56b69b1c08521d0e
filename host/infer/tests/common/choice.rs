//! Models that are loaded with a given backend and library.

use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_infer::{BackendChoice, LoadError, Model, ModelOptions, Models, Options, OrtOptions};
use hotshoe_trust::Digest;

/// Loads a model with a backend of its own.
pub(crate) fn load(
    bytes: &[u8],
    backend: BackendChoice,
    options: Options,
) -> Result<Arc<Model>, LoadError> {
    let how = ModelOptions {
        backend,
        ..ModelOptions::default()
    };
    Models::new(options).load(Digest::of(bytes), bytes, &how)
}

/// Options with this library of ONNX Runtime.
pub(crate) fn with_library(path: PathBuf) -> Options {
    Options {
        ort: OrtOptions {
            library: Some(path),
            ..OrtOptions::default()
        },
        ..Options::default()
    }
}
