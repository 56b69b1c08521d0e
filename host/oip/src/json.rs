//! Requests and answers over HTTP: JSON, followed by the bytes of tensors (the binary tensor data extension). No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::elements;
use crate::error::{RequestError, TensorFault};
use crate::limits::{MAX_ENTRIES, MAX_RANK};
use crate::request::{
    self, CLASSIFICATION, Data, InferRequest, InferResponse, Input, Output, Parameter, Parameters,
    RawParameters, RequestedOutput,
};

/// The parameter that says how many bytes of a tensor follow the JSON.
const BINARY_SIZE: &str = "binary_data_size";
/// The parameter that requests an output as bytes.
const BINARY: &str = "binary_data";

/// The body of an answer, in pieces.
#[derive(Debug)]
pub(crate) struct Body {
    /// The JSON, and the bytes of each binary output.
    pub(crate) pieces: Vec<Bytes>,
    /// The length of the JSON, if bytes follow it.
    pub(crate) header_length: Option<usize>,
    /// The `Content-Encoding`, if the pieces are compressed. The length is that of the JSON before.
    pub(crate) coding: Option<&'static str>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: RawParameters,
    #[serde(borrow, deserialize_with = "tensors")]
    inputs: Vec<InputHead<'a>>,
    #[serde(default, deserialize_with = "tensors")]
    outputs: Vec<OutputHead>,
}

#[derive(Deserialize)]
struct InputHead<'a> {
    name: String,
    datatype: String,
    shape: Sizes,
    #[serde(default)]
    parameters: RawParameters,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The sizes of a shape. Keeps at most one more than allowed.
struct Sizes(Vec<i64>);

#[derive(Deserialize)]
struct OutputHead {
    name: String,
    #[serde(default)]
    parameters: RawParameters,
}

/// Reads the body of an inference request. `header_length` is `Inference-Header-Content-Length`; without it the whole body is JSON.
///
/// Memory is proportional to the body, whatever sizes it claims.
pub(crate) fn read(
    body: &Bytes,
    header_length: Option<usize>,
) -> Result<InferRequest, RequestError> {
    let length = header_length.unwrap_or(body.len());
    let json = body
        .get(..length)
        .ok_or(RequestError::HeaderLength { body: body.len() })?;
    if members(json) > MAX_ENTRIES {
        return Err(RequestError::Members);
    }
    let head: Head<'_> = serde_json::from_slice(json).map_err(RequestError::Json)?;
    let mut rest = body.slice(length..);
    let mut inputs = Vec::with_capacity(head.inputs.len());
    for input in head.inputs {
        let name = input.name.clone();
        match read_input(input, &mut rest) {
            Ok(data) => inputs.push(Input { name, data }),
            Err(source) => return Err(RequestError::Input { name, source }),
        }
    }
    if !rest.is_empty() {
        return Err(RequestError::Rest { left: rest.len() });
    }
    let outputs = head.outputs.into_iter().map(read_output);
    Ok(InferRequest {
        id: head.id,
        parameters: Parameters::read(head.parameters)?,
        inputs,
        outputs: outputs.collect::<Result<_, _>>()?,
    })
}

/// The number of members of all objects in a text, without parsing it: the colons outside strings.
fn members(json: &[u8]) -> usize {
    let (mut members, mut in_string, mut escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => members += 1,
            _ => {}
        }
    }
    members
}

fn read_input(input: InputHead<'_>, rest: &mut Bytes) -> Result<Data, TensorFault> {
    request::check_tensor_parameters(input.parameters.keys())?;
    let shape = request::sizes(&input.shape.0)?;
    match (input.parameters.get(BINARY_SIZE), input.data) {
        (Some(_), Some(_)) => Err(TensorFault::Twice),
        (None, None) => Err(TensorFault::NoData),
        (None, Some(json)) => {
            let content = input.parameters.get("content_type");
            let is_base64 = matches!(content, Some(Parameter::Text(text)) if text == "base64");
            elements::from_json(&input.datatype, shape, json, is_base64)
        }
        (Some(Parameter::Whole(size)), None) => {
            let size = u64::try_from(*size).map_err(|_| TensorFault::BinarySize)?;
            let left = rest.len();
            let end = usize::try_from(size).ok().filter(|&size| size <= left);
            let end = end.ok_or(TensorFault::Beyond { size, left })?;
            request::from_raw(&input.datatype, shape, rest.split_to(end))
        }
        (Some(_), None) => Err(TensorFault::BinarySize),
    }
}

