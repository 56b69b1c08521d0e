//! A release folder as a deployer offers it: everything that a device will check without keys is checked before.
use std::path::Path;

use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Digest, Release, ReleaseLimits, strict_json};
use serde::Serialize;

use super::error::FleetError;

/// A release that can be served.
#[derive(Debug)]
pub struct Offer {
    /// Its folder.
    pub layout: Layout,
    /// What it says of itself. Devices verify it; a deployer's machine may know no key.
    pub release: Release,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The digests of its signature bundles.
    pub bundles: Vec<Digest>,
}

/// A release in a few words, for machines.
#[derive(Debug, Serialize)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl Offer {
    /// Opens a folder, and hashes every blob of it. One that is not signed is refused.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
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

    /// Name, generation and digest.
    pub fn named(&self) -> Named<'_> {
        Named {
            name: &self.release.name,
            generation: self.release.generation,
            digest: self.digest,
        }
    }

    /// The size of all its blobs.
    pub fn bytes(&self) -> u64 {
        self.release.blobs().map(|blob| blob.size).sum()
    }
}
