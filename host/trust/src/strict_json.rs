//! Unambiguous JSON: a repeated key is refused at every depth, and size and depth have limits.
//!
//! Two parsers that disagree about which of two equal keys applies would read two releases from one
//! signed text. So a first pass refuses repeated keys (compared after unescaping), and only then is the
//! text read into a type, which must derive `Deserialize` with `deny_unknown_fields`.

use std::{cell::Cell, collections::BTreeSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::nearest::{Unknown, suggestion};

/// How deep arrays and objects may nest: 32 levels (a release needs 6).
pub const MAX_DEPTH: usize = 32;

/// Why a JSON text was refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("{size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes given.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels, at line {line}")]
    TooDeep {
        /// Line, from 1.
        line: usize,
    },
    /// A duplicate key in one object.
    #[error("duplicate key `{key}` in one object, at line {line}")]
    DuplicateKey {
        /// The key, unescaped.
        key: String,
        /// Line, from 1.
        line: usize,
    },
    /// A key, or one of a fixed set of values, that the schema does not know.
    #[error("unknown {kind} `{found}` at line {line}; {}", suggestion(nearest.as_deref(), known))]
    Unknown {
        /// `key` or `value`.
        kind: &'static str,
        /// What was written.
        found: String,
        /// The most similar known one.
        nearest: Option<String>,
        /// All known ones.
        known: Vec<String>,
        /// Line, from 1.
        line: usize,
    },
    /// Not JSON, or a value of the wrong type, or a missing key.
    #[error("not the expected JSON")]
    Invalid(#[source] serde_json::Error),
}

/// Parses `bytes` as a `T`, within `max_bytes`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], max_bytes: u64) -> Result<T, JsonError> {
    check(bytes, max_bytes)?;
    serde_json::from_slice(bytes).map_err(|error| match Unknown::from_serde(&error.to_string()) {
        Some(unknown) => JsonError::Unknown {
            kind: unknown.kind,
            nearest: unknown.nearest().map(str::to_owned),
            found: unknown.found,
            known: unknown.known,
            line: error.line(),
        },
        None => JsonError::Invalid(error),
    })
}

/// Checks that `bytes` are one JSON value within `max_bytes` and [`MAX_DEPTH`], without repeated keys.
pub fn check(bytes: &[u8], max_bytes: u64) -> Result<(), JsonError> {
    let size = bytes.len() as u64;
    if size > max_bytes {
        return Err(JsonError::TooLarge {
            size,
            limit: max_bytes,
        });
    }
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk {
        depth: 0,
        fault: &fault,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    walked.map_err(|error| match fault.take() {
        Some(Violation::TooDeep) => JsonError::TooDeep { line: error.line() },
        Some(Violation::Duplicate(key)) => JsonError::DuplicateKey {
            key,
            line: error.line(),
        },
        None => JsonError::Invalid(error),
    })
}

/// What the first pass refused; kept beside serde's error, which is text only.
enum Violation {
    TooDeep,
    Duplicate(String),
}

/// Visits one value and discards it.
struct Walk<'a> {
    depth: usize,
    fault: &'a Cell<Option<Violation>>,
}

impl Walk<'_> {
    /// Visits a value one level deeper.
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            self.fault.set(Some(Violation::TooDeep));
            return Err(E::custom("too deep"));
        }
        Ok(Self {
            depth: self.depth + 1,
            fault: self.fault,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        let inner_depth = self.inner::<A::Error>()?.depth;
        while let Some(key) = entries.next_key::<String>()? {
            if seen.contains(&key) {
                self.fault.set(Some(Violation::Duplicate(key)));
                return Err(A::Error::custom("duplicate key"));
            }
            seen.insert(key);
            entries.next_value_seed(Walk {
                depth: inner_depth,
                fault: self.fault,
            })?;
        }
        Ok(())
    }
}
