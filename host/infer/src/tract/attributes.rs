//! The attributes of each operator that tract 0.23 reads, according to its parsers of ONNX (`tract-onnx`, `src/ops`).
//!
//! tract ignores attributes that it does not read. If such an attribute is not the default, the results are wrong: a backward `LSTM` runs
//! forward.

use tract_onnx::pb::{AttributeProto, NodeProto};

use crate::onnx::inner_graphs;

const POOL: [&str; 6] = [
    "auto_pad",
    "ceil_mode",
    "dilations",
    "kernel_shape",
    "pads",
    "strides",
];

/// Operators with the attributes that tract reads. Other operators are read without attributes.
const READ: &[(&[&str], &[&str])] = &[
    (
        &["ArgMax", "ArgMin"],
        &["axis", "keepdims", "select_last_index"],
    ),
    (
        &["Attention"],
        &[
            "is_causal",
            "kv_num_heads",
            "q_num_heads",
            "qk_matmul_output_mode",
            "scale",
            "softcap",
        ],
    ),
    (&["AveragePool"], &["count_include_pad"]),
    (&["BatchNormalization"], &["epsilon", "spatial"]),
    (&["BitShift"], &["direction"]),
    (
        &["BlackmanWindow", "HammingWindow", "HannWindow"],
        &["output_datatype", "periodic"],
    ),
    (&["Cast"], &["to"]),
    (
        &["CategoryMapper"],
        &[
            "cats_int64s",
            "cats_strings",
            "default_int64",
            "default_string",
        ],
    ),
    (
        &["Celu", "Elu", "LeakyRelu", "QuickGelu", "ThresholdedRelu"],
        &["alpha"],
    ),
    (&["Clip"], &["max", "min"]),
    (
        &[
            "Compress",
            "Concat",
            "Flatten",
            "Gather",
            "GatherElements",
            "Hardmax",
            "LogSoftmax",
            "OneHot",
            "Softmax",
        ],
        &["axis"],
    ),
    (
        &["Constant"],
        &[
            "value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
            "value_string",
            "value_strings",
        ],
    ),
    (&["ConstantLike"], &["dtype", "shape", "value"]),
    (&["ConstantOfShape"], &["value"]),
    (&["Conv", "ConvInteger", "QLinearConv"], &["group"]),
    (
        &["ConvTranspose"],
        &["group", "output_padding", "output_shape"],
    ),
    (&["CumSum"], &["exclusive", "reverse"]),
    (&["DFT"], &["axis", "inverse", "onesided"]),
    (&["DepthToSpace"], &["blocksize", "mode"]),
    (
        &["DequantizeLinear", "QuantizeLinear"],
        &["axis", "block_size"],
    ),
    (&["Einsum"], &["equation"]),
    (&["EyeLike"], &["dtype", "k"]),
    (&["GRU"], &["layout", "linear_before_reset"]),
    (
        &["GatherBlockQuantized"],
        &["bits", "block_size", "gather_axis", "quantize_axis"],
    ),
    (&["GatherND"], &["batch_dims"]),
    (&["Gelu"], &["approximate"]),
    (&["Gemm"], &["alpha", "beta", "transA", "transB"]),
    (&["GlobalLpPool"], &["p"]),
    (&["GridSample"], &["align_corners", "mode", "padding_mode"]),
    (&["GroupNormalization"], &["epsilon", "num_groups"]),
    (
        &["GroupQueryAttention"],
        &[
            "causal",
            "do_rotary",
            "k_quant_type",
            "kv_num_heads",
            "local_window_size",
            "num_heads",
            "qk_output",
            "rotary_interleaved",
            "scale",
            "sliding_window_cache",
            "smooth_softmax",
            "softcap",
            "v_quant_type",
        ],
    ),
    (
        &["HardSigmoid", "ParametricSoftplus", "ScaledTanh"],
        &["alpha", "beta"],
    ),
    (&["If"], &["else_branch", "then_branch"]),
    (
        &[
            "InstanceNormalization",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ],
        &["epsilon"],
    ),
    (&["IsInf"], &["detect_negative", "detect_positive"]),
    (&["LRN"], &["alpha", "beta", "bias", "size"]),
    (&["LSTM", "RNN"], &["layout"]),
    (&["LayerNormalization"], &["axis", "epsilon", "stash_type"]),
    (
        &["LinearClassifier"],
        &[
            "classlabels_ints",
            "classlabels_strings",
            "coefficients",
            "intercepts",
            "multi_class",
            "post_transform",
        ],
    ),
    (
        &["LinearRegressor"],
        &["coefficients", "intercepts", "post_transform", "targets"],
    ),
    (&["LpNormalization"], &["axis", "p"]),
    (&["MatMulNBits"], &["K", "N", "bits", "block_size"]),
    (&["MaxPool"], &["storage_order"]),
    (&["MeanVarianceNormalization"], &["axes"]),
    (&["MelWeightMatrix"], &["output_datatype"]),
    (&["Mod"], &["fmod"]),
    (&["MultiHeadAttention"], &["num_heads", "scale"]),
    (&["Multinomial"], &["dtype", "sample_size", "seed"]),
    (&["NonMaxSuppression"], &["center_point_box"]),
    (&["Normalizer"], &["norm"]),
    (&["Pad"], &["mode", "pads", "value"]),
    (
        &["RMSNormalization", "SimplifiedLayerNormalization"],
        &["axis", "epsilon"],
    ),
    (
        &[
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        ],
        &["dtype", "high", "low", "mean", "scale", "seed", "shape"],
    ),
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        &["axes", "keepdims", "noop_with_empty_axes"],
    ),
    (&["Reshape"], &["allowzero"]),
    (
        &["Resize"],
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
    ),
    (
        &["RotaryEmbedding"],
        &[
            "interleaved",
            "is_packed_batching",
            "num_heads",
            "rotary_embedding_dim",
            "scale",
        ],
    ),
    (&["STFT"], &["onesided"]),
    (
        &["Scan"],
        &[
            "body",
            "num_scan_inputs",
            "scan_input_axes",
            "scan_input_directions",
            "scan_output_axes",
            "scan_output_directions",
        ],
    ),
    (&["Scatter", "ScatterElements"], &["axis", "reduction"]),
    (&["ScatterND"], &["reduction"]),
    (&["Selu"], &["alpha", "gamma"]),
    (&["Shape"], &["end", "start"]),
    (&["Shrink"], &["bias", "lambd"]),
    (&["Slice"], &["axes", "ends", "starts"]),
    (&["SpaceToDepth"], &["blocksize"]),
    (&["Split"], &["axis", "split"]),
    (&["Squeeze", "Unsqueeze"], &["axes"]),
    (&["TopK"], &["axis", "largest"]),
    (&["Transpose"], &["perm"]),
    (
        &["TreeEnsembleClassifier"],
        &[
            "base_values",
            "class_ids",
            "class_nodeids",
            "class_treeids",
            "class_weights",
            "classlabels_int64s",
            "classlabels_strings",
            "nodes_falsenodeids",
            "nodes_featureids",
            "nodes_missing_value_tracks_true",
            "nodes_modes",
            "nodes_nodeids",
            "nodes_treeids",
            "nodes_truenodeids",
            "nodes_values",
            "post_transform",
        ],
    ),
    (&["Trilu"], &["upper"]),
];

