//! Batches of a device's outbox, and their acknowledgements by a collector (0083).
//!
//! A batch is a query of the device, and the acknowledgement is its reply. The reply is `{"acknowledgement": "<JSON text>", "bundles":
//! ["<Sigstore bundle>", ...]}`; the signatures are over the text's bytes. The text names the digest of the batch, so that an old one
//! acknowledges nothing but what it acknowledged before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hotshoe_trust::strict_json;
use hotshoe_trust::{
    Digest, KeyError, MAX_STATEMENT_BUNDLES, PartError, Signatures, SignerError, SigningKey,
    signed_by,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format of batches.
pub const BATCH_FORMAT: u32 = 1;
/// Largest acknowledgement with its signatures, in bytes: 1 MiB.
pub const MAX_ACKNOWLEDGEMENT_BYTES: u64 = 1 << 20;
/// The shared value that a key must be allowed to write for its acknowledgements to count. No shared value can have this name.
pub const ACKNOWLEDGES: &str = "@outbox";

/// Records and losses that a device wants to get rid of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// [`BATCH_FORMAT`].
    pub format: u32,
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The outbox: 32 hexadecimal digits.
    pub instance: String,
    /// The run of the daemon, which tells two devices with copies of one outbox apart.
    pub session: String,
    /// Records that wait behind this batch.
    pub left: u64,
    /// Each source in its order.
    pub items: Vec<BatchItem>,
}

/// A record, or the notice that records will not come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchItem {
    /// A record.
    Record(RecordItem),
    /// A loss.
    Loss(LossItem),
}

/// A record on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordItem {
    /// The output that it belongs to: `insight`, `action` or `custom:TOPIC`.
    pub source: String,
    /// The epoch of the outbox.
    pub epoch: u16,
    /// Its number within the source, from 1.
    pub sequence: u64,
    /// SHA-256 of the payload: 64 hexadecimal digits.
    pub digest: String,
    /// Its class of data.
    pub class: String,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// The device's time of day when it was accepted, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The payload, where it is JSON: its bytes are those of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The payload, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// A loss on the wire: one range of sequences of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossItem {
    /// The output.
    pub source: String,
    /// The epoch of the outbox.
    pub epoch: u16,
    /// The first sequence.
    pub from: u64,
    /// The last sequence.
    pub to: u64,
    /// Lost records; fewer than the range has where others of it were delivered.
    pub count: u64,
    /// Bytes of their payloads; 0 where it is not known.
    pub bytes: u64,
    /// The stable name of the cause.
    pub cause: String,
}

/// A payload as JSON if its bytes are one JSON value in one line, else in base64. So is `null`, which a reader takes for a missing payload.
pub fn encode_payload(payload: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    let text = std::str::from_utf8(payload).ok();
    let text = text.filter(|text| text.trim() == *text && !text.contains(['\n', '\r']));
    let text = text.filter(|text| *text != "null");
    match text.and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok()) {
        Some(json) => (Some(json), None),
        None => (None, Some(STANDARD.encode(payload))),
    }
}

impl RecordItem {
    /// The bytes of the payload. `None` if there is none, or its base64 is not valid.
    pub fn payload(&self) -> Option<Vec<u8>> {
        match (&self.payload, &self.payload_base64) {
            (Some(json), None) => Some(json.get().as_bytes().to_vec()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            _ => None,
        }
    }
}

/// What a collector has stored durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The outbox.
    pub instance: String,
    /// SHA-256 of the batch, as 64 hexadecimal digits.
    pub batch: String,
    /// The ranges, by source.
    pub acknowledged: Vec<AcknowledgedRanges>,
}

/// Ranges of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgedRanges {
    /// The source.
    pub source: String,
    /// First and last sequences.
    pub ranges: Vec<(u64, u64)>,
}

/// An acknowledgement on the wire. It is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedAcknowledgement {
    /// The acknowledgement, as JSON text.
    acknowledgement: String,
    /// Sigstore bundles over the text's bytes, as JSON texts.
    #[serde(default)]
    bundles: Vec<String>,
}

