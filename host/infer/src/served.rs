//! A file as it is served: with the chosen outputs, and with element types that tensors have.
//!
//! The graph is changed before a backend sees it, so that both backends build the same one, and no more of it than the outputs need.

mod choose;
mod widen;

use std::borrow::Cow;
use std::ops::RangeInclusive;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};
use tract_onnx::pb::{GraphProto, ModelProto};

use crate::{LoadError, TensorInfo, describe};

/// The field of `ModelProto` that has the graph.
const GRAPH_FIELD: u32 = 7;

/// The values of an input whose type in the file is narrower than that of its tensor.
#[derive(Debug, Clone)]
pub(crate) struct ValueRange {
    /// The type in the file: `u16`.
    pub(crate) element_type: String,
    pub(crate) values: RangeInclusive<i64>,
}

/// A file that is ready for a backend.
#[derive(Debug)]
pub(crate) struct ServedFile<'a> {
    pub(crate) model: ModelProto,
    /// The model as bytes: those of the file, unless it was changed.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The inputs that the caller has to give, by their names in the file. In `model`, some have another name.
    pub(crate) inputs: Vec<TensorInfo>,
    /// The chosen outputs, by their names in the file.
    pub(crate) outputs: Vec<TensorInfo>,
    /// The values that each input takes; `None` is any.
    pub(crate) ranges: Vec<Option<ValueRange>>,
}

impl<'a> ServedFile<'a> {
    /// Reads a file. `outputs` are the chosen ones; if there are none, the file's.
    pub(crate) fn read(bytes: &'a [u8], outputs: &[String]) -> Result<Self, LoadError> {
        if describe::is_pointer(bytes) {
            return Err(LoadError::Pointer);
        }
        let malformed = |source| LoadError::Malformed { source };
        let mut model = ModelProto::decode(bytes).map_err(|e| malformed(e.into()))?;
        let graph = model.graph.as_mut();
        let graph = graph.ok_or_else(|| malformed("it has no graph".into()))?;
        let chosen = choose::outputs(graph, outputs)?;
        if graph.output.is_empty() {
            return Err(malformed("it has no output".into()));
        }
        let without_maps = choose::without_maps(graph);
        let (inputs, described) = (describe::inputs(graph)?, describe::outputs(graph)?);
        let ranges = widen::ranges(graph);
        let widened = widen::with_casts(graph);
        let mut served = Self {
            bytes: Cow::Borrowed(bytes),
            inputs,
            outputs: described,
            ranges,
            model,
        };
        if let Some(weight) = describe::external_weight(&served.model) {
            let weight = weight.to_owned();
            return Err(LoadError::External { weight });
        }
        if chosen || without_maps || widened {
            served.bytes = Cow::Owned(with_graph(bytes, served.graph()?));
        }
        Ok(served)
    }

    pub(crate) fn graph(&self) -> Result<&GraphProto, LoadError> {
        self.model
            .graph
            .as_ref()
            .ok_or_else(|| LoadError::Malformed {
                source: "it has no graph".into(),
            })
    }
}

/// A file with another graph. All other fields stay as they are, also those that the types here do not know.
pub(crate) fn with_graph(bytes: &[u8], graph: &GraphProto) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let field = rest;
        // The bytes were decoded before, so that none of this fails.
        let Ok((tag, wire_type)) = decode_key(&mut rest) else {
            break;
        };
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        let (field, _) = field.split_at(field.len() - rest.len());
        if tag != GRAPH_FIELD {
            written.extend_from_slice(field);
        }
    }
    encode_key(GRAPH_FIELD, WireType::LengthDelimited, &mut written);
    encode_varint(graph.encoded_len() as u64, &mut written);
    // A vector grows as needed.
    let _ = graph.encode(&mut written);
    written
}

#[cfg(test)]
mod tests;