/// Operators that share the parser of a window's attributes.
const WINDOWED: [&str; 6] = [
    "AveragePool",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "MaxPool",
    "QLinearConv",
];

/// Operators whose parsers use the position of inputs even if an earlier one is omitted. The others count only the present inputs.
const TAKES_GAPS: &[&str] = &[
    "Attention",
    "Clip",
    "ConvInteger",
    "DFT",
    "Dropout",
    "GRU",
    "GroupQueryAttention",
    "LSTM",
    "MatMulInteger",
    "MatMulNBits",
    "MultiHeadAttention",
    "NonMaxSuppression",
    "Pad",
    "RNN",
    "Resize",
    "STFT",
    "SkipLayerNormalization",
    "Slice",
];

/// What tract would ignore or misread in a node of this operator set.
pub(super) fn misread(node: &NodeProto, opset: i64) -> Option<String> {
    let operator = node.op_type.as_str();
    for (at, attribute) in node.attribute.iter().enumerate() {
        let name = attribute.name.as_str();
        if node.attribute.iter().take(at).any(|it| it.name == name) {
            return Some(format!("it has two attributes \"{name}\""));
        }
        if !attribute.ref_attr_name.is_empty() {
            let of = &attribute.ref_attr_name;
            return Some(format!(
                "its attribute \"{name}\" is that of a function, \"{of}\", but it is in none"
            ));
        }
        let is_known = is_read(operator, name) && holds(operator, name, opset);
        if !is_known && !says_nothing(node, attribute, opset) {
            return Some(format!("tract does not read its attribute \"{name}\""));
        }
    }
    let attribute = |name: &str| node.attribute.iter().find(|it| it.name == name);
    let pads_itself = attribute("auto_pad").is_some_and(|it| it.s.starts_with(b"SAME"));
    if pads_itself && attribute("pads").is_some() {
        return Some("it has both `pads` and `auto_pad`; tract uses only `pads`".to_owned());
    }
    // In earlier versions, both train by default.
    let trains = matches!(operator, "BatchNormalization" | "Dropout") && opset < 7;
    if trains && attribute("is_test").is_none_or(|it| it.i == 0) {
        return Some("it is in training mode, which tract does not support".to_owned());
    }
    if operator == "Scan" && opset < 9 {
        return Some("tract reads its inputs as in operator set 9 and later".to_owned());
    }
    if operator == "If" && inner_graphs(node).any(|branch| !branch.input.is_empty()) {
        return Some("one of its branches has inputs, which tract ignores".to_owned());
    }
    let gap = node.input.iter().position(String::is_empty);
    let later = gap
        .and_then(|gap| node.input.get(gap..))
        .unwrap_or_default();
    if later.iter().any(|name| !name.is_empty()) && !TAKES_GAPS.contains(&operator) {
        return Some("tract takes a later input for the omitted one".to_owned());
    }
    None
}

