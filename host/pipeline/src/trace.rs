//! What came between a sample and its result, for whoever looks on.

use hotshoe_engine::Sample;
use hotshoe_infer::Tensor;

/// Named tensors. They share their elements with what the pipeline works on.
pub type Tensors = Vec<(String, Tensor)>;

/// What the steps of a pipeline handed on for one sample.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The sample as the components see it, where it came inside an `.npz`.
    pub inner: Option<Sample>,
    /// What the preprocessor made, or what came in its place.
    pub tensors: Option<Tensors>,
    /// What each model was given, in the order of its runs, with what it keeps from sample to sample.
    pub inputs: Vec<(String, Tensors)>,
    /// What the last model made, or what came in its place.
    pub outputs: Option<Tensors>,
}

/// The most that one component of a pipeline held at once, in a worker's life so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUsage {
    /// Its name in the release.
    pub name: String,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Bytes of host tensors and images.
    pub tensor_bytes: u64,
}
