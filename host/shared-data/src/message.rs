//! Requests to a device about its shared data, which may be signed, and the answers.
//!
//! On the wire, `{"request": "<JSON text>", "bundles": ["<Sigstore bundle>", ...]}`; the signatures are over the text's bytes. The
//! text's keys differ from those of a manifest, a statement and a `trust.toml`, so that no signed text of one kind can be used as
//! another. It names the site and the device, so that another device does not take it. An older request that is sent again changes
//! nothing, because a merge is idempotent.

use hotshoe_trust::strict_json::{self, JsonError};
use hotshoe_trust::{
    KeyError, MAX_STATEMENT_BUNDLES, PartError, Signatures, SigningKey, signed_by,
};
use serde::{Deserialize, Serialize};

use crate::definition::{Definition, MAX_VALUES, Rule, is_name};
use crate::error::SharedDataError;
use crate::value::SharedValue;

/// Largest text of a request, in bytes: 384 KiB. A list of the largest size needs about 180, because JSON in a string has escapes.
pub const MAX_REQUEST_TEXT_BYTES: u64 = 384 << 10;
/// Largest request with its signatures, and largest answer, in bytes: 1 MiB.
pub const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// What is requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The names and rules of all values.
    List {},
    /// The state of a value.
    Get {
        /// The value.
        name: String,
    },
    /// Merge this state, and return the result.
    Exchange {
        /// The value.
        name: String,
        /// The sender's state.
        state: SharedValue,
    },
}

/// A request to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The sender's wall time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// What is requested.
    pub shared_data: Action,
}

/// A request on the wire. It is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignedRequest {
    /// The request, as JSON text.
    request: String,
    /// Sigstore bundles over the text's bytes, as JSON texts.
    #[serde(default)]
    bundles: Vec<String>,
}

/// A request to this device that was read, and whose signatures were checked if it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRequest {
    /// The request.
    pub request: Request,
    /// The names of the trusted keys that signed a write and may write the value, sorted. Empty for a read, and for a write without a signature.
    pub signers: Vec<String>,
}

/// A value in the answer to [`Action::List`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The value.
    pub name: String,
    /// Its rule.
    pub rule: Rule,
}

/// The answer of a device. Unknown keys are ignored, so that a later version can add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Action::List`].
    Values(Vec<Summary>),
    /// To the others.
    Value {
        /// The device's wall time, in milliseconds since 1970-01-01T00:00:00Z.
        #[serde(rename = "at-ms")]
        at_ms: u64,
        /// The rule and the limits.
        definition: Definition,
        /// The device's state, after the merge.
        state: SharedValue,
        /// Entries of the request that the device left out, because their times are too far ahead of its clock.
        #[serde(default)]
        ahead: usize,
    },
}

impl SignedRequest {
    /// A request without a signature.
    pub fn new(request: &Request) -> Self {
        Self {
            request: serde_json::to_string(request).unwrap_or_default(),
            bundles: Vec::new(),
        }
    }

    /// Adds the signature of `key`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), KeyError> {
        let bundle = key.sign_bundle(self.request.as_bytes())?;
        // A bundle is JSON, hence UTF-8.
        self.bundles
            .push(String::from_utf8_lossy(&bundle).into_owned());
        Ok(())
    }

    /// The request as bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Reads a request, which must be for this device. Only a write needs a signature: a value is no more secret than the device's status.
///
/// # Errors
/// [`SharedDataError`].
pub fn read_request(
    bytes: &[u8],
    site: &str,
    device: &str,
    signatures: Signatures<'_>,
) -> Result<CheckedRequest, SharedDataError> {
    let signed: SignedRequest = strict_json::parse(bytes, MAX_REQUEST_BYTES).map_err(in_request)?;
    let text = signed.request.as_bytes();
    let request: Request = strict_json::parse(text, MAX_REQUEST_TEXT_BYTES).map_err(in_request)?;
    if (request.site.as_str(), request.device.as_str()) != (site, device) {
        let Request { site, device, .. } = request;
        return Err(SharedDataError::OtherDevice { site, device });
    }
    let Action::Exchange { name, state } = &request.shared_data else {
        let signers = Vec::new();
        return Ok(CheckedRequest { request, signers });
    };
    if !state.is_valid() {
        let name = name.clone();
        return Err(SharedDataError::InvalidState { name });
    }
    let (trust, is_required) = signatures.parts();
    let bundles = signed.bundles.as_slice();
    if bundles.is_empty() && is_required {
        return Err(SharedDataError::Unsigned);
    }
    if bundles.len() as u64 > MAX_STATEMENT_BUNDLES {
        let size = bundles.len() as u64;
        let limit = MAX_STATEMENT_BUNDLES;
        return Err(in_request(JsonError::TooLarge { size, limit }).into());
    }
    let signers = signed_by(bundles, text, trust)?;
    let (allowed, others): (Vec<_>, Vec<_>) = signers
        .into_iter()
        .partition(|key| key.may_write_shared(name));
    if let (true, Some(other)) = (allowed.is_empty(), others.first()) {
        return Err(SharedDataError::WriterNotAllowed {
            key: other.name().to_owned(),
            name: name.clone(),
        });
    }
    let mut signers: Vec<String> = allowed.iter().map(|key| key.name().to_owned()).collect();
    signers.sort();
    Ok(CheckedRequest { request, signers })
}

/// Reads a device's answer.
///
/// # Errors
/// [`SharedDataError::Part`] and [`SharedDataError::InvalidState`].
pub fn read_answer(bytes: &[u8], name: &str) -> Result<Answer, SharedDataError> {
    let answer: Answer = strict_json::parse(bytes, MAX_REQUEST_BYTES)
        .map_err(|source| PartError::of("answer", source))?;
    let is_valid = match &answer {
        // The site defines what is listed in its replica, which could not be read again with other names.
        Answer::Values(values) => {
            values.len() <= MAX_VALUES && values.iter().all(|value| is_name(&value.name))
        }
        Answer::Value {
            definition, state, ..
        } => definition.is_valid() && definition.rule == state.rule() && state.is_valid(),
    };
    if !is_valid {
        let name = name.to_owned();
        return Err(SharedDataError::InvalidState { name });
    }
    Ok(answer)
}

const fn in_request(source: JsonError) -> PartError {
    PartError::of("request", source)
}
