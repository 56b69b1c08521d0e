//! Intermediate tensors of a sample, for recording and tests.

use hotshoe_engine::Sample;
use hotshoe_infer::Tensor;

/// Named tensors, which share their elements with the pipeline.
pub type Tensors = Vec<(String, Tensor)>;

/// One sample as the pipeline got it, and its intermediate tensors.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The sample with masks burned in. `None` if they could not be: then nothing of it may be recorded.
    pub sample: Option<Sample>,
    /// The sample for components, if it was inside an `.npz`.
    pub inner: Option<Sample>,
    /// Output of the preprocessor, or the input of a pipeline that begins with tensors.
    pub tensors: Option<Tensors>,
    /// Inputs of each model run in order, including state.
    pub inputs: Vec<(String, Tensors)>,
    /// Output of the last model, or the input of a pipeline that begins with a postprocessor.
    pub outputs: Option<Tensors>,
}

/// Peak memory of one component in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUsage {
    /// Its name in the release.
    pub name: String,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Bytes of host tensors and images.
    pub tensor_bytes: u64,
}
