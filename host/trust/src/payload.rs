//! What a device signs of what it says: an event, its status, an answer.
//!
//! The signature is over an encoding that names the kind, the site, the device and a context, as DSSE's pre-authentication
//! encoding names the type: each part with its length before it, after words that no other signed text of ours begins with (a
//! manifest and a statement are JSON objects, a `trust.toml` is TOML). So nothing that a device signs passes for a release, a
//! statement, another kind of message, or a message of another device.

use crate::{
    bundle::{BundleError, verify_blob},
    keys::{KeyError, PublicKey},
    signing::SigningKey,
};

/// What every signed payload begins with.
const PREFIX: &[u8] = b"hotshoe-payload-v1";
/// The largest signature of a payload, a Sigstore bundle: 4 KiB. One by a device's key has about 500 bytes.
pub const MAX_PAYLOAD_SIGNATURE_BYTES: usize = 4 * 1024;

/// What kind of message a device signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// How a release fares. The context is empty: the event itself names the statement that it is about.
    Event,
    /// The status. The context is what the asker made up for this question.
    Status,
    /// The answer to an order. The context is the digest of the order.
    Answer,
}

impl PayloadKind {
    /// The type that is signed with the payload.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Event => "application/vnd.hotshoe.event+json",
            Self::Status => "application/vnd.hotshoe.status+json",
            Self::Answer => "application/vnd.hotshoe.answer+json",
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
    /// What ties it to one question; see [`PayloadKind`].
    pub context: &'a [u8],
    /// The message, as it travels.
    pub body: &'a [u8],
}

impl Payload<'_> {
    /// The bytes that are signed: no two payloads have the same.
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

    /// Signs it: a Sigstore bundle, as JSON.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        key.sign_bundle(&self.encode())
    }

    /// Checks that `signature` is `key`'s over exactly this payload.
    pub fn verify(&self, signature: &[u8], key: &PublicKey) -> Result<(), BundleError> {
        verify_blob(&self.encode(), signature, key)
    }
}
