//! Input and output of a pipeline: parsing a sample for the first step, and tensors as the result.

use std::collections::BTreeSet;
use std::sync::Arc;

use hotshoe_engine::{ErrorCode, Failure, Fault, Insight, Sample};
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits, NpzError};
use hotshoe_trust::PipelineInput;

use super::Expectation;

/// Media type of a sample within an `.npz` that does not state one.
const UNKNOWN: &str = "application/octet-stream";

/// The input of the first step.
pub(super) enum FirstInput {
    Sample,
    /// Tensors, and the sample that they were made of (empty if it is not included).
    Tensors(Vec<(String, Tensor)>, Sample),
    Insight(Insight),
}

impl FirstInput {
    /// Parses a sample for a pipeline with this input. `takes` is whether the first step has an input of that name.
    pub(crate) fn read(
        begin: PipelineInput,
        sample: &Sample,
        takes: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        match begin {
            PipelineInput::Sample => Ok(Self::Sample),
            PipelineInput::Tensors | PipelineInput::Outputs => {
                let arrays = npz::read(&sample.payload, Limits::SAMPLE).map_err(|error| {
                    let cause = hotshoe_base::chain(&error);
                    invalid(&format!(
                        "the pipeline begins with tensors, but the sample is not an .npz of tensors: {cause}"
                    ))
                })?;
                let (tensors, inner) = split_sample(arrays, sample, takes)?;
                Ok(Self::Tensors(tensors, inner))
            }
            PipelineInput::Insight => match Expectation::parse(&sample.payload) {
                Ok(given) => Ok(Self::Insight(given.insight)),
                Err(error) => Err(invalid(&format!(
                    "the pipeline begins with a policy, but the sample is not an insight in JSON: {error}"
                ))),
            },
        }
    }
}

/// The insight of a pipeline that ends with tensors.
pub(super) fn tensors_to_insight(tensors: &[(String, Tensor)]) -> Result<Insight, Failure> {
    let bytes: u64 = tensors.iter().map(|(_, it)| it.byte_len() as u64).sum();
    let most = Limits::SAMPLE;
    if bytes > most.bytes || tensors.len() > most.arrays {
        let message = format!(
            "the pipeline ends with {} tensors of {bytes} bytes; a result has at most {} tensors of {} bytes",
            tensors.len(),
            most.arrays,
            most.bytes
        );
        return Err(Failure::new(
            Fault::Guest(ErrorCode::LimitExceeded),
            message,
        ));
    }
    let mut names = BTreeSet::new();
    if let Some((name, _)) = tensors.iter().find(|(name, _)| !names.insert(name)) {
        let message = format!("the pipeline ends with two tensors `{name}`; rename one");
        return Err(Failure::new(Fault::Guest(ErrorCode::InvalidInput), message));
    }
    let written = npz::to_bytes(tensors);
    let failed = |error: NpzError| Failure::of(Fault::Guest(ErrorCode::Internal), &error);
    Ok(Insight::Custom {
        content_type: npz::CONTENT_TYPE.to_owned(),
        payload: written.map_err(failed)?,
    })
}

/// Separates the sample from the tensors.
fn split_sample(
    arrays: Vec<(String, Tensor)>,
    outer: &Sample,
    takes: impl Fn(&str) -> bool,
) -> Result<(Vec<(String, Tensor)>, Sample), Failure> {
    let mut sample = Sample {
        content_type: UNKNOWN.to_owned(),
        payload: Arc::from([]),
        ..outer.clone()
    };
    let parts = npz::split(arrays, |name, _| takes(name));
    if let Some(payload) = &parts.payload {
        sample.payload = Arc::from(byte_row(npz::SAMPLE, payload)?);
    }
    if let Some(kind) = &parts.content_type {
        let text = str::from_utf8(byte_row(npz::SAMPLE_TYPE, kind)?)
            .map_err(|_| invalid("the array `content-type` is not UTF-8"))?;
        text.clone_into(&mut sample.content_type);
    }
    Ok((parts.tensors, sample))
}

/// The bytes of a one-dimensional `u8` array.
fn byte_row<'a>(name: &str, tensor: &'a Tensor) -> Result<&'a [u8], Failure> {
    match tensor.as_u8() {
        Ok(bytes) if tensor.shape().len() == 1 => Ok(bytes),
        _ => Err(invalid(&format!(
            "the array `{name}` is {} of shape {:?}; it must be u8 with one dimension",
            tensor.element_type(),
            tensor.shape()
        ))),
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(Fault::Guest(ErrorCode::InvalidInput), message)
}
