//! Public keys, and the only code that verifies a signature.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::ecdsa::signature::Verifier as _;
use pkcs8::{
    ObjectIdentifier,
    der::{Decode as _, oid::AssociatedOid as _},
    spki::SubjectPublicKeyInfoRef,
};
use serde::{Deserialize, Serialize};
use sigstore_types::DerPublicKey;

use crate::digest::Digest;

/// Signature scheme. A key is used only with the scheme that its entry in `trust.toml` pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// ECDSA on P-256 over SHA-256, the signature in DER: what `hotshoe keygen` and `cosign` make.
    EcdsaP256Sha256,
    /// Ed25519 (RFC 8032) over the message itself.
    Ed25519,
}

/// `id-Ed25519` (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The first byte of an uncompressed point (SEC 1, section 2.3.3): the only form that is accepted, so that one key has one fingerprint.
const UNCOMPRESSED: u8 = 4;

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
        })
    }
}

/// Why a key could not be read, generated, written or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a public key of this scheme.
    #[error(
        "not an {scheme} public key; give the PEM that begins with `-----BEGIN PUBLIC KEY-----`"
    )]
    Public {
        /// The scheme asked for.
        scheme: Scheme,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A private key in an unsupported form.
    #[error("a private key labelled `{label}` cannot be used; {remedy}")]
    Form {
        /// The PEM label.
        label: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Not a PKCS#8 P-256 private key in PEM.
    #[error("not a P-256 private key in PKCS#8 PEM; `hotshoe keygen` makes one")]
    Private(#[source] pkcs8::Error),
    /// The private key is encrypted and no passphrase was given.
    #[error("the private key is encrypted; give its passphrase")]
    PassphraseNeeded,
    /// The passphrase does not open the private key.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
    /// An empty passphrase, which protects nothing.
    #[error("the passphrase is empty; give one, or ask for a key without a passphrase")]
    EmptyPassphrase,
    /// The system has no randomness.
    #[error("the system has no randomness for a new key")]
    Randomness(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key or its signature could not be written.
    #[error("the key could not be written")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A signature that is not valid for this key and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid for this key and these bytes")]
pub struct SignatureError;

/// Why the bytes are not a public key of the scheme asked for.
#[derive(Debug, thiserror::Error)]
enum KeyFormatError {
    #[error("not a SubjectPublicKeyInfo in DER")]
    Der(#[source] pkcs8::der::Error),
    #[error("the key has another algorithm ({0})")]
    Algorithm(ObjectIdentifier),
    #[error("the algorithm has parameters")]
    Parameters,
    #[error("the point is compressed")]
    Compressed,
    #[error("the bytes are not a point on the curve")]
    Point(#[source] p256::ecdsa::Error),
    /// Anybody can make signatures that such a key verifies.
    #[error("the point has a small order, so that its signatures prove nothing")]
    SmallOrder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl Key {
    fn read(der: &[u8], scheme: Scheme) -> Result<Self, KeyFormatError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(KeyFormatError::Der)?;
        let bytes = info.subject_public_key.raw_bytes();
        match scheme {
            Scheme::EcdsaP256Sha256 => {
                let (algorithm, curve) = info.algorithm.oids().map_err(KeyFormatError::Der)?;
                if algorithm != p256::elliptic_curve::ALGORITHM_OID {
                    return Err(KeyFormatError::Algorithm(algorithm));
                }
                if curve != Some(p256::NistP256::OID) {
                    return Err(KeyFormatError::Algorithm(curve.unwrap_or(algorithm)));
                }
                if bytes.first() != Some(&UNCOMPRESSED) {
                    return Err(KeyFormatError::Compressed);
                }
                p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
                    .map(Self::P256)
                    .map_err(KeyFormatError::Point)
            }
            Scheme::Ed25519 => {
                if info.algorithm.oid != ED25519 {
                    return Err(KeyFormatError::Algorithm(info.algorithm.oid));
                }
                if info.algorithm.parameters.is_some() {
                    return Err(KeyFormatError::Parameters);
                }
                let key =
                    ed25519_dalek::VerifyingKey::try_from(bytes).map_err(KeyFormatError::Point)?;
                if key.is_weak() {
                    return Err(KeyFormatError::SmallOrder);
                }
                Ok(Self::Ed25519(key))
            }
        }
    }
}

/// A public key with its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: DerPublicKey,
    key: Key,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM.
    pub fn from_pem(pem: &str, scheme: Scheme) -> Result<Self, KeyError> {
        let spki = DerPublicKey::from_pem(pem.trim()).map_err(|e| KeyError::Public {
            scheme,
            source: e.into(),
        })?;
        Self::from_der(spki.as_bytes(), scheme)
    }

    /// Reads a SubjectPublicKeyInfo in DER. A key of small order is refused: its signatures prove nothing.
    pub fn from_der(der: &[u8], scheme: Scheme) -> Result<Self, KeyError> {
        let key = Key::read(der, scheme).map_err(|e| KeyError::Public {
            scheme,
            source: e.into(),
        })?;
        let spki = DerPublicKey::new(der.to_vec());
        Ok(Self { spki, key })
    }

    /// The key as SubjectPublicKeyInfo in PEM, with Unix line ends.
    pub fn to_pem(&self) -> String {
        self.spki.to_pem().replace("\r\n", "\n")
    }

    /// SHA-256 of the SubjectPublicKeyInfo: one key, one fingerprint.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.spki.as_bytes())
    }

    /// The hint that `cosign` writes into a bundle: the fingerprint in base64. It finds a key and proves nothing.
    pub fn hint(&self) -> String {
        STANDARD.encode(self.fingerprint().bytes())
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        match self.key {
            Key::P256(_) => Scheme::EcdsaP256Sha256,
            Key::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// Verifies `signature` over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match &self.key {
            Key::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify(message, &signature)),
            Key::Ed25519(key) => ed25519_dalek::Signature::try_from(signature)
                .and_then(|signature| key.verify_strict(message, &signature)),
        }
        .map_err(|_| SignatureError)
    }
}
