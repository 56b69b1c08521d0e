//! Public keys, and the one place where a signature is checked.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sigstore_crypto::{SigningScheme, VerificationKey};
use sigstore_types::{DerPublicKey, SignatureBytes};

use crate::digest::Digest;

/// How a key signs. A key is only ever used with the scheme that its owner's entry in `trust.toml` pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// ECDSA on P-256 over SHA-256, the signature in DER: what `hotshoe keygen` and `cosign` make.
    EcdsaP256Sha256,
    /// Ed25519 (RFC 8032) over the message itself.
    Ed25519,
}

impl Scheme {
    fn sigstore(self) -> SigningScheme {
        match self {
            Self::EcdsaP256Sha256 => SigningScheme::EcdsaP256Sha256,
            Self::Ed25519 => SigningScheme::Ed25519,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
        })
    }
}

/// Why a key could not be read, made, written or used.
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
    /// A private key in another form.
    #[error("a private key labelled `{label}` cannot be used; {way_out}")]
    Form {
        /// The PEM label.
        label: String,
        /// What to do.
        way_out: &'static str,
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
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty; give one, or ask for a key without a passphrase")]
    EmptyPassphrase,
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new key")]
    Randomness(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key or its signature could not be written.
    #[error("the key could not be written")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A signature that is not the key's over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not this key's over these bytes")]
pub struct SignatureError;

/// A public key with the scheme it is used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: DerPublicKey,
    scheme: Scheme,
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

    /// Reads a SubjectPublicKeyInfo in DER.
    pub fn from_der(der: &[u8], scheme: Scheme) -> Result<Self, KeyError> {
        let spki = DerPublicKey::new(der.to_vec());
        let refuse = |e: sigstore_crypto::Error| KeyError::Public {
            scheme,
            source: e.into(),
        };
        let key =
            VerificationKey::from_spki_with_scheme(&spki, scheme.sigstore()).map_err(refuse)?;
        // A compressed or misplaced point is refused here rather than at the first signature.
        sigstore_crypto::validate_raw_public_key(scheme.sigstore(), key.as_bytes())
            .map_err(refuse)?;
        Ok(Self { spki, scheme })
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

    /// The scheme it is used with.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Checks that `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        VerificationKey::from_spki_with_scheme(&self.spki, self.scheme.sigstore())
            .and_then(|key| key.verify(message, &SignatureBytes::new(signature.to_vec())))
            .map_err(|_| SignatureError)
    }
}
