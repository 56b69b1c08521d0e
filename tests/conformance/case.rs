//! One case: a model, its inputs, and the outputs that the ONNX project expects.

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_infer::{
    Backend, BackendChoice, ElementType, ModelOptions, Models, Options, OrtOptions, Tensor,
};
use hotshoe_trust::Digest;
use prost::Message;
use serde::{Deserialize, Serialize};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, TensorProto};

use crate::compare;

/// How a case ended on a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub(crate) enum Outcome {
    Passed,
    /// The outputs are not those that are expected.
    Wrong(String),
    /// It was refused, with a reason.
    Unsupported(String),
    /// The process died, or did not answer in time.
    Crashed(String),
}

/// Every case in the folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the cases").map(|e| e.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("model.onnx").is_file())
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort_unstable();
    names
}

/// The operator that a case is about. A case that spells an operator out in others counts for that operator.
pub(crate) fn operator(folder: &Path, name: &str) -> String {
    let whole = name.find("_expanded").map(|end| &name[..end]);
    let whole = whole.filter(|whole| folder.join(whole).exists());
    let bytes = fs::read(folder.join(whole.unwrap_or(name)).join("model.onnx")).expect("a model");
    let graph = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
    // Constants only feed the operator that is tested.
    let mut operators = graph.node.iter().map(|node| node.op_type.as_str());
    let tested = operators.rfind(|name| *name != "Constant");
    tested.unwrap_or("none").to_owned()
}

/// Runs all data sets of a case; the first that does not pass decides.
pub(crate) fn run(backend: Backend, library: Option<&Path>, folder: &Path) -> Outcome {
    let bytes = fs::read(folder.join("model.onnx")).expect("a model");
    let options = Options {
        ort: OrtOptions {
            library: library.map(Path::to_owned),
            ..OrtOptions::default()
        },
        ..Options::default()
    };
    let choice = ModelOptions {
        backend: match backend {
            Backend::Tract => BackendChoice::Tract,
            Backend::Ort => BackendChoice::Ort,
        },
        ..ModelOptions::default()
    };
    let model = match Models::new(options).load(Digest::of(&bytes), &bytes, &choice) {
        Ok(model) => model,
        Err(error) => return Outcome::Unsupported(reason(&error)),
    };
    for set in data_sets(folder) {
        let mut inputs = Vec::new();
        for (info, proto) in model.inputs().iter().zip(protos(&set, "input")) {
            match tensor(&proto) {
                Ok(tensor) => inputs.push((info.name.as_str(), tensor)),
                Err(reason) => return Outcome::Unsupported(reason),
            }
        }
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, t)| (*name, t)).collect();
        let outputs = match model.run(&given) {
            Ok(outputs) => outputs,
            Err(error) => return Outcome::Unsupported(reason(&error)),
        };
        let expected = protos(&set, "output");
        if outputs.len() != expected.len() {
            return Outcome::Wrong(format!(
                "{} outputs instead of {}",
                outputs.len(),
                expected.len()
            ));
        }
        for ((name, got), want) in outputs.iter().zip(&expected) {
            let want = match tensor(want) {
                Ok(want) => want,
                Err(reason) => return Outcome::Unsupported(reason),
            };
            if let Err(difference) = compare::same(folder, got, &want) {
                return Outcome::Wrong(format!("output \"{name}\": {difference}"));
            }
        }
    }
    Outcome::Passed
}

fn data_sets(folder: &Path) -> Vec<PathBuf> {
    let sets = (0..).map(|number| folder.join(format!("test_data_set_{number}")));
    sets.take_while(|set| set.is_dir()).collect()
}

fn protos(set: &Path, role: &str) -> Vec<TensorProto> {
    let files = (0..).map(|number| fs::read(set.join(format!("{role}_{number}.pb"))));
    let whole = files.map_while(Result::ok);
    whole
        .map(|bytes| TensorProto::decode(bytes.as_slice()).unwrap_or_default())
        .collect()
}

