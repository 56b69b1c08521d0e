//! Descriptions of models as messages: metadata, configuration and statistics.

use crate::catalogue::{CallTarget, TensorDescription};
use crate::datatype;
use crate::proto::model_metadata_response::TensorMetadata;
use crate::proto::{
    InferStatistics, ModelConfig, ModelInput, ModelMetadataResponse, ModelOutput, ModelStatistics,
    StatisticDuration,
};
use crate::stats::{Counters, Total};

/// The metadata of a model or of the pipeline.
pub(super) fn metadata(target: CallTarget) -> ModelMetadataResponse {
    let tensors = |described: Vec<TensorDescription>| {
        let tensors = described.into_iter().map(|tensor| TensorMetadata {
            name: tensor.name,
            datatype: tensor.datatype.to_owned(),
            shape: tensor.shape,
        });
        tensors.collect()
    };
    ModelMetadataResponse {
        platform: target.platform().to_owned(),
        inputs: tensors(target.inputs()),
        outputs: tensors(target.outputs()),
        name: target.name,
        versions: vec![target.version],
    }
}

/// The configuration, as far as it is known. `max_batch_size` is 0: the shapes have all dimensions.
pub(super) fn config(target: CallTarget) -> ModelConfig {
    let input = target.inputs().into_iter().map(|tensor| ModelInput {
        data_type: datatype::in_config(tensor.datatype).into(),
        name: tensor.name,
        dims: tensor.shape,
    });
    let output = target.outputs().into_iter().map(|tensor| ModelOutput {
        data_type: datatype::in_config(tensor.datatype).into(),
        name: tensor.name,
        dims: tensor.shape,
    });
    ModelConfig {
        platform: target.platform().to_owned(),
        backend: target.backend().to_owned(),
        max_batch_size: 0,
        input: input.collect(),
        output: output.collect(),
        name: target.name,
    }
}

/// The statistics of one model, with its name and version.
pub(super) fn statistics((name, version, counters): (String, String, Counters)) -> ModelStatistics {
    let total = |total: Total| {
        let Total { count, ns } = total;
        Some(StatisticDuration { count, ns })
    };
    // The protocol's numbers of what is not measured.
    let none = total(Total::default());
    ModelStatistics {
        name,
        version,
        last_inference: counters.last_ms,
        inference_count: counters.inferences,
        execution_count: counters.executions,
        inference_stats: Some(InferStatistics {
            success: total(counters.success),
            fail: total(counters.fail),
            queue: none,
            compute_input: total(counters.input),
            compute_infer: total(counters.infer),
            compute_output: total(counters.output),
            cache_hit: none,
            cache_miss: none,
        }),
    }
}
