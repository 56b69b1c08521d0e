//! The protocol's names of element types.

use hotshoe_infer::ElementType;

use crate::proto::DataType;

/// The protocol's datatype of elements without a fixed size: here, a sample, or an output of a pipeline.
pub(crate) const BYTES: &str = "BYTES";

/// All datatypes, for a message.
pub(crate) const KNOWN: &str =
    "BOOL, UINT8, INT8, INT32, INT64, FP16, FP32, FP64; BYTES for a pipeline's sample";

/// The protocol's name of an element type.
pub(crate) const fn name(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "BOOL",
        ElementType::U8 => "UINT8",
        ElementType::I8 => "INT8",
        ElementType::I32 => "INT32",
        ElementType::I64 => "INT64",
        ElementType::F16 => "FP16",
        ElementType::F32 => "FP32",
        ElementType::F64 => "FP64",
    }
}

/// The element type with this name. Models here do not use the protocol's others (UINT16, UINT32, UINT64, INT16, BF16).
pub(crate) fn parse(name: &str) -> Option<ElementType> {
    Some(match name {
        "BOOL" => ElementType::Bool,
        "UINT8" => ElementType::U8,
        "INT8" => ElementType::I8,
        "INT32" => ElementType::I32,
        "INT64" => ElementType::I64,
        "FP16" => ElementType::F16,
        "FP32" => ElementType::F32,
        "FP64" => ElementType::F64,
        _ => return None,
    })
}

/// The name of a datatype in a model's configuration: `TYPE_` in front, and `TYPE_STRING` for BYTES.
pub(crate) fn in_config(name: &str) -> DataType {
    let name = if name == BYTES { "STRING" } else { name };
    DataType::from_str_name(&format!("TYPE_{name}")).unwrap_or(DataType::TypeInvalid)
}
