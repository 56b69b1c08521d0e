//! Limits and options of models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hotshoe_trust::Digest;
use serde::{Deserialize, Serialize};

use crate::BackendChoice;

/// Options of all models together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most compiled plans per model, one for each combination of input shapes. Each has its own copy of the weights in the layout of
    /// the processor. Default 16, at least 1.
    pub plans: usize,
    /// Most bytes of one tensor: an input, an output, or, with tract and if its size depends only on the input shapes, an intermediate
    /// tensor. Default 256 MiB.
    pub max_tensor_bytes: usize,
    /// Most bytes of a model file. Default 1 GiB.
    pub max_model_bytes: usize,
    /// Threads that run models, for all models together, at least 1. Default: one more than the processor has cores, so that one model
    /// can use all cores and a slot stays free for the others.
    pub pool: usize,
    /// ONNX Runtime.
    pub ort: OrtOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plans: 16,
            max_tensor_bytes: 256 << 20,
            max_model_bytes: 1 << 30,
            pool: std::thread::available_parallelism().map_or(1, usize::from) + 1,
            ort: OrtOptions::default(),
        }
    }
}

/// Options of one model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelOptions {
    /// Its backend. Default: automatic.
    pub backend: BackendChoice,
    /// Threads of one run. Large rows that do not depend on each other go side by side on them; on ONNX Runtime, each of these threads then has
    /// a session, with its own weights. Default 1, at least 1.
    pub threads: usize,
    /// Most concurrent runs of this model, at least 1. Default on tract: one less than the pool has threads, so that a slow model does not
    /// block the others, but at least 1. Default on ONNX Runtime: 1, since each further concurrent run needs a session with its own
    /// weights and working memory: 2 to 8 times the file's size with the models of the label reader. It is created when it is first
    /// needed, and kept; the file is kept in memory for it too.
    pub max_runs: Option<usize>,
    /// Most samples in one batch, for a model whose outermost dimension is a batch. Default 1: no batching.
    pub max_batch: usize,
    /// How long a sample waits for others to join its batch. Default 0.
    pub max_wait: Duration,
    /// The outputs, in this order; only what they need is loaded. Each is an output of the file, or another tensor whose type the file states.
    /// Inputs that only other outputs need are left out. Default: none, which is the file's outputs.
    pub outputs: Vec<String>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            backend: BackendChoice::Auto,
            threads: 1,
            max_runs: None,
            max_batch: 1,
            max_wait: Duration::ZERO,
            outputs: Vec::new(),
        }
    }
}

/// Library and execution providers of ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtOptions {
    /// Its library. Default: the environment variable `ORT_DYLIB_PATH`, else that of [`crate::ort_folder`] or a package, else the library path of the system.
    pub library: Option<PathBuf>,
    /// The digest that the library must have. It is checked at each load. Default: one of [`crate::PINNED_LIBRARIES`] in
    /// the folders of Hotshoe, any elsewhere.
    pub library_digest: Option<Digest>,
    /// Execution providers, the preferred one first. If none can be used, the processor is used. Default: none.
    pub providers: Vec<Provider>,
}

/// The supported execution providers; `cpu` is always available.
pub const PROVIDERS: [&str; 7] = [
    "cpu", "cuda", "tensorrt", "openvino", "xnnpack", "qnn", "acl",
];

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// `cuda`, `tensorrt`, `openvino` and so on.
    pub name: String,
    /// Its own options, by the names that ONNX Runtime documents for it.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Provider {
    /// Whether its name is one of [`PROVIDERS`], or ONNX Runtime's own for it, such as `CUDAExecutionProvider`.
    pub fn is_known(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let short = name.strip_suffix("executionprovider").unwrap_or(&name);
        PROVIDERS.contains(&short)
    }
}
