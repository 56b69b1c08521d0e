//! An inference request and its answer, for both forms of the protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hotshoe_infer::{ElementType, Tensor};

use crate::datatype;
use crate::error::{RequestError, TensorFault};
use crate::limits::{MAX_RANK, MAX_SAMPLES, MAX_SOURCE_BYTES};

/// The parameter of an output that requests its highest values.
pub(crate) const CLASSIFICATION: &str = "classification";

/// One value of a `parameters` object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameter {
    Bool(bool),
    Whole(i128),
    Text(String),
    /// A value that no parameter accepts.
    Other,
}

/// The known parameters of a request. Others are for other servers, and are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// `content_type`: the media type of a pipeline's sample.
    pub(crate) content_type: Option<String>,
    /// `source`: the source of a pipeline's sample, if one client sends for several. Models with state keep one state per source.
    pub(crate) source: Option<String>,
    /// `timeout` in microseconds.
    pub(crate) timeout: Option<Duration>,
    /// `binary_data_output`: whether outputs are bytes by default. Only for JSON.
    pub(crate) binary_output: bool,
}

/// One input with its elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) data: Data,
}

/// The elements of one input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// A tensor: little-endian elements; their number is not checked yet.
    Elements {
        element_type: ElementType,
        shape: Vec<usize>,
        bytes: Bytes,
    },
    /// The elements of a BYTES tensor: samples of a pipeline.
    Samples {
        shape: Vec<usize>,
        elements: Vec<Bytes>,
    },
}

/// A requested output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedOutput {
    pub(crate) name: String,
    /// `binary_data`, in JSON.
    pub(crate) binary: Option<bool>,
    /// `classification`: the number of highest values that are returned in place of the output.
    pub(crate) classes: Option<usize>,
}

/// One inference request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InferRequest {
    /// The id; empty if the client gave none.
    pub(crate) id: String,
    pub(crate) parameters: Parameters,
    pub(crate) inputs: Vec<Input>,
    /// The requested outputs; empty for all.
    pub(crate) outputs: Vec<RequestedOutput>,
}

/// One output.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Tensor(Tensor),
    /// The elements of a BYTES tensor: JSON of the pipeline, or classes.
    Bytes {
        shape: Vec<usize>,
        elements: Vec<String>,
    },
}

/// The answer to one inference request.
#[derive(Debug)]
pub(crate) struct InferResponse {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) id: String,
    pub(crate) outputs: Vec<(String, Output)>,
}

impl Output {
    pub(crate) fn datatype(&self) -> &'static str {
        match self {
            Self::Tensor(tensor) => datatype::name(tensor.element_type()),
            Self::Bytes { .. } => datatype::BYTES,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => tensor.shape(),
            Self::Bytes { shape, .. } => shape,
        }
    }

    /// The elements as the protocol's raw bytes. Those of a tensor are not copied.
    pub(crate) fn raw(&self) -> Bytes {
        match self {
            Self::Tensor(tensor) => Bytes::from_owner(Elements(tensor.clone())),
            Self::Bytes { elements, .. } => {
                let mut bytes = Vec::new();
                for element in elements {
                    put_element(&mut bytes, element.as_bytes());
                }
                bytes.into()
            }
        }
    }
}

/// Keeps a tensor alive while its bytes are written to the network.
struct Elements(Tensor);

impl AsRef<[u8]> for Elements {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Appends the raw form of a BYTES element: its length in 4 bytes, little-endian, and the element.
fn put_element(bytes: &mut Vec<u8>, element: &[u8]) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(element);
}

