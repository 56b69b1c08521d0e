//! A release for this machine alone: packed into a folder that goes away, signed with a key that never leaves this process, and let
//! through as a device would that allows all that it asks for.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_store::{Layout, pack_changed};
use hotshoe_trust::{
    Access, Allowed, Device, DeviceSelector, Floor, Folder, Release, SigningKey, Time, TrustRoot,
    Verified,
};
use tempfile::TempDir;
use thiserror::Error;

use crate::device::host_version;

/// The one key of its `trust.toml`.
const KEY: &str = "throw-away";
/// The site that it stands at.
const SITE: &str = "here";
/// What stands for anything in a pattern of device names.
const ANYTHING: &str = "test";

/// A release that this machine may run.
pub struct Throwaway {
    /// Where it is packed, until this is dropped.
    pub layout: Layout,
    /// The release, let through.
    pub release: Verified<Release>,
    /// The device that it is for.
    pub device: Device,
    /// All that it asks for.
    pub allowed: Allowed,
    _folder: TempDir,
}

/// Nobody knows a device that the release is for.
#[derive(Debug, Error)]
#[error(
    "no device can be made up that the patterns {patterns:?} of `[devices]` match; give one with --device NAME"
)]
pub struct NoDevice {
    patterns: Vec<String>,
}

impl NoDevice {
    /// A stable word for machines.
    pub const fn name(&self) -> &'static str {
        "no_device"
    }
}

/// A folder that somebody named is not there.
#[derive(Debug, Error)]
#[error("{} is no folder, which `{seen}` should be; make it, or correct --folder", path.display())]
pub struct NoFolder {
    seen: String,
    path: PathBuf,
}

impl NoFolder {
    /// A stable word for machines.
    pub const fn name(&self) -> &'static str {
        "no_folder"
    }
}

/// Packs, signs and verifies what `release_toml` says, but for its tests. `folders` are the device's folders by the paths that components see; others that the
/// release asks for are empty ones.
pub fn prepare(
    release_toml: &Path,
    device: Option<&str>,
    folders: &BTreeMap<String, PathBuf>,
) -> anyhow::Result<Throwaway> {
    let folder = TempDir::new().context("cannot make a temporary folder")?;
    let now = Time::now();
    let out = folder.path().join("release");
    let packed = pack_changed(release_toml, now, &out, |description| {
        description.tests.clear()
    })
    .with_context(|| format!("cannot pack {}", release_toml.display()))?;
    let device = made_up(&packed.release.devices, device)?;
    let (key, trust) = key()?;
    let manifest = packed.layout.package()?.manifest;
    packed.layout.attach(&key.sign_bundle(&manifest)?)?;
    let package = packed.layout.package()?;
    let release = hotshoe_trust::verify(
        &package,
        &trust,
        &Floor::none(),
        &device,
        &host_version()?,
        now,
    )
    .context("a device would refuse this release")?;
    let allowed = everything(&release, folders, folder.path())?;
    Ok(Throwaway {
        layout: packed.layout,
        release,
        device,
        allowed,
        _folder: folder,
    })
}

/// A new key, and the trust in it.
fn key() -> anyhow::Result<(SigningKey, TrustRoot)> {
    let key = SigningKey::generate()?;
    let pem = key.public_key()?.to_pem();
    let trust = format!(
        "threshold = 1\n[keys.{KEY}]\nscheme = \"ecdsa-p256-sha256\"\nreleases = [\"*\"]\npublic-key = \"\"\"\n{pem}\"\"\"\n"
    );
    Ok((key, TrustRoot::parse(&trust)?))
}

/// A device that a release is for.
fn made_up(selector: &DeviceSelector, name: Option<&str>) -> Result<Device, NoDevice> {
    let device = |name: String| Device {
        name,
        site: SITE.to_owned(),
        labels: selector.labels.clone(),
    };
    if let Some(name) = name {
        return Ok(device(name.to_owned()));
    }
    let patterns = selector.names.iter();
    let guesses = patterns.map(|pattern| pattern.replace('*', ANYTHING).replace('?', "x"));
    let mut devices = guesses.chain([ANYTHING.to_owned()]).map(device);
    devices
        .find(|device| selector.matches(device).is_ok())
        .ok_or_else(|| NoDevice {
            patterns: selector.names.clone(),
        })
}

/// All that a release asks for.
fn everything(
    release: &Release,
    folders: &BTreeMap<String, PathBuf>,
    scratch: &Path,
) -> anyhow::Result<Allowed> {
    let mut allowed = Allowed::default();
    for component in release.components.values() {
        allowed.grants.extend(&component.grants);
        allowed.hosts.extend(component.hosts.iter().cloned());
        for seen in component.folders.keys() {
            let path = match folders.get(seen) {
                Some(path) if path.is_dir() => path.clone(),
                Some(path) => {
                    let (seen, path) = (seen.clone(), path.clone());
                    return Err(NoFolder { seen, path }.into());
                }
                None => empty(scratch, seen)?,
            };
            let access = Access::Write;
            allowed
                .folders
                .insert(seen.clone(), Folder { path, access });
        }
    }
    Ok(allowed)
}

/// A new folder for what components see under `seen`.
fn empty(scratch: &Path, seen: &str) -> anyhow::Result<PathBuf> {
    let path = scratch.join("folders").join(seen.trim_start_matches('/'));
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn a_device_is_made_up_that_the_release_is_for() {
        let of = |names: &[&str]| DeviceSelector {
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            labels: [("line".to_owned(), "a".to_owned())].into(),
        };
        let device = made_up(&of(&["cam-*"]), None).unwrap();
        assert_eq!(device.name, "cam-test");
        assert_eq!(device.labels["line"], "a");
        assert_eq!(made_up(&of(&[]), None).unwrap().name, "test");
        assert_eq!(made_up(&of(&["a?"]), None).unwrap().name, "ax");
        assert!(made_up(&of(&["[xyz]"]), None).is_err());
        assert_eq!(made_up(&of(&["[xyz]"]), Some("y")).unwrap().name, "y");
    }
}
