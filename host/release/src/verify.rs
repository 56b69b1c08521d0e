//! Verification of a packed release.

use std::path::Path;

use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::{Device, Floor, Release, Time, TrustRoot, Verified};

use crate::device::host_version;

/// Verifies a release for a device at a time, and checks every blob.
pub fn verify(
    layout: &Path,
    trust: &TrustRoot,
    floor: &Floor,
    device: &Device,
    now: Time,
) -> anyhow::Result<(Layout, Verified<Release>)> {
    let cannot = || format!("{} was refused", layout.display());
    let layout = Layout::open(layout).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    let release = hotshoe_trust::verify(&package, trust, floor, device, &host_version()?, now)
        .with_context(cannot)?;
    layout.check_release(&release).with_context(cannot)?;
    Ok((layout, release))
}
