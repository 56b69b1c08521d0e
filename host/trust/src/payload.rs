//! The messages that a device signs: events, its status, answers to orders.
//!
//! The signature is over an encoding that names the kind, the site, the device and a context, as DSSE's pre-authentication
//! encoding names the type: each part with its length before it, after a prefix that no other signed text of Hotshoe has (a
//! manifest and a statement are JSON objects, a `trust.toml` is TOML). So a signed message of a device cannot be replayed as a
//! release, a statement, another kind of message, or a message of another device.

use crate::{
    bundle::{BundleError, verify_blob},
    keys::{KeyError, PublicKey},
    signing::SigningKey,
};

/// Prefix of every signed payload.
const PREFIX: &[u8] = b"hotshoe-payload-v1";
/// Largest signature of a payload (a Sigstore bundle): 4 KiB. A device's signature has about 500 bytes.
pub const MAX_PAYLOAD_SIGNATURE_BYTES: usize = 4 * 1024;

/// What kind of message a device signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// Progress of a release. The context is empty: the event names its statement.
    Event,
    /// The status. The context is the nonce of the request.
    Status,
    /// The answer to an order, or to a request for shared data. The context is the digest of the order or request.
    Answer,
    /// The state of a shared value. The context is empty.
    SharedData,
    /// A head of the audit log. The context is empty: the head has its number.
    Audit,
    /// A batch of the outbox. The context is empty: records have their identity.
    Outbox,
    /// A device's report about a rollout. The context is empty: reports are numbered.
    RolloutReport,
    /// A registry's count of its devices. The context is empty: counts are numbered.
    RolloutCount,
}

impl PayloadKind {
    /// The type that is signed with the payload.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Event => "application/vnd.hotshoe.event+json",
            Self::Status => "application/vnd.hotshoe.status+json",
            Self::Answer => "application/vnd.hotshoe.answer+json",
            Self::SharedData => "application/vnd.hotshoe.shared-data+json",
            Self::Audit => "application/vnd.hotshoe.audit-head",
            Self::Outbox => "application/vnd.hotshoe.outbox+json",
            Self::RolloutReport => "application/vnd.hotshoe.rollout-report+json",
            Self::RolloutCount => "application/vnd.hotshoe.rollout-count+json",
        }
    }
}

/// A message of a device, with all that its signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// What it is.
    pub kind: PayloadKind,
    /// The device's site.
    pub site: &'a str,
    /// The device.
    pub device: &'a str,
    /// What ties it to one request; see [`PayloadKind`].
    pub context: &'a [u8],
    /// The message, as it travels.
    pub body: &'a [u8],
}

impl Payload<'_> {
    /// The signed bytes, which are different for any two payloads.
    fn encode(&self) -> Vec<u8> {
        let parts = [
            self.kind.media_type().as_bytes(),
            self.site.as_bytes(),
            self.device.as_bytes(),
            self.context,
            self.body,
        ];
        let mut bytes = PREFIX.to_vec();
        for part in parts {
            bytes.push(b' ');
            bytes.extend_from_slice(part.len().to_string().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Signs the payload. Returns a Sigstore bundle as JSON.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        key.sign_bundle(&self.encode())
    }

    /// Verifies that `signature` is by `key` over exactly this payload.
    pub fn verify(&self, signature: &[u8], key: &PublicKey) -> Result<(), BundleError> {
        verify_blob(&self.encode(), signature, key)
    }
}
