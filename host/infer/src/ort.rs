//! The ONNX Runtime backend, if its library is found.

#[cfg(feature = "ort")]
mod library;
mod pinned;
#[cfg(feature = "ort")]
mod providers;
#[cfg(feature = "ort")]
mod recent;
#[cfg(feature = "ort")]
mod session;
#[cfg(feature = "ort")]
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_trust::Digest;
use thiserror::Error;
use tract_onnx::pb::{GraphProto, ModelProto};

use crate::backend::Session;
use crate::{LoadError, ModelOptions, Options, OrtOptions};

pub use self::pinned::{PINNED_LIBRARIES, ort_folder};

/// Information about the library of ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtLibrary {
    /// The library that is loaded; `None` if there is none.
    pub path: Option<PathBuf>,
    /// Its version, such as "1.22.0"; empty if there is no library, or its version is unknown.
    pub version: String,
    /// Its digest, if it was checked: against `library-digest`, or [`PINNED_LIBRARIES`].
    pub digest: Option<Digest>,
    /// The execution providers that both this library and this program support, such as "cpu" and "cuda".
    pub providers: Vec<String>,
    /// Without a library: each path that was tried, with its error.
    pub tried: Vec<(PathBuf, String)>,
}

/// No library of ONNX Runtime was loaded.
#[derive(Debug, Error)]
#[error("{}", list_tried(tried))]
pub(crate) struct NotFound {
    tried: Vec<(PathBuf, String)>,
    /// The first one with another digest.
    changed: Option<ChangedLibrary>,
}

/// A library with another digest than it must have. It is not loaded.
#[derive(Debug, Clone, Error)]
#[cfg_attr(not(feature = "ort"), allow(dead_code, reason = "nothing is loaded"))]
#[error("it has the digest {found}, and {expected}")]
struct ChangedLibrary {
    path: PathBuf,
    found: Digest,
    /// What it would need, as the end of the sentence.
    expected: String,
}

impl From<NotFound> for LoadError {
    fn from(error: NotFound) -> Self {
        match error.changed {
            Some(changed) => Self::ChangedRuntime {
                path: changed.path.clone(),
                source: changed.into(),
            },
            None => Self::NoRuntime {
                source: error.into(),
            },
        }
    }
}

fn list_tried(tried: &[(PathBuf, String)]) -> String {
    let each = tried
        .iter()
        .map(|(path, problem)| format!("{}: {problem}", path.display()));
    each.collect::<Vec<_>>().join("; ")
}

/// Finds and loads the library of ONNX Runtime: from `options`, else from the environment variable `ORT_DYLIB_PATH`, else from
/// [`ort_folder`] or a package, with a digest of [`PINNED_LIBRARIES`], else from the library path of the system. The first loaded library is used for the
/// whole process.
pub fn ort_library(options: &OrtOptions) -> OrtLibrary {
    #[cfg(feature = "ort")]
    return library::found(options);
    #[cfg(not(feature = "ort"))]
    OrtLibrary {
        tried: left_out(options).tried,
        ..OrtLibrary::default()
    }
}

/// Whether the configuration or the environment sets a library, or one is in its place.
pub(crate) fn is_expected(options: &OrtOptions) -> bool {
    #[cfg(feature = "ort")]
    return library::is_expected(options);
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
        Err(left_out(&options.ort).into())
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
        changed: None,
    }
}
