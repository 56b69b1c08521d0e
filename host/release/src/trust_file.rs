//! `trust.toml`, the keys that a device trusts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hotshoe_trust::{PublicKey, Scheme, TrustRoot};

use crate::files::{Readers, read_text, write_new};

/// The contents of a new `trust.toml`.
#[derive(Debug)]
pub struct TrustFile<'a> {
    /// The names and the files of the public keys.
    pub keys: &'a [(String, PathBuf)],
    /// The number of different keys that must sign a release.
    pub threshold: usize,
    /// The names of releases that the keys may sign, as globs.
    pub releases: &'a [&'a str],
    /// The version of the file.
    pub version: u64,
    /// The floors that this version sets, by name of the release.
    pub resets: &'a [(String, u64)],
}

impl TrustFile<'_> {
    /// Writes the file, and returns it as a device will read it.
    pub fn write(&self, out: &Path, force: bool) -> anyhow::Result<TrustRoot> {
        let mut text = format!(
            "# Whose signatures this device accepts, and how many it needs.\nversion = {}\nthreshold = {}\n",
            self.version, self.threshold
        );
        if !self.resets.is_empty() {
            text.push_str("\n[reset]\n");
        }
        for (name, generation) in self.resets {
            text.push_str(&format!(
                "{} = {generation}\n",
                toml::Value::from(name.as_str())
            ));
        }
        let mut names = BTreeSet::new();
        for (name, path) in self.keys {
            if !names.insert(name) {
                bail!("two keys are called `{name}`; give each its own name");
            }
            text.push('\n');
            text.push_str(&TrustRoot::key_entry(
                name,
                &public_key(path)?,
                self.releases,
            ));
        }
        // Do not write a file that a device would refuse.
        let root = TrustRoot::parse(&text).context("these keys do not make a valid trust.toml")?;
        write_new(out, text.as_bytes(), Readers::Owner, force)?;
        Ok(root)
    }
}

/// Writes the first version of a `trust.toml` with the public keys of these files, and returns it as a device will read it.
pub fn write_trust(
    keys: &[(String, PathBuf)],
    threshold: usize,
    releases: &[&str],
    out: &Path,
    force: bool,
) -> anyhow::Result<TrustRoot> {
    let trust = TrustFile {
        keys,
        threshold,
        releases,
        version: 1,
        resets: &[],
    };
    trust.write(out, force)
}

/// Reads a public key of either scheme.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = read_text(path)?;
    PublicKey::from_pem(&pem, Scheme::EcdsaP256Sha256)
        .or_else(|first| PublicKey::from_pem(&pem, Scheme::Ed25519).map_err(|_| first))
        .with_context(|| {
            format!(
                "{} is not an ECDSA P-256 or Ed25519 public key",
                path.display()
            )
        })
}
