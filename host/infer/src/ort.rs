//! ONNX Runtime, if its library is found.

#[cfg(feature = "ort")]
mod library;
#[cfg(feature = "ort")]
mod providers;
#[cfg(feature = "ort")]
mod session;
#[cfg(feature = "ort")]
mod recent;
#[cfg(feature = "ort")]
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tract_onnx::pb::{GraphProto, ModelProto};

use crate::backend::Session;
use crate::{LoadError, ModelOptions, Options, OrtOptions};

/// What was found of ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtLibrary {
    /// The library that is loaded; `None` if there is none.
    pub path: Option<PathBuf>,
    /// Its version, such as "1.22.0"; empty if there is no library, or none that says so.
    pub version: String,
    /// The execution providers that this library has and this program knows, such as "cpu" and "cuda".
    pub providers: Vec<String>,
    /// If there is no library: each that was tried, and what was wrong with it.
    pub tried: Vec<(PathBuf, String)>,
}

/// There is no library to use.
#[derive(Debug, Error)]
#[error("{}", list_tried(tried))]
pub(crate) struct NotFound {
    tried: Vec<(PathBuf, String)>,
}

fn list_tried(tried: &[(PathBuf, String)]) -> String {
    let each = tried
        .iter()
        .map(|(path, problem)| format!("{}: {problem}", path.display()));
    each.collect::<Vec<_>>().join("; ")
}

/// Finds ONNX Runtime's library and loads it: the one that `options` name, else the one that the environment's
/// `ORT_DYLIB_PATH` names, else what the system's loader finds. The first call that finds one decides for the whole process.
pub fn ort_library(options: &OrtOptions) -> OrtLibrary {
    #[cfg(feature = "ort")]
    return library::found(options);
    #[cfg(not(feature = "ort"))]
    OrtLibrary {
        tried: left_out(options).tried,
        ..OrtLibrary::default()
    }
}

/// Whether the config or the environment names a library.
pub(crate) fn is_named(options: &OrtOptions) -> bool {
    #[cfg(feature = "ort")]
    return library::is_named(options);
    #[cfg(not(feature = "ort"))]
    options.library.is_some()
}

/// Opens a model with ONNX Runtime.
pub(crate) fn load(
    file: &ModelProto,
    graph: &GraphProto,
    bytes: &[u8],
    how: &ModelOptions,
    options: &Options,
) -> Result<Arc<dyn Session>, LoadError> {
    #[cfg(feature = "ort")]
    return session::OrtSession::load(file, graph, bytes, how, options)
        .map(|session| -> Arc<dyn Session> { Arc::new(session) });
    #[cfg(not(feature = "ort"))]
    {
        let _ = (file, graph, bytes, how);
        let source = left_out(&options.ort).into();
        Err(LoadError::NoRuntime { source })
    }
}

#[cfg(not(feature = "ort"))]
fn left_out(options: &OrtOptions) -> NotFound {
    let path = options
        .library
        .clone()
        .unwrap_or_else(|| "onnxruntime".into());
    let problem = "this program was built without support for ONNX Runtime".to_owned();
    NotFound {
        tried: vec![(path, problem)],
    }
}