impl Parameters {
    /// Reads the known parameters, and refuses unsupported ones that would change the answer.
    pub(crate) fn read(
        given: impl IntoIterator<Item = (String, Parameter)>,
    ) -> Result<Self, RequestError> {
        let mut known = Self::default();
        for (name, value) in given {
            match (name.as_str(), value) {
                ("content_type", Parameter::Text(text)) => known.content_type = Some(text),
                ("source", Parameter::Text(text)) if is_source(&text) => known.source = Some(text),
                ("timeout", Parameter::Whole(micros)) => {
                    let micros = u64::try_from(micros).ok().filter(|&micros| micros > 0);
                    known.timeout = micros.map(Duration::from_micros);
                }
                ("binary_data_output", Parameter::Bool(binary)) => known.binary_output = binary,
                ("sequence_id", Parameter::Whole(0)) => {}
                ("sequence_id", Parameter::Text(text)) if text.is_empty() => {}
                ("sequence_id", _) => return Err(RequestError::Unsupported("sequences")),
                ("content_type" | "source" | "timeout" | "binary_data_output", _) => {
                    return Err(RequestError::Parameter(name));
                }
                _ => {}
            }
        }
        Ok(known)
    }
}

fn is_source(text: &str) -> bool {
    (1..=MAX_SOURCE_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// Refuses unsupported parameters of an input or output that would change the answer.
pub(crate) fn check_tensor_parameters<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), TensorFault> {
    for name in names {
        if name.starts_with("shared_memory_") {
            return Err(TensorFault::Unsupported("shared memory"));
        }
    }
    Ok(())
}

/// Checks the sizes of a client's shape.
pub(crate) fn sizes(shape: &[i64]) -> Result<Vec<usize>, TensorFault> {
    if shape.len() > MAX_RANK {
        return Err(TensorFault::Rank);
    }
    shape
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| TensorFault::Negative { size }))
        .collect()
}

/// Reads the raw bytes of an input, by its datatype.
pub(crate) fn from_raw(
    datatype: &str,
    shape: Vec<usize>,
    bytes: Bytes,
) -> Result<Data, TensorFault> {
    if datatype == datatype::BYTES {
        let count = samples(&shape)?;
        let elements = split_elements(bytes, count)?;
        return Ok(Data::Samples { shape, elements });
    }
    let element_type = element_type(datatype)?;
    Ok(Data::Elements {
        element_type,
        shape,
        bytes,
    })
}

/// Splits raw bytes into the elements of a BYTES tensor, each with its length in front.
fn split_elements(mut rest: Bytes, count: usize) -> Result<Vec<Bytes>, TensorFault> {
    let mut elements = Vec::with_capacity(count);
    for position in 0..count {
        let fault = || TensorFault::Prefix { count, position };
        let length = *rest.first_chunk::<4>().ok_or_else(fault)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| fault())?;
        let mut element = rest.split_off(4);
        if length > element.len() {
            return Err(fault());
        }
        rest = element.split_off(length);
        elements.push(element);
    }
    if rest.is_empty() {
        return Ok(elements);
    }
    let left = rest.len();
    Err(TensorFault::Behind { count, left })
}

/// The number of samples of a BYTES tensor: its shape is `[N]`, or `[N, 1]` as clients make batches.
pub(crate) fn samples(shape: &[usize]) -> Result<usize, TensorFault> {
    match *shape {
        [count] | [count, 1] if count > MAX_SAMPLES => Err(TensorFault::Samples { count }),
        [count] | [count, 1] if count > 0 => Ok(count),
        _ => Err(TensorFault::NotSingle {
            shape: shape.to_vec(),
        }),
    }
}

/// The value of `classification`: 0 is none, as for Triton.
pub(crate) fn classes(value: Option<&Parameter>) -> Result<Option<usize>, RequestError> {
    match value {
        None => Ok(None),
        Some(Parameter::Whole(count)) if *count >= 0 => {
            Ok(usize::try_from(*count).ok().filter(|&count| count > 0))
        }
        Some(_) => Err(RequestError::Parameter(CLASSIFICATION.to_owned())),
    }
}

pub(crate) fn element_type(datatype: &str) -> Result<ElementType, TensorFault> {
    datatype::parse(datatype).ok_or_else(|| TensorFault::Datatype(datatype.to_owned()))
}

/// The parameters of a request, by name.
pub(crate) type RawParameters = BTreeMap<String, Parameter>;
