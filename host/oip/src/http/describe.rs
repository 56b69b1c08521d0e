//! Descriptions of models as JSON: metadata, configuration and statistics.

use serde_json::{Value, json};

use crate::catalogue::{CallTarget, TensorDescription};
use crate::datatype;
use crate::stats::{Counters, Total};

/// The metadata of a model or of the pipeline.
pub(super) fn metadata(target: &CallTarget) -> Value {
    let tensors = |described: Vec<TensorDescription>| -> Vec<Value> {
        let tensors = described.into_iter();
        tensors
            .map(|t| json!({ "name": t.name, "datatype": t.datatype, "shape": t.shape }))
            .collect()
    };
    json!({
        "name": target.name,
        "versions": [target.version],
        "platform": target.platform(),
        "inputs": tensors(target.inputs()),
        "outputs": tensors(target.outputs()),
    })
}

/// The configuration, as far as it is known. `max_batch_size` is 0: the shapes have all dimensions.
pub(super) fn config(target: &CallTarget) -> Value {
    let tensors = |described: Vec<TensorDescription>| -> Vec<Value> {
        let tensors = described.into_iter();
        tensors
            .map(|t| {
                let data_type = datatype::in_config(t.datatype).as_str_name();
                json!({ "name": t.name, "data_type": data_type, "dims": t.shape })
            })
            .collect()
    };
    json!({
        "name": target.name,
        "platform": target.platform(),
        "backend": target.backend(),
        "max_batch_size": 0,
        "input": tensors(target.inputs()),
        "output": tensors(target.outputs()),
    })
}

/// The statistics of models, each with its name and version.
pub(super) fn statistics(counted: &[(String, String, Counters)]) -> Value {
    // The protocol's numbers of what is not measured.
    let none = Total::default();
    let models = counted.iter().map(|(name, version, counters)| {
        json!({
            "name": name,
            "version": version,
            "last_inference": counters.last_ms,
            "inference_count": counters.inferences,
            "execution_count": counters.executions,
            "inference_stats": {
                "success": counters.success,
                "fail": counters.fail,
                "queue": none,
                "compute_input": counters.input,
                "compute_infer": counters.infer,
                "compute_output": counters.output,
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [],
        })
    });
    json!({ "model_stats": models.collect::<Vec<_>>() })
}
