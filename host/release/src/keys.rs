//! Signing keys in files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hotshoe_trust::{Digest, SigningKey, TrustRoot, is_encrypted};
use serde::Serialize;

use crate::files::{Readers, read_text, write_new};
use crate::passphrase;

/// A key pair on disk.
#[derive(Debug, Clone, Serialize)]
pub struct KeyPair {
    /// The secret key, PKCS#8 in PEM, readable only by its owner.
    pub secret: PathBuf,
    /// The public key, in PEM.
    pub public: PathBuf,
    /// SHA-256 of the public key's SPKI.
    pub fingerprint: Digest,
    /// The lines of `trust.toml` that allow it to sign every release.
    pub trust_entry: String,
    /// Whether the secret key needs a passphrase.
    pub encrypted: bool,
}

/// Creates a key pair `NAME.key` and `NAME.pub` in a folder, which is created if missing.
pub fn keygen(
    folder: &Path,
    name: &str,
    passphrase: Option<&str>,
    force: bool,
) -> anyhow::Result<KeyPair> {
    check_name(name)?;
    let key = SigningKey::generate().context("cannot create a key")?;
    let pem = key
        .to_pem(passphrase)
        .context("cannot write the key as PEM")?;
    let public_key = key.public_key().context("cannot derive the public key")?;
    let [secret, public] = paths(folder, name);
    write_new(&secret, pem.as_bytes(), Readers::Owner, force)?;
    write_new(
        &public,
        public_key.to_pem().as_bytes(),
        Readers::Anyone,
        force,
    )?;
    Ok(KeyPair {
        secret,
        public,
        fingerprint: public_key.fingerprint(),
        trust_entry: TrustRoot::key_entry(name, &public_key, &["*"]),
        encrypted: passphrase.is_some(),
    })
}

/// The files of a key pair: the secret key, then the public key.
pub fn paths(folder: &Path, name: &str) -> [PathBuf; 2] {
    [
        folder.join(format!("{name}.key")),
        folder.join(format!("{name}.pub")),
    ]
}

/// Checks a key's name, which becomes a file name and a key of `trust.toml`.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        bail!(
            "`{name}` is not a valid key name; use letters, digits, `-`, `_` and `.`; it must not start with `.`"
        );
    }
    Ok(())
}

/// Reads a secret key; asks for its passphrase if it has one.
pub fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = zeroize::Zeroizing::new(read_text(path)?);
    let passphrase = if is_encrypted(&pem) {
        Some(passphrase::for_existing(path)?)
    } else {
        None
    };
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_str());
    SigningKey::from_pem(&pem, passphrase)
        .with_context(|| format!("cannot use the key {}", path.display()))
}
