//! Private keys of deployers and devices, and the bundles that they sign.

use std::fmt;

use p256::{
    ecdsa::{Signature, signature::Signer as _},
    elliptic_curve::Generate as _,
};
use pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, EncryptedPrivateKeyInfoRef,
    LineEnding, PrivateKeyInfoRef, SecretDocument, der::pem::PemLabel as _, pkcs5::pbes2,
};
use sigstore_types::{
    Bundle, DigestBytes, HashAlgorithm, MediaType, MessageDigest, MessageSignature,
    PublicKeyIdentifier, SignatureBytes, SignatureContent, VerificationMaterial,
    VerificationMaterialContent,
};
use zeroize::Zeroizing;

use crate::{
    digest::Digest,
    keys::{KeyError, PublicKey, Scheme},
};

/// A P-256 private key. Its memory is wiped on drop, and `Debug` shows only the public key.
pub struct SigningKey(p256::ecdsa::SigningKey);

/// Whether a private key in PEM needs a passphrase.
pub fn is_encrypted(pem: &str) -> bool {
    label(pem) == Some(EncryptedPrivateKeyInfoRef::PEM_LABEL)
}

fn label(pem: &str) -> Option<&str> {
    pem.trim_start()
        .strip_prefix("-----BEGIN ")?
        .split_once("-----")
        .map(|(label, _)| label)
}

impl SigningKey {
    /// Generates a key from the system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        p256::ecdsa::SigningKey::try_generate()
            .map(Self)
            .map_err(|e| KeyError::Randomness(e.into()))
    }

    /// Reads PKCS#8 in PEM, encrypted (PBES2) or not. The passphrase is ignored if the key is not encrypted.
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let form = |label: &str, remedy| {
            Err(KeyError::Form {
                label: label.to_owned(),
                remedy,
            })
        };
        match label(pem) {
            Some(l) if l == PrivateKeyInfoRef::PEM_LABEL => {
                p256::ecdsa::SigningKey::from_pkcs8_pem(pem.trim())
                    .map(Self)
                    .map_err(KeyError::Private)
            }
            Some(l) if l == EncryptedPrivateKeyInfoRef::PEM_LABEL => {
                let (_, document) = SecretDocument::from_pem(pem.trim())
                    .map_err(|e| KeyError::Private(pkcs8::Error::Asn1(e)))?;
                let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(KeyError::Private)?;
                let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
                // With a wrong passphrase the padding may be valid by chance, but the bytes are not a key.
                let opened = sealed
                    .decrypt(passphrase)
                    .map_err(|_| KeyError::WrongPassphrase)?;
                p256::ecdsa::SigningKey::from_pkcs8_der(opened.as_bytes())
                    .map(Self)
                    .map_err(KeyError::Private)
            }
            Some("EC PRIVATE KEY") => {
                form("EC PRIVATE KEY", "convert it with `openssl pkcs8 -topk8`")
            }
            Some(l) if l.ends_with("SIGSTORE PRIVATE KEY") => form(
                l,
                "sign with `cosign sign-blob --key` and attach its bundle with `hotshoe sign --bundle`, or make a key with `hotshoe keygen`",
            ),
            other => form(other.unwrap_or("nothing"), "make one with `hotshoe keygen`"),
        }
    }

    /// The key as PKCS#8 in PEM, encrypted with PBES2 (scrypt, AES-256-CBC) if there is a passphrase.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        match passphrase {
            Some("") => Err(KeyError::EmptyPassphrase),
            Some(passphrase) => self.sealed(passphrase),
            None => self
                .0
                .to_pkcs8_pem(LineEnding::LF)
                .map_err(|e| KeyError::Write(e.into())),
        }
    }

    /// scrypt with N = 2^17, r = 8, p = 1 (OWASP's Password Storage Cheat Sheet): `pkcs8` and OpenSSL default to 2^14.
    fn sealed(&self, passphrase: &str) -> Result<Zeroizing<String>, KeyError> {
        let write = |e: pkcs8::Error| KeyError::Write(e.into());
        let [salt, iv] = [<[u8; 16]>::try_generate(), <[u8; 16]>::try_generate()];
        let salt = salt.map_err(|e| KeyError::Randomness(e.into()))?;
        let iv = iv.map_err(|e| KeyError::Randomness(e.into()))?;
        let strong = pbes2::Parameters::generate_scrypt_aes256cbc(Default::default(), &salt, iv)
            .map_err(|e| write(e.into()))?;
        let key = self.0.to_pkcs8_der().map_err(write)?;
        PrivateKeyInfoRef::try_from(key.as_bytes())
            .map_err(write)?
            .encrypt_with_params(strong, passphrase)
            .map_err(write)?
            .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
            .map_err(|e| write(e.into()))
    }

    /// The public key.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let der = self
            .0
            .verifying_key()
            .to_public_key_der()
            .map_err(|e| KeyError::Write(e.into()))?;
        PublicKey::from_der(der.as_bytes(), Scheme::EcdsaP256Sha256)
    }

    /// Signs `message` (for a release: the manifest's bytes) and returns the Sigstore bundle v0.3 as JSON,
    /// with the key's hint and no log entry, as `cosign sign-blob --key` writes it offline.
    ///
    /// The nonce is RFC 6979's, so the bundle of one key and message is deterministic.
    pub fn sign_bundle(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature: Signature = self
            .0
            .try_sign(message)
            .map_err(|e| KeyError::Write(e.into()))?;
        let digest = DigestBytes::new(Digest::of(message).bytes().to_vec());
        let content =
            MessageSignature::new(SignatureBytes::new(signature.to_der().as_bytes().to_vec()))
                .with_message_digest(MessageDigest::new(HashAlgorithm::Sha2256, digest));
        let hint = PublicKeyIdentifier::new(self.public_key()?.hint());
        let bundle = Bundle::new(
            MediaType::Bundle0_3,
            VerificationMaterial::new(VerificationMaterialContent::PublicKey(hint)),
            SignatureContent::MessageSignature(content),
        );
        bundle
            .to_json()
            .map(String::into_bytes)
            .map_err(|e| KeyError::Write(e.into()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public_key().map(|key| key.fingerprint()))
            .finish()
    }
}