fn is_read(operator: &str, name: &str) -> bool {
    let mut read = READ
        .iter()
        .filter(|(operators, _)| operators.contains(&operator));
    read.any(|(_, names)| names.contains(&name))
        || (WINDOWED.contains(&operator) && POOL.contains(&name))
}

/// Whether tract reads an attribute of the operator in this operator set. Most differences are attributes that became inputs, or were
/// inputs before.
fn holds(operator: &str, name: &str, opset: i64) -> bool {
    match (operator, name) {
        ("Slice", _) => opset < 10,
        ("Clip", _) | ("Pad", "pads" | "value") => opset < 11,
        ("Squeeze" | "Unsqueeze" | "ReduceSum", "axes") | ("Split", "split") => opset < 13,
        ("DFT", "axis") => opset < 20,
        ("Resize", "coordinate_transformation_mode") => opset >= 11,
        ("Resize", "antialias" | "axes" | "keep_aspect_ratio_policy") => opset >= 18,
        (_, "axes") if operator.starts_with("Reduce") => opset < 18,
        _ => true,
    }
}

/// Whether an attribute that tract does not read has no effect: it is a hint, or has its default value.
fn says_nothing(node: &NodeProto, attribute: &AttributeProto, opset: i64) -> bool {
    let operator = node.op_type.as_str();
    let text = || attribute.s.as_slice();
    let activations = |defaults: &[&str]| {
        let mut given = attribute.strings.iter().zip(defaults.iter().cycle());
        given.all(|(given, default)| given.eq_ignore_ascii_case(default.as_bytes()))
    };
    match (operator, attribute.name.as_str()) {
        // In the first versions of the format: which inputs an operator may overwrite.
        (_, "consumed_inputs") => true,
        // Training, and intermediate rounding.
        ("BatchNormalization", "momentum") | ("Dropout", "ratio" | "seed") => true,
        ("BatchNormalization" | "Dropout", "is_test") => opset < 7 && attribute.i != 0,
        ("BatchNormalization", "training_mode") => attribute.i == 0,
        ("Attention", "softmax_precision") | ("MatMulNBits", "accuracy_level") => true,
        (
            "GroupNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization",
            "stash_type",
        ) => true,
        ("QuantizeLinear", "precision") => true,
        // Only for 8-bit floating point, which tract does not have.
        ("Cast" | "CastLike" | "QuantizeLinear", "saturate")
        | ("Cast" | "CastLike", "round_mode") => true,
        // A zero point determines the type.
        ("DequantizeLinear" | "QuantizeLinear", "output_dtype") => {
            attribute.i == 0 || node.input.len() > 2
        }
        ("Split", "num_outputs") => usize::try_from(attribute.i) == Ok(node.output.len()),
        ("Swish", "alpha") => attribute.f == 1.0,
        // Any order is valid if none is requested.
        ("TopK", "sorted") => true,
        // Defaults of recurrent layers. The weights determine the number of directions.
        ("GRU" | "LSTM" | "RNN", "hidden_size" | "output_sequence") => true,
        ("GRU" | "LSTM" | "RNN", "direction") => matches!(text(), b"forward" | b"bidirectional"),
        ("GRU" | "LSTM" | "RNN", "activation_alpha" | "activation_beta") => {
            attribute.floats.is_empty()
        }
        ("LSTM", "input_forget") => attribute.i == 0,
        ("LSTM", "activations") => activations(&["Sigmoid", "Tanh", "Tanh"]),
        ("GRU", "activations") => activations(&["Sigmoid", "Tanh"]),
        ("RNN", "activations") => activations(&["Tanh"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_lists_name_operators_that_tract_has() {
        let known = tract_onnx::onnx().op_register.0;
        let named = READ.iter().flat_map(|(operators, _)| operators.iter());
        let all: Vec<_> = named.chain(&WINDOWED).chain(TAKES_GAPS).collect();
        let unknown: BTreeSet<_> = all
            .into_iter()
            .filter(|name| !known.contains_key(**name))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
