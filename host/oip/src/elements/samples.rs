//! The elements of a BYTES tensor in JSON: texts, or base64 as `{"b64": ".."}` or with the parameter `content_type` of `base64`.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::reader;
use crate::error::TensorFault;
use crate::request::{self, Data};

/// Standard base64, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the elements. Lists may be nested in any way.
pub(super) fn from_json(
    shape: Vec<usize>,
    json: &RawValue,
    is_base64: bool,
) -> Result<Data, TensorFault> {
    let want = request::samples(&shape)?;
    let mut collector = Collector {
        want,
        is_base64,
        elements: Vec::new(),
        fault: None,
    };
    let read = Flat(&mut collector).deserialize(&mut reader(json));
    let Collector {
        elements, fault, ..
    } = collector;
    let got = match fault {
        Some(Fault::Base64) => {
            let position = elements.len();
            return Err(TensorFault::Base64 { position });
        }
        Some(Fault::More) => "more".to_owned(),
        None => {
            read.map_err(TensorFault::Json)?;
            elements.len().to_string()
        }
    };
    if elements.len() != want || got == "more" {
        return Err(TensorFault::Count { shape, want, got });
    }
    Ok(Data::Samples { shape, elements })
}

struct Collector {
    want: usize,
    is_base64: bool,
    elements: Vec<Bytes>,
    fault: Option<Fault>,
}

/// Why reading stopped early.
enum Fault {
    More,
    Base64,
}

impl Collector {
    fn push<E: Error>(&mut self, text: &str, is_base64: bool) -> Result<(), E> {
        if self.elements.len() == self.want {
            self.fault = Some(Fault::More);
            return Err(E::custom("too many elements"));
        }
        let element = if is_base64 {
            BASE64.decode(text).map_err(|error| {
                self.fault = Some(Fault::Base64);
                E::custom(error)
            })?
        } else {
            text.as_bytes().to_vec()
        };
        self.elements.push(element.into());
        Ok(())
    }
}

struct Flat<'a>(&'a mut Collector);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// An element in base64, as other servers take it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    b64: String,
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or of objects with base64 as `b64`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let is_base64 = self.0.is_base64;
        self.0.push(text, is_base64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let encoded = Encoded::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        self.0.push(&encoded.b64, true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flat(self.0))?.is_some() {}
        Ok(())
    }
}
