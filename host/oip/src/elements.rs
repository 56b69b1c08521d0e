//! The elements of tensors as JSON: read from flat or nested lists, written as a flat list.

mod samples;

use std::fmt;

use bytes::Bytes;
use half::f16;
use hotshoe_infer::{ElementType, Tensor};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::datatype;
use crate::error::TensorFault;
use crate::request::{self, Data};

/// Reads the elements of one input. Lists may be nested in any way; the order is row-major. Of BYTES, `is_base64` says that texts are the
/// base64 of the elements.
pub(crate) fn from_json(
    datatype: &str,
    shape: Vec<usize>,
    json: &RawValue,
    is_base64: bool,
) -> Result<Data, TensorFault> {
    if datatype == datatype::BYTES {
        return samples::from_json(shape, json, is_base64);
    }
    let element_type = request::element_type(datatype)?;
    let product = shape
        .iter()
        .try_fold(1_usize, |p, &size| p.checked_mul(size));
    let count = product.ok_or_else(|| TensorFault::Overflow {
        shape: shape.clone(),
    })?;
    let mut collector = ElementCollector {
        element_type,
        most: count,
        count: 0,
        bytes: Vec::new(),
        fault: None,
    };
    let read = Flat(&mut collector).deserialize(&mut reader(json));
    if let Some(fault) = collector.fault {
        return Err(fault.into_error(shape, count, element_type));
    }
    read.map_err(TensorFault::Json)?;
    if collector.count != count {
        let fault = Fault::Count(collector.count.to_string());
        return Err(fault.into_error(shape, count, element_type));
    }
    Ok(Data::Elements {
        element_type,
        shape,
        bytes: Bytes::from(collector.bytes),
    })
}

fn reader(json: &RawValue) -> serde_json::Deserializer<serde_json::de::StrRead<'_>> {
    serde_json::Deserializer::from_str(json.get())
}

/// The elements so far. Memory grows with the text, not with the shape.
struct ElementCollector {
    element_type: ElementType,
    most: usize,
    count: usize,
    bytes: Vec<u8>,
    fault: Option<Fault>,
}

/// Why reading stopped early.
enum Fault {
    Count(String),
    Element(usize),
}

impl Fault {
    fn into_error(self, shape: Vec<usize>, want: usize, element_type: ElementType) -> TensorFault {
        match self {
            Self::Count(got) => TensorFault::Count { shape, want, got },
            Self::Element(position) => TensorFault::Element {
                position,
                datatype: datatype::name(element_type),
            },
        }
    }
}

/// One element in JSON.
#[derive(Clone, Copy)]
enum Scalar {
    Bool(bool),
    Whole(i128),
    Float(f64),
}

impl ElementCollector {
    fn push(&mut self, scalar: Scalar) -> Result<(), &'static str> {
        if self.count == self.most {
            self.fault = Some(Fault::Count("more".to_owned()));
            return Err("too many elements");
        }
        if put(&mut self.bytes, self.element_type, scalar).is_none() {
            self.fault = Some(Fault::Element(self.count));
            return Err("an element of another type");
        }
        self.count += 1;
        Ok(())
    }
}

/// Appends one element; `None` if it does not have this type. Integers are valid floats, but not the reverse.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a float is the nearest one to the text"
)]
fn put(bytes: &mut Vec<u8>, element_type: ElementType, scalar: Scalar) -> Option<()> {
    let float = match scalar {
        Scalar::Float(value) => Some(value),
        Scalar::Whole(value) => Some(value as f64),
        Scalar::Bool(_) => None,
    };
    let whole = match scalar {
        Scalar::Whole(value) => Some(value),
        Scalar::Float(_) | Scalar::Bool(_) => None,
    };
    match element_type {
        ElementType::Bool => match scalar {
            Scalar::Bool(value) => bytes.push(u8::from(value)),
            Scalar::Whole(_) | Scalar::Float(_) => return None,
        },
        ElementType::U8 => bytes.push(u8::try_from(whole?).ok()?),
        ElementType::I8 => bytes.extend(i8::try_from(whole?).ok()?.to_le_bytes()),
        ElementType::I32 => bytes.extend(i32::try_from(whole?).ok()?.to_le_bytes()),
        ElementType::I64 => bytes.extend(i64::try_from(whole?).ok()?.to_le_bytes()),
        ElementType::F32 => {
            let value = Some(float? as f32).filter(|value| value.is_finite())?;
            bytes.extend(value.to_le_bytes());
        }
        ElementType::F64 => bytes.extend(float?.to_le_bytes()),
        ElementType::F16 => {
            let value = Some(f16::from_f64(float?)).filter(|value| value.is_finite())?;
            bytes.extend(value.to_le_bytes());
        }
    }
    Some(())
}

struct Flat<'a>(&'a mut ElementCollector);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.push(Scalar::Bool(value)).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.push(Scalar::Whole(value.into())).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.push(Scalar::Whole(value.into())).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.push(Scalar::Float(value)).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flat(self.0))?.is_some() {}
        Ok(())
    }
}

/// Checks that JSON can represent the tensor.
pub(crate) fn check_json(tensor: &Tensor) -> Result<(), TensorFault> {
    let wrong = |position, value| TensorFault::NotFinite { position, value };
    match tensor.element_type() {
        ElementType::F16 => match halves(tensor).enumerate().find(|(_, x)| !x.is_finite()) {
            Some((position, value)) => Err(wrong(position, value.into())),
            None => Ok(()),
        },
        ElementType::F32 => match floats(tensor).enumerate().find(|(_, x)| !x.is_finite()) {
            Some((position, value)) => Err(wrong(position, value.into())),
            None => Ok(()),
        },
        ElementType::F64 => match doubles(tensor).enumerate().find(|(_, x)| !x.is_finite()) {
            Some((position, value)) => Err(wrong(position, value)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn chunks<const N: usize>(tensor: &Tensor) -> impl Iterator<Item = [u8; N]> {
    let (chunks, _) = tensor.bytes().as_chunks::<N>();
    chunks.iter().copied()
}

fn halves(tensor: &Tensor) -> impl Iterator<Item = f32> {
    chunks(tensor).map(|bytes| f16::from_le_bytes(bytes).to_f32())
}

fn floats(tensor: &Tensor) -> impl Iterator<Item = f32> {
    chunks(tensor).map(f32::from_le_bytes)
}

fn doubles(tensor: &Tensor) -> impl Iterator<Item = f64> {
    chunks(tensor).map(f64::from_le_bytes)
}

/// The elements of a tensor as a flat list. Call [`check_json`] first.
pub(crate) struct Json<'a>(pub(crate) &'a Tensor);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tensor = self.0;
        match tensor.element_type() {
            ElementType::Bool => list(serializer, tensor.bytes().iter().map(|&b| b != 0)),
            ElementType::U8 => list(serializer, tensor.bytes()),
            ElementType::I8 => list(serializer, chunks(tensor).map(i8::from_le_bytes)),
            ElementType::I32 => list(serializer, chunks(tensor).map(i32::from_le_bytes)),
            ElementType::I64 => list(serializer, chunks(tensor).map(i64::from_le_bytes)),
            ElementType::F32 => list(serializer, floats(tensor)),
            ElementType::F64 => list(serializer, doubles(tensor)),
            ElementType::F16 => list(serializer, halves(tensor)),
        }
    }
}

fn list<S: Serializer, T: Serialize>(
    serializer: S,
    elements: impl IntoIterator<Item = T>,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for element in elements {
        list.serialize_element(&element)?;
    }
    list.end()
}
