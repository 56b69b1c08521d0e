//! What a device says of itself, with what its signature covers. The signature travels as Zenoh's attachment, so that the payload is the
//! same with and without one.

use std::sync::Arc;

use hotshoe_trust::{MAX_PAYLOAD_SIGNATURE_BYTES, Payload, PayloadKind, SigningKey};
use serde::de::DeserializeOwned;
use zenoh::bytes::ZBytes;
use zenoh::sample::Sample;

use crate::device_list::{DeviceList, Unproven};

/// Longest context of a question that is signed with its answer, in bytes.
pub(super) const MAX_CONTEXT_BYTES: usize = 64;

/// Who a device is, and the key that it signs with.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub site: String,
    pub device: String,
    pub key: Option<Arc<SigningKey>>,
}

impl Signer {
    /// The signature of a message; none without a key, or where the message cannot be signed.
    pub fn sign(&self, kind: PayloadKind, context: &[u8], body: &[u8]) -> Option<Vec<u8>> {
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

/// What came under a device's keys. Until [`DeviceMessage::check`] says otherwise, it is what somebody claims.
#[derive(Debug, Clone)]
pub struct DeviceMessage<T> {
    /// The site, by the key that it came under.
    pub site: String,
    /// The device, by the key that it came under.
    pub device: String,
    /// What was said. It names the same site and device, where it names any.
    pub value: T,
    kind: PayloadKind,
    context: Vec<u8>,
    body: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl<T: DeserializeOwned> DeviceMessage<T> {
    /// Reads what came; none where it cannot be read. `names` gives the site and the device that the message itself names: by
    /// certificates, a device writes its own keys alone, and what it says there in another's name is left out.
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

/// A longer attachment is no signature.
fn signature(attachment: &ZBytes) -> Option<Vec<u8>> {
    (attachment.len() <= MAX_PAYLOAD_SIGNATURE_BYTES).then(|| attachment.to_bytes().into_owned())
}

impl<T> DeviceMessage<T> {
    /// Checks that this device has said it. Without a list nothing can be checked.
    ///
    /// # Errors
    /// [`Unproven`] says why it is a claim.
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
