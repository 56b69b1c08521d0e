//! Packing.

use std::path::Path;

use anyhow::Context;
use hotshoe_store::Packed;
use hotshoe_trust::Time;

/// Packs what a `release.toml` names into a folder, issued at `now`.
pub fn pack(release_toml: &Path, out: &Path, now: Time) -> anyhow::Result<Packed> {
    hotshoe_store::pack(release_toml, now, out)
        .with_context(|| format!("cannot pack {}", release_toml.display()))
}
