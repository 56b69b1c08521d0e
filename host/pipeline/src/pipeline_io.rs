//! Where a pipeline begins and ends: what its first step is given of the sample, and what its last step leaves.

use std::sync::Arc;

use hotshoe_engine::{ErrorCode, Failure, Fault, Insight, Sample};
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits, NpzError};
use hotshoe_trust::PipelineInput;

use super::Expectation;

/// The media type of a sample that came with tensors and without one.
const UNKNOWN: &str = "application/octet-stream";

/// What the first step is given.
pub(super) enum FirstInput {
    /// The sample alone.
    Sample,
    /// Tensors, and the sample that they were made of, where it came with them.
    Tensors(Vec<(String, Tensor)>, Sample),
    /// An insight.
    Insight(Insight),
}

impl FirstInput {
    /// Reads a sample, where a pipeline that begins so has to.
    pub fn read(begin: PipelineInput, sample: &Sample) -> Result<Self, Failure> {
        match begin {
            PipelineInput::Sample => Ok(Self::Sample),
            PipelineInput::Tensors | PipelineInput::Outputs => {
                let arrays = npz::read(&sample.payload, Limits::SAMPLE).map_err(|error| {
                    let cause = hotshoe_base::chain(&error);
                    invalid(&format!(
                        "the pipeline begins with tensors, and the sample is no .npz of them: {cause}"
                    ))
                })?;
                let (tensors, inner) = split_sample(arrays, sample)?;
                Ok(Self::Tensors(tensors, inner))
            }
            PipelineInput::Insight => match Expectation::parse(&sample.payload) {
                Ok(given) => Ok(Self::Insight(given.insight)),
                Err(error) => Err(invalid(&format!(
                    "the pipeline begins with a policy, and the sample is no insight in JSON: {error}"
                ))),
            },
        }
    }
}

/// Tensors as the insight of a pipeline that ends with them.
pub(super) fn tensors_to_insight(tensors: &[(String, Tensor)]) -> Result<Insight, Failure> {
    let bytes: u64 = tensors.iter().map(|(_, it)| it.byte_len() as u64).sum();
    let most = Limits::SAMPLE;
    if bytes > most.bytes || tensors.len() > most.arrays {
        let message = format!(
            "the pipeline ends with {} tensors of {bytes} bytes, and a result has at most {} of {} bytes",
            tensors.len(),
            most.arrays,
            most.bytes
        );
        return Err(Failure::new(
            Fault::Guest(ErrorCode::LimitExceeded),
            message,
        ));
    }
    let written = npz::to_bytes(tensors);
    let failed = |error: NpzError| Failure::of(Fault::Guest(ErrorCode::Internal), &error);
    Ok(Insight::Custom {
        content_type: npz::CONTENT_TYPE.to_owned(),
        payload: written.map_err(failed)?,
    })
}

/// Takes the sample out of what it came with.
fn split_sample(
    arrays: Vec<(String, Tensor)>,
    outer: &Sample,
) -> Result<(Vec<(String, Tensor)>, Sample), Failure> {
    let mut sample = Sample {
        content_type: UNKNOWN.to_owned(),
        payload: Arc::from([]),
        ..outer.clone()
    };
    let mut tensors = Vec::with_capacity(arrays.len());
    for (name, tensor) in arrays {
        match name.as_str() {
            npz::SAMPLE => sample.payload = Arc::from(byte_row(&name, &tensor)?),
            npz::SAMPLE_TYPE => {
                let text = str::from_utf8(byte_row(&name, &tensor)?)
                    .map_err(|_| invalid("the array `content-type` is not UTF-8"))?;
                text.clone_into(&mut sample.content_type);
            }
            _ => tensors.push((name, tensor)),
        }
    }
    Ok((tensors, sample))
}

/// The bytes of an array that is a line of them.
fn byte_row<'a>(name: &str, tensor: &'a Tensor) -> Result<&'a [u8], Failure> {
    match tensor.as_u8() {
        Ok(bytes) if tensor.shape().len() == 1 => Ok(bytes),
        _ => Err(invalid(&format!(
            "the array `{name}` is {} of {:?}; it is u8 of one dimension",
            tensor.element_type(),
            tensor.shape()
        ))),
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(Fault::Guest(ErrorCode::InvalidInput), message)
}