fn read_output(output: OutputHead) -> Result<RequestedOutput, RequestError> {
    let name = output.name;
    if let Err(source) = request::check_tensor_parameters(output.parameters.keys()) {
        return Err(RequestError::Output { name, source });
    }
    let binary = match output.parameters.get(BINARY) {
        Some(Parameter::Bool(binary)) => Some(*binary),
        Some(_) => return Err(RequestError::Parameter(BINARY.to_owned())),
        None => None,
    };
    let classes = request::classes(output.parameters.get(CLASSIFICATION))?;
    Ok(RequestedOutput {
        name,
        binary,
        classes,
    })
}

/// Writes the body of an answer.
pub(crate) fn write(
    response: &InferResponse,
    requested: &[RequestedOutput],
    binary_output: bool,
) -> Result<Body, RequestError> {
    let is_binary = |name: &str| {
        let asked = requested.iter().find(|w| w.name == name);
        asked.and_then(|w| w.binary).unwrap_or(binary_output)
    };
    let mut tail = Vec::new();
    let mut outputs = Vec::with_capacity(response.outputs.len());
    for (name, output) in &response.outputs {
        let binary = is_binary(name).then(|| output.raw());
        if binary.is_none()
            && let Output::Tensor(tensor) = output
            && let Err(source) = elements::check_json(tensor)
        {
            let name = name.clone();
            return Err(RequestError::Output { name, source });
        }
        outputs.push(OutputBody {
            name,
            output,
            binary: binary.as_ref().map(Bytes::len),
        });
        tail.extend(binary);
    }
    let head = ResponseBody {
        model_name: &response.model,
        model_version: &response.version,
        id: Some(response.id.as_str()).filter(|id| !id.is_empty()),
        outputs,
    };
    let json = serde_json::to_vec(&head).map_err(RequestError::Json)?;
    let header_length = (!tail.is_empty()).then_some(json.len());
    let mut pieces = vec![Bytes::from(json)];
    pieces.append(&mut tail);
    Ok(Body {
        pieces,
        header_length,
        coding: None,
    })
}

#[derive(Serialize)]
struct ResponseBody<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<OutputBody<'a>>,
}

struct OutputBody<'a> {
    name: &'a str,
    output: &'a Output,
    binary: Option<usize>,
}

impl Serialize for OutputBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("datatype", self.output.datatype())?;
        map.serialize_entry("shape", self.output.shape())?;
        match (self.binary, self.output) {
            (Some(size), _) => {
                map.serialize_entry("parameters", &BTreeMap::from([(BINARY_SIZE, size)]))?;
            }
            (None, Output::Tensor(tensor)) => {
                map.serialize_entry("data", &elements::Json(tensor))?;
            }
            (None, Output::Bytes { elements, .. }) => map.serialize_entry("data", elements)?,
        }
        map.end()
    }
}

/// Reads inputs or outputs. Limits their number here, because a struct may be a list, without members.
fn tensors<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(TensorsVisitor(PhantomData))
}

struct TensorsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TensorsVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tensors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut tensors = Vec::new();
        while let Some(tensor) = list.next_element()? {
            if tensors.len() == MAX_ENTRIES {
                let message = format!("there are more than {MAX_ENTRIES} inputs or outputs");
                return Err(A::Error::custom(message));
            }
            tensors.push(tensor);
        }
        Ok(tensors)
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SizesVisitor)
    }
}

struct SizesVisitor;

impl<'de> Visitor<'de> for SizesVisitor {
    type Value = Sizes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape: a list of sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sizes, A::Error> {
        let mut sizes = Vec::new();
        while let Some(size) = list.next_element()? {
            if sizes.len() <= MAX_RANK {
                sizes.push(size);
            }
        }
        Ok(Sizes(sizes))
    }
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParameterVisitor)
    }
}

struct ParameterVisitor;

impl<'de> Visitor<'de> for ParameterVisitor {
    type Value = Parameter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter: a string, a number or a boolean")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Parameter, E> {
        Ok(Parameter::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Parameter, E> {
        Ok(Parameter::Whole(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Parameter, E> {
        Ok(Parameter::Whole(value.into()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Parameter, E> {
        Ok(Parameter::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parameter, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameter, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }
}
