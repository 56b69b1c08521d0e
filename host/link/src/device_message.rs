//! Messages from devices, with the data that their signatures cover. The signature is Zenoh's attachment, so the payload is the same
//! with and without one.

use std::sync::Arc;

use hotshoe_trust::{Digest, MAX_PAYLOAD_SIGNATURE_BYTES, Payload, PayloadKind, SigningKey};
use serde::de::DeserializeOwned;
use zenoh::bytes::ZBytes;
use zenoh::sample::Sample;

use crate::device_list::{DeviceList, Unproven};

/// Longest context that a query can have signed with its answer, in bytes.
pub(super) const MAX_CONTEXT_BYTES: usize = 64;

/// A device's name and signing key.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub site: String,
    pub device: String,
    pub key: Option<Arc<SigningKey>>,
}

impl Signer {
    /// Signs a message. `None` without a key, or on an error, which is logged.
    pub(crate) fn sign(&self, kind: PayloadKind, context: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let key = self.key.as_ref()?;
        let payload = Payload {
            kind,
            site: &self.site,
            device: &self.device,
            context,
            body,
        };
        payload
            .sign(key)
            .inspect_err(|error| tracing::error!(%error, "cannot sign a message"))
            .ok()
    }
}

/// A message under a device's keys. It is only claimed until [`DeviceMessage::check`] succeeds.
#[derive(Debug, Clone)]
pub struct DeviceMessage<T> {
    /// The site in the message's key.
    pub site: String,
    /// The device in the message's key.
    pub device: String,
    /// The parsed message. If it names a site and a device, they match the key.
    pub value: T,
    kind: PayloadKind,
    context: Vec<u8>,
    body: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl<T: DeserializeOwned> DeviceMessage<T> {
    /// Parses a message; `None` if that fails. `names` returns the site and the device in the message. Access rules bind a device to
    /// its own keys, so a message that names another device than its key is ignored.
    pub(super) fn read(
        sample: &Sample,
        kind: PayloadKind,
        context: &[u8],
        names: impl Fn(&T) -> Option<(&str, &str)>,
    ) -> Option<Self> {
        let key = sample.key_expr().as_str();
        let mut parts = key.split('/').skip(1);
        let (site, device) = (parts.next()?, parts.next()?);
        let body = sample.payload().to_bytes().into_owned();
        let value: T = serde_json::from_slice(&body)
            .inspect_err(
                |error| tracing::warn!(%error, key, "ignored a message that cannot be parsed"),
            )
            .ok()?;
        if names(&value).is_some_and(|named| named != (site, device)) {
            tracing::warn!(
                key,
                "ignored a message that names another device than its key"
            );
            return None;
        }
        Some(Self {
            site: site.to_owned(),
            device: device.to_owned(),
            value,
            kind,
            context: context.to_vec(),
            body,
            signature: sample.attachment().and_then(signature),
        })
    }
}

impl<T: DeserializeOwned> DeviceMessage<T> {
    /// Parses the payload of a query of a device, whose key has the site and the device of `from`. `None` if it cannot be parsed, or names
    /// others.
    pub(super) fn of_query(
        from: (String, String),
        kind: PayloadKind,
        body: Vec<u8>,
        signature: Option<Vec<u8>>,
        names: impl Fn(&T) -> (&str, &str),
    ) -> Option<Self> {
        let (site, device) = from;
        let value: T = serde_json::from_slice(&body)
            .inspect_err(
                |error| tracing::warn!(%error, device, "ignored a message that cannot be parsed"),
            )
            .ok()?;
        if names(&value) != (site.as_str(), device.as_str()) {
            return None;
        }
        Some(Self {
            site,
            device,
            value,
            kind,
            context: Vec::new(),
            body,
            signature: signature.filter(|it| it.len() <= MAX_PAYLOAD_SIGNATURE_BYTES),
        })
    }
}

/// A longer attachment is not a signature.
fn signature(attachment: &ZBytes) -> Option<Vec<u8>> {
    (attachment.len() <= MAX_PAYLOAD_SIGNATURE_BYTES).then(|| attachment.to_bytes().into_owned())
}

impl<T> DeviceMessage<T> {
    /// The same message of another sender of the site, such as a registry.
    pub(super) fn of(mut self, sender: String) -> Self {
        self.device = sender;
        self
    }

    /// The digest of the bytes that travelled.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.body)
    }

    /// Checks the signature against the device's key in `list`.
    ///
    /// # Errors
    /// [`Unproven`] says why the message is only claimed.
    pub fn check(&self, list: Option<&DeviceList>) -> Result<(), Unproven> {
        let payload = Payload {
            kind: self.kind,
            site: &self.site,
            device: &self.device,
            context: &self.context,
            body: &self.body,
        };
        list.ok_or(Unproven::NoList)?
            .check(&payload, self.signature.as_deref())
    }
}
