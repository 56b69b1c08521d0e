//! A release folder that a deployer publishes. It passes all checks of a device that need no keys.
use std::path::Path;

use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Digest, Release, ReleaseLimits, strict_json};
use serde::Serialize;

use super::error::FleetError;

/// A release that can be published.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The folder.
    pub layout: Layout,
    /// The release as its config describes it, not verified: a deployer's machine may have no keys.
    pub release: Release,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The digests of its signature bundles.
    pub bundles: Vec<Digest>,
}

/// A reference to a release, for JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ReleaseRef<'a> {
    /// The release's name.
    pub name: &'a str,
    /// The release's generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl Offer {
    /// Opens a folder and checks the digest of every blob.
    ///
    /// # Errors
    /// The folder is not a release, a blob is missing or damaged, or the release is not signed.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot publish {}", path.display());
        let layout = Layout::open(path).with_context(cannot)?;
        let package = layout.package().with_context(cannot)?;
        let manifest = Manifest::parse(&package.manifest)
            .context("the manifest cannot be read")
            .with_context(cannot)?;
        let release: Release = strict_json::parse(&package.config, ReleaseLimits::CONFIG_BYTES)
            .context("the manifest's config cannot be read")
            .with_context(cannot)?;
        if package.bundles.is_empty() {
            return Err(FleetError::Unsigned {
                release: path.display().to_string(),
            }
            .into());
        }
        for layer in &manifest.layers {
            layout.check(&layer.blob()).with_context(cannot)?;
        }
        Ok(Self {
            digest: Digest::of(&package.manifest),
            bundles: package.bundles.iter().map(|it| Digest::of(it)).collect(),
            layout,
            release,
        })
    }

    /// The name, generation and digest.
    pub(crate) fn reference(&self) -> ReleaseRef<'_> {
        ReleaseRef {
            name: &self.release.name,
            generation: self.release.generation,
            digest: self.digest,
        }
    }

    /// The size of all blobs, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.release.blobs().map(|blob| blob.size).sum()
    }
}
