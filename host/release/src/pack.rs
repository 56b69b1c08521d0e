//! Packing.

use std::path::Path;

use anyhow::Context;
use hotshoe_store::Packed;
use hotshoe_trust::Time;

use crate::encodings;

/// Packs what a `release.toml` names into a folder, issued at `now`. Refuses a component that no device can load.
pub fn pack(release_toml: &Path, out: &Path, now: Time) -> anyhow::Result<Packed> {
    let cannot = || format!("cannot pack {}", release_toml.display());
    encodings::check_described(release_toml).with_context(cannot)?;
    hotshoe_store::pack(release_toml, now, out).with_context(cannot)
}
