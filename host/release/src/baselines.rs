//! Baselines of drift that no device can use are refused before they are packed and signed, and not only on a device.

use std::path::Path;

use anyhow::Context;
use hotshoe_base::{disk::parent, files::read_bytes};
use hotshoe_drift::{Baseline, Monitor};
use hotshoe_store::Layout;
use hotshoe_trust::{
    Drift, Package, Release, ReleaseLimits, release_toml::ReleaseToml, strict_json,
};

/// Largest `release.toml`: 1 MiB.
const RELEASE_TOML_BYTES: u64 = 1 << 20;

/// Checks the baseline that a `release.toml` names. Packing reports files that cannot be read.
pub(crate) fn check_described(release_toml: &Path) -> anyhow::Result<()> {
    let text = read_bytes(release_toml, RELEASE_TOML_BYTES).unwrap_or_default();
    let release = ReleaseToml::parse(&String::from_utf8_lossy(&text));
    let Some(drift) = release.ok().and_then(|release| release.drift) else {
        return Ok(());
    };
    let file = parent(release_toml).join(&drift.baseline);
    match read_bytes(&file, ReleaseLimits::BASELINE_BYTES) {
        Ok(bytes) => check(&drift, &bytes),
        Err(_) => Ok(()),
    }
}

/// Checks the baseline of a packed release. `hotshoe verify` reports files that cannot be read.
pub(crate) fn check_packed(layout: &Layout, package: &Package) -> anyhow::Result<()> {
    let config = strict_json::parse::<Release>(&package.config, ReleaseLimits::CONFIG_BYTES);
    let Some(drift) = config.ok().and_then(|release| release.drift) else {
        return Ok(());
    };
    if drift.baseline.size > ReleaseLimits::BASELINE_BYTES {
        return Ok(());
    }
    match layout.read(&drift.baseline) {
        Ok(bytes) => check(&drift, &bytes),
        Err(_) => Ok(()),
    }
}

fn check<B>(drift: &Drift<B>, bytes: &[u8]) -> anyhow::Result<()> {
    let context = "`baseline` of [drift] cannot be used";
    let baseline = Baseline::parse(bytes).context(context)?;
    Monitor::new(&baseline, drift).context(context)?;
    Ok(())
}
