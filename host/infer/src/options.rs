//! What models may cost, and what runs them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::BackendChoice;

/// What all models together may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Compiled plans that a model keeps, one for each combination of input shapes. Each holds its own copy of the weights
    /// as the processor likes them. Default 16, at least 1.
    pub plans: usize,
    /// Most bytes of one tensor: an input, an output, or, where its size follows from the inputs' shapes and tract runs the
    /// model, one between two layers. Default 256 MiB.
    pub max_tensor_bytes: usize,
    /// Most bytes of a model file. Default 1 GiB.
    pub max_model_bytes: usize,
    /// Threads that run models, all models together, at least 1. Default: one more than the processor has cores, so that
    /// one model alone can use them all and a place stays free for the others.
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

/// How one model is run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelOptions {
    /// What runs it. Default: automatic.
    pub backend: BackendChoice,
    /// Threads of one run. Default 1, at least 1.
    pub threads: usize,
    /// Most runs of this model at once, at least 1. Default on tract: one less than the pool has threads, so that a slow model
    /// leaves room for the others, but at least 1. Default on ONNX Runtime: 1, since each further run at once takes a session
    /// with weights and working memory of its own: 2 to 8 times the file's size with the models of the label reader. It is made
    /// when runs first meet, and stays; the file stays in memory for it too.
    pub max_runs: Option<usize>,
    /// Most samples that are put into one run, for a model whose outermost dimension is a batch. Default 1: none are joined.
    pub max_batch: usize,
    /// How long a sample waits for others to join it. Default 0.
    pub max_wait: Duration,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            backend: BackendChoice::Auto,
            threads: 1,
            max_runs: None,
            max_batch: 1,
            max_wait: Duration::ZERO,
        }
    }
}

/// Where ONNX Runtime is and what it runs models on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtOptions {
    /// Its library. Default: what the environment's `ORT_DYLIB_PATH` names, else what the system's loader finds.
    pub library: Option<PathBuf>,
    /// Execution providers, the preferred one first. Where none can be used the processor runs the model. Default: none.
    pub providers: Vec<Provider>,
}

/// The execution providers that can be asked for; `cpu` is always there.
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
