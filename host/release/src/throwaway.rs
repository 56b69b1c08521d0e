//! A temporary release for this machine: packed into a temporary folder, signed with a key that never leaves this process, and verified for
//! a device that allows everything.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_store::{Layout, pack_changed};
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{
    Access, Allowed, Device, DeviceSelector, Floor, Folder, Release, SigningKey, Time, TrustRoot,
    Verified,
};
use tempfile::TempDir;
use thiserror::Error;

use crate::device::host_version;
use crate::pack::whole_model;

/// The name of its only key.
const KEY: &str = "throw-away";
/// The device's site.
const SITE: &str = "here";
/// The replacement for `*` in a pattern of device names.
const ANYTHING: &str = "test";

/// A release that this machine may run.
pub struct ThrowawayRelease {
    /// The packed release, until this is dropped.
    pub layout: Layout,
    /// The verified release.
    pub release: Verified<Release>,
    /// The device that it is for.
    pub device: Device,
    /// Everything that the release requests.
    pub allowed: Allowed,
    _folder: TempDir,
}

/// No device name matches the release's patterns.
#[derive(Debug, Error)]
#[error(
    "cannot derive a device name from the patterns {patterns:?} of `[devices]`; give one with --device NAME"
)]
pub struct NoDevice {
    patterns: Vec<String>,
}

impl NoDevice {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "no_device"
    }
}

/// A folder of `--folder` does not exist.
#[derive(Debug, Error)]
#[error("{}, given for `{seen}`, is not a folder; create it, or correct --folder", path.display())]
pub struct NoFolder {
    seen: String,
    path: PathBuf,
}

impl NoFolder {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "no_folder"
    }
}

/// Packs, signs and verifies a `release.toml` without its tests. `folders` are the device's folders by the paths that components see; other
/// requested folders are empty.
pub fn prepare(
    release_toml: &Path,
    device: Option<&str>,
    folders: &BTreeMap<String, PathBuf>,
) -> anyhow::Result<ThrowawayRelease> {
    let folder = TempDir::new().context("cannot create a temporary folder")?;
    let now = Time::now();
    let out = folder.path().join("release");
    let without_tests = |description: &mut ReleaseToml| description.tests.clear();
    let packed = pack_changed(release_toml, now, &out, without_tests, &whole_model)
        .with_context(|| format!("cannot pack {}", release_toml.display()))?;
    let device = matching_device(&packed.release.devices, device)?;
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
    let allowed = allow_all(&release, folders, folder.path())?;
    Ok(ThrowawayRelease {
        layout: packed.layout,
        release,
        device,
        allowed,
        _folder: folder,
    })
}

/// A new key, and a trust root with it.
fn key() -> anyhow::Result<(SigningKey, TrustRoot)> {
    let key = SigningKey::generate()?;
    let pem = key.public_key()?.to_pem();
    let trust = format!(
        "threshold = 1\n[keys.{KEY}]\nscheme = \"ecdsa-p256-sha256\"\nreleases = [\"*\"]\npublic-key = \"\"\"\n{pem}\"\"\"\n"
    );
    Ok((key, TrustRoot::parse(&trust)?))
}

/// A device that a release is for.
fn matching_device(selector: &DeviceSelector, name: Option<&str>) -> Result<Device, NoDevice> {
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

/// Allows everything that a release requests.
fn allow_all(
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

/// Creates an empty folder for the path `seen`.
fn empty(scratch: &Path, seen: &str) -> anyhow::Result<PathBuf> {
    let path = scratch.join("folders").join(seen.trim_start_matches('/'));
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn a_device_name_is_derived_from_the_patterns() {
        let of = |names: &[&str]| DeviceSelector {
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            labels: [("line".to_owned(), "a".to_owned())].into(),
        };
        let device = matching_device(&of(&["cam-*"]), None).unwrap();
        assert_eq!(device.name, "cam-test");
        assert_eq!(device.labels["line"], "a");
        assert_eq!(matching_device(&of(&[]), None).unwrap().name, "test");
        assert_eq!(matching_device(&of(&["a?"]), None).unwrap().name, "ax");
        assert!(matching_device(&of(&["[xyz]"]), None).is_err());
        assert_eq!(
            matching_device(&of(&["[xyz]"]), Some("y")).unwrap().name,
            "y"
        );
    }
}
