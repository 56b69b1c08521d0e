//! Components that no device can load are refused before they are packed and signed, and not only on a device.

use std::path::Path;

use hotshoe_base::{disk::parent, files::read_bytes};
use hotshoe_engine::{PrepareError, check_encoding};
use hotshoe_store::Layout;
use hotshoe_trust::{Package, Release, ReleaseLimits, release_toml::ReleaseToml, strict_json};

/// Largest `release.toml`: 1 MiB.
const RELEASE_TOML_BYTES: u64 = 1 << 20;

/// Checks the components that a `release.toml` names. Packing reports files that cannot be read.
pub(crate) fn check_described(release_toml: &Path) -> Result<(), PrepareError> {
    let text = read_bytes(release_toml, RELEASE_TOML_BYTES).unwrap_or_default();
    let Ok(release) = ReleaseToml::parse(&String::from_utf8_lossy(&text)) else {
        return Ok(());
    };
    for (name, component) in &release.components {
        let file = parent(release_toml).join(&component.file);
        if let Ok(bytes) = read_bytes(&file, ReleaseLimits::COMPONENT_BYTES) {
            check_encoding(name, &bytes)?;
        }
    }
    Ok(())
}

/// Checks the components of a packed release. `hotshoe verify` reports files that cannot be read.
pub(crate) fn check_packed(layout: &Layout, package: &Package) -> Result<(), PrepareError> {
    let config = strict_json::parse::<Release>(&package.config, ReleaseLimits::CONFIG_BYTES);
    let Ok(release) = config else {
        return Ok(());
    };
    for (name, component) in &release.components {
        if component.blob.size <= ReleaseLimits::COMPONENT_BYTES
            && let Ok(bytes) = layout.read(&component.blob)
        {
            check_encoding(name, &bytes)?;
        }
    }
    Ok(())
}
