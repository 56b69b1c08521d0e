//! The head of the log, and the device's signature of it.

use std::fmt;
use std::str::FromStr;

use hotshoe_trust::{Digest, Payload, PayloadKind, PublicKey, Scheme, SigningKey};
use serde::{Deserialize, Serialize};

use crate::error::AuditError;

/// A point of the log: the number of a record, and the digest of its line. The last one stands for the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the record; 0 before the first one.
    pub sequence: u64,
    /// The digest of its line, without the line end.
    pub hash: Digest,
}

/// A text that is not a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a head of an audit log; write SEQUENCE:HASH, such as 12:sha256: and 64 hexadecimal digits"
)]
pub struct HeadError(String);

/// A head as the device publishes it. It is claimed where it has no signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The last record.
    #[serde(flatten)]
    pub head: Head,
    /// A Sigstore bundle by the device's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A head with the key that signed it, as it travels, and as another machine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldHead {
    /// The head.
    pub head: SignedHead,
    /// The device's public key, in PEM.
    pub public_key: String,
}

/// What a record of the kind `checkpoint` or `files_removed` signs: the record before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The file that was removed with this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
    /// A Sigstore bundle by the device's key; none if the device has no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A removed file at the beginning of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The last record that was removed.
    pub head: Head,
    /// The number of records in the file. All records before them were removed earlier.
    pub records: u64,
}

/// Signs heads with the device's key.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    site: String,
    device: String,
}

impl Head {
    /// The head of an empty log.
    pub(crate) const START: Self = Self {
        sequence: 0,
        hash: Digest::from_bytes([0; 32]),
    };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, HeadError> {
        let head = text.split_once(':').and_then(|(sequence, hash)| {
            let (sequence, hash) = (sequence.parse().ok()?, hash.parse().ok()?);
            Some(Self { sequence, hash })
        });
        head.ok_or_else(|| HeadError(text.chars().take(120).collect()))
    }
}

impl Signer {
    /// Signs with a device's key, as this device of this site.
    pub const fn new(key: SigningKey, site: String, device: String) -> Self {
        Self { key, site, device }
    }

    /// The published form of a head.
    pub(crate) fn head(&self, head: Head) -> Result<SignedHead, AuditError> {
        Ok(SignedHead {
            site: self.site.clone(),
            device: self.device.clone(),
            head,
            signature: Some(self.sign(head, None)?),
        })
    }

    /// The checkpoint of the record before it.
    pub(crate) fn checkpoint(
        &self,
        head: Head,
        removed: Option<Removed>,
    ) -> Result<Checkpoint, AuditError> {
        Ok(Checkpoint {
            site: self.site.clone(),
            device: self.device.clone(),
            removed,
            signature: Some(self.sign(head, removed)?),
        })
    }

    fn sign(&self, head: Head, removed: Option<Removed>) -> Result<String, AuditError> {
        let body = body(head, removed);
        let signed = payload(&self.site, &self.device, &body).sign(&self.key);
        let bundle = signed.map_err(AuditError::Sign)?;
        Ok(String::from_utf8_lossy(&bundle).into_owned())
    }
}

impl SignedHead {
    /// Whether one of these keys has signed it.
    pub fn is_signed(&self, keys: &[PublicKey]) -> bool {
        let body = body(self.head, None);
        is_signed(
            &self.site,
            &self.device,
            &body,
            self.signature.as_ref(),
            keys,
        )
    }
}

impl HeldHead {
    /// The fingerprint of its key, if that key has signed the head. It proves which device has published it only if the key is known.
    pub fn key(&self) -> Option<Digest> {
        let key = PublicKey::from_pem(&self.public_key, Scheme::EcdsaP256Sha256).ok()?;
        let fingerprint = key.fingerprint();
        self.head.is_signed(&[key]).then_some(fingerprint)
    }
}

impl Checkpoint {
    /// Without a key: only the chain says that the files were removed by the device.
    pub(crate) const fn unsigned(removed: Removed) -> Self {
        Self {
            site: String::new(),
            device: String::new(),
            removed: Some(removed),
            signature: None,
        }
    }

    /// Whether one of these keys has signed it for the record before it.
    pub(crate) fn is_signed(&self, before: Head, keys: &[PublicKey]) -> bool {
        let body = body(before, self.removed);
        is_signed(
            &self.site,
            &self.device,
            &body,
            self.signature.as_ref(),
            keys,
        )
    }
}

/// The signed text.
fn body(head: Head, removed: Option<Removed>) -> String {
    match removed {
        None => head.to_string(),
        Some(removed) => format!("{head} {} {}", removed.head, removed.records),
    }
}

fn payload<'a>(site: &'a str, device: &'a str, body: &'a str) -> Payload<'a> {
    Payload {
        kind: PayloadKind::Audit,
        site,
        device,
        context: &[],
        body: body.as_bytes(),
    }
}

fn is_signed(
    site: &str,
    device: &str,
    body: &str,
    signature: Option<&String>,
    keys: &[PublicKey],
) -> bool {
    let payload = payload(site, device, body);
    signature.is_some_and(|signature| {
        let mut keys = keys.iter();
        keys.any(|key| payload.verify(signature.as_bytes(), key).is_ok())
    })
}