/// The tensor of a file. Its elements stand in `raw_data`, or in the field of their type (onnx.proto, `TensorProto`).
fn tensor(proto: &TensorProto) -> Result<Tensor, String> {
    let (element_type, typed) = match DataType::try_from(proto.data_type) {
        Ok(DataType::Float) => (
            ElementType::F32,
            bytes(&proto.float_data, |v| v.to_le_bytes()),
        ),
        Ok(DataType::Double) => (
            ElementType::F64,
            bytes(&proto.double_data, |v| v.to_le_bytes()),
        ),
        Ok(DataType::Int64) => (
            ElementType::I64,
            bytes(&proto.int64_data, |v| v.to_le_bytes()),
        ),
        Ok(DataType::Int32) => (
            ElementType::I32,
            bytes(&proto.int32_data, |v| v.to_le_bytes()),
        ),
        Ok(DataType::Float16) => (
            ElementType::F16,
            bytes(&proto.int32_data, |v| (v as u16).to_le_bytes()),
        ),
        Ok(DataType::Int8) => (ElementType::I8, bytes(&proto.int32_data, |v| [v as u8])),
        Ok(DataType::Uint8) => (ElementType::U8, bytes(&proto.int32_data, |v| [v as u8])),
        Ok(DataType::Bool) => (ElementType::Bool, bytes(&proto.int32_data, |v| [v as u8])),
        Ok(narrow) => return widened(proto, narrow),
        Err(_) => return Err("the case has elements of an unknown type".to_owned()),
    };
    let shape: Vec<usize> = proto.dims.iter().map(|&size| size as usize).collect();
    let elements = if proto.raw_data.is_empty() {
        &typed
    } else {
        &proto.raw_data
    };
    Tensor::from_bytes(element_type, &shape, elements).map_err(|error| error.to_string())
}

/// The tensor of elements whose type tensors do not have, but a wider one.
fn widened(proto: &TensorProto, narrow: DataType) -> Result<Tensor, String> {
    let raw = &proto.raw_data;
    let two = |of: fn(u16) -> i32| -> Vec<i32> {
        let typed = proto.int32_data.iter().map(|&v| v as u16);
        let raw = raw.as_chunks().0.iter().map(|&v| u16::from_le_bytes(v));
        raw.chain(typed).map(of).collect()
    };
    let (element_type, elements) = match narrow {
        DataType::Uint16 => (
            ElementType::I32,
            bytes(&two(i32::from), |v| v.to_le_bytes()),
        ),
        DataType::Int16 => (
            ElementType::I32,
            bytes(&two(|v| i32::from(v as i16)), |v| v.to_le_bytes()),
        ),
        // The upper half of an f32.
        DataType::Bfloat16 => (
            ElementType::F32,
            bytes(&two(|v| i32::from(v) << 16), |v| v.to_le_bytes()),
        ),
        DataType::Uint32 => {
            let typed = proto.uint64_data.iter().copied();
            let raw = raw.as_chunks().0.iter();
            let raw = raw.map(|&v| u64::from(u32::from_le_bytes(v)));
            let all: Vec<u64> = raw.chain(typed).collect();
            (ElementType::I64, bytes(&all, |v| v.to_le_bytes()))
        }
        other => return Err(format!("the case has elements of {}", other.as_str_name())),
    };
    let shape: Vec<usize> = proto.dims.iter().map(|&size| size as usize).collect();
    Tensor::from_bytes(element_type, &shape, &elements).map_err(|error| error.to_string())
}

fn bytes<T: Copy, const N: usize>(values: &[T], encode: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| encode(value)).collect()
}

/// Why a case was refused, on one line: the causes, or the message where there are none.
fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut parts: Vec<String> = causes.map(ToString::to_string).collect();
    if parts.is_empty() {
        parts.push(error.to_string());
    }
    let text = parts.join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