/// Why an acknowledgement is not taken. The records stay in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgementError {
    /// It is not the expected JSON.
    #[error(transparent)]
    Part(#[from] PartError),
    /// It is about another batch, or of another device.
    #[error("the acknowledgement is about another batch")]
    OtherBatch,
    /// The device requires signatures, and there is none.
    #[error(
        "the acknowledgement is not signed, and this device requires it; give `hotshoe collect` a --key"
    )]
    Unsigned,
    /// There are more signatures than are checked.
    #[error("the acknowledgement has {count} signatures, and at most {limit} are checked")]
    TooManySignatures {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// No signature is valid; this is the error of the first one.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Signed, but only by keys that may not acknowledge.
    #[error(
        "key `{key}` may not acknowledge records; add `@outbox` to its `shared-data` in trust.toml"
    )]
    CollectorNotAllowed {
        /// The key's name.
        key: String,
    },
}

impl AcknowledgementError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Part(_) => "invalid_acknowledgement",
            Self::OtherBatch => "other_batch",
            Self::Unsigned => "unsigned",
            Self::TooManySignatures { .. } => "too_many_signatures",
            Self::Signer(error) => error.name(),
            Self::CollectorNotAllowed { .. } => "collector_not_allowed",
        }
    }
}

impl Acknowledgement {
    /// The bytes on the wire, signed if there is a key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn to_bytes(&self, key: Option<&SigningKey>) -> Result<Vec<u8>, KeyError> {
        let acknowledgement = serde_json::to_string(self).unwrap_or_default();
        let bundle = key
            .map(|key| key.sign_bundle(acknowledgement.as_bytes()))
            .transpose()?;
        // A bundle is JSON, hence UTF-8.
        let bundles = bundle
            .iter()
            .map(|bundle| String::from_utf8_lossy(bundle).into_owned())
            .collect();
        let signed = SignedAcknowledgement {
            acknowledgement,
            bundles,
        };
        Ok(serde_json::to_vec(&signed).unwrap_or_default())
    }

    /// Reads the acknowledgement of a batch, whose bytes are `sent`.
    ///
    /// # Errors
    /// [`AcknowledgementError`].
    pub fn read(
        bytes: &[u8],
        sent: &[u8],
        batch: &Batch,
        signatures: Signatures<'_>,
    ) -> Result<Self, AcknowledgementError> {
        let in_acknowledgement = |source| PartError::of("acknowledgement", source);
        let signed: SignedAcknowledgement =
            strict_json::parse(bytes, MAX_ACKNOWLEDGEMENT_BYTES).map_err(in_acknowledgement)?;
        let text = signed.acknowledgement.as_bytes();
        let read: Self =
            strict_json::parse(text, MAX_ACKNOWLEDGEMENT_BYTES).map_err(in_acknowledgement)?;
        let named = (&read.site, &read.device, &read.instance);
        if named != (&batch.site, &batch.device, &batch.instance)
            || read.batch != Digest::of(sent).hex()
        {
            return Err(AcknowledgementError::OtherBatch);
        }
        let (trust, is_required) = signatures.parts();
        if signed.bundles.is_empty() && is_required {
            return Err(AcknowledgementError::Unsigned);
        }
        if signed.bundles.len() as u64 > MAX_STATEMENT_BUNDLES {
            return Err(AcknowledgementError::TooManySignatures {
                count: signed.bundles.len(),
                limit: MAX_STATEMENT_BUNDLES,
            });
        }
        let signers = signed_by(&signed.bundles, text, trust)?;
        let allowed = signers.iter().any(|key| key.may_write_shared(ACKNOWLEDGES));
        match signers.first() {
            Some(other) if !allowed => Err(AcknowledgementError::CollectorNotAllowed {
                key: other.name().to_owned(),
            }),
            _ => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_payload_keeps_its_bytes_on_the_wire() {
        for payload in [
            b"{\"a\": 1.50, \"b\":[ ]}".as_slice(),
            b"3",
            b"null",
            b"",
            b" {}",
            b"{\n}",
            b"not json",
            b"\xff\x00",
        ] {
            let (json, base64) = encode_payload(payload);
            assert!(json.is_some() != base64.is_some());
            let item = RecordItem {
                source: "insight".to_owned(),
                epoch: 1,
                sequence: 1,
                digest: String::new(),
                class: String::new(),
                priority: "normal".to_owned(),
                wall_ms: 0,
                payload: json,
                payload_base64: base64,
            };
            let text = serde_json::to_string(&BatchItem::Record(item)).unwrap();
            assert!(!text.contains('\n'));
            let BatchItem::Record(back) = serde_json::from_str(&text).unwrap() else {
                unreachable!()
            };
            assert_eq!(back.payload().unwrap(), payload);
        }
    }
}
