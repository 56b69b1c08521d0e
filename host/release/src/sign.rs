//! Signatures of a packed release.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::{Digest, Package, SigningKey, check_bundle, verify_blob};
use serde::Serialize;

use crate::files::read_text;
use crate::{baselines, encodings};

/// The result of signing.
#[derive(Debug, Clone, Serialize)]
pub struct Signed {
    /// The digest of the manifest that was signed.
    pub release: Digest,
    /// The manifest's file.
    pub manifest: PathBuf,
    /// The fingerprint of the key; none for an attached bundle, which only claims one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// The hint of the key in the bundle: its fingerprint in base64, as the bundle claims.
    pub key_hint: String,
    /// The number of signatures of the release now.
    pub signatures: usize,
    /// False if the release already had this key's signature, or this bundle.
    pub added: bool,
}

/// Signs a release's manifest and attaches the bundle, unless this key has signed it already. Refuses a component that no device can load.
pub fn sign(layout: &Path, key: &SigningKey) -> anyhow::Result<Signed> {
    let cannot = || format!("cannot sign {}", layout.display());
    let layout = Layout::open(layout).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    encodings::check_packed(&layout, &package).with_context(cannot)?;
    baselines::check_packed(&layout, &package).with_context(cannot)?;
    let public_key = key.public_key().with_context(cannot)?;
    let known = package
        .bundles
        .iter()
        .any(|bundle| verify_blob(&package.manifest, bundle, &public_key).is_ok());
    if !known {
        let bundle = key.sign_bundle(&package.manifest).with_context(cannot)?;
        layout.attach(&bundle).with_context(cannot)?;
    }
    let fingerprint = Some(public_key.fingerprint());
    Ok(signed(
        &layout,
        &package,
        !known,
        fingerprint,
        public_key.hint(),
    ))
}

/// Attaches a bundle of another tool, if devices can check it and it is for this release's manifest.
pub fn attach(layout: &Path, bundle: &Path) -> anyhow::Result<Signed> {
    let cannot = || format!("cannot sign {}", layout.display());
    let bytes = read_text(bundle)?.into_bytes();
    let layout = Layout::open(layout).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    encodings::check_packed(&layout, &package).with_context(cannot)?;
    baselines::check_packed(&layout, &package).with_context(cannot)?;
    let key_hint = check_bundle(&package.manifest, &bytes)
        .with_context(|| format!("cannot use {}", bundle.display()))?;
    let known = package.bundles.contains(&bytes);
    if !known {
        layout.attach(&bytes).with_context(cannot)?;
    }
    Ok(signed(&layout, &package, !known, None, key_hint))
}

/// The result of signing, given the release before.
fn signed(
    layout: &Layout,
    package: &Package,
    added: bool,
    fingerprint: Option<Digest>,
    key_hint: String,
) -> Signed {
    let release = Digest::of(&package.manifest);
    Signed {
        release,
        manifest: layout.blob_path(release),
        fingerprint,
        key_hint,
        signatures: package.bundles.len() + usize::from(added),
        added,
    }
}
