//! A site's folder from `hotshoe site init`: its endpoints, certificates and the public keys of its devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::TlsConfig;
use hotshoe_config::ZenohConfig;
use hotshoe_link::device_list::DeviceList;
use hotshoe_trust::toml_file;
use serde::{Deserialize, Serialize};

use super::error::FleetError;
use hotshoe_release::files::{Readers, read_text, write_new};

/// The file that marks a site's folder.
pub(crate) const SITE_FILE: &str = "site.toml";
/// The site's certificate authority.
pub(crate) const CA: &str = "ca.pem";
/// The common name of the deployer's certificate, and the name of its files.
pub(crate) const DEPLOYER: &str = "deployer";
/// The common name of the registry's certificate, and the name of its folder and files.
pub(crate) const REGISTRY: &str = "registry";
/// The secret key that signs statements and releases; it may be elsewhere.
pub(crate) const SIGNING_KEY: &str = "signing.key";
/// The folder of the devices' public keys, one `NAME.pub` per device.
pub(crate) const DEVICES: &str = "devices";
/// The folder of the devices' bundles, one folder per device.
pub(crate) const BUNDLES: &str = "bundles";

/// The names of devices that were removed, whose certificates are still valid.
const REMOVED: &str = "removed.toml";

/// `removed.toml`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    devices: BTreeSet<String>,
}

/// `site.toml`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SiteFile {
    /// The site's name.
    pub site: String,
    /// The endpoints of the site's registry.
    pub connect: Vec<String>,
}

/// A site's folder.
#[derive(Debug, Clone)]
pub(crate) struct SiteDir {
    /// Its path.
    pub folder: PathBuf,
    /// Its `site.toml`.
    pub file: SiteFile,
}

impl SiteDir {
    /// Opens a folder that `hotshoe site init` made.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(SITE_FILE);
        if !path.exists() {
            let folder = folder.display().to_string();
            return Err(FleetError::NoSiteDir { folder }.into());
        }
        let file = toml_file::parse(&read_text(&path)?)
            .with_context(|| format!("cannot use {}", path.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
        })
    }

    /// The settings of a deployer's session: to the registry, with the deployer's certificate.
    pub(crate) fn zenoh(&self) -> ZenohConfig {
        ZenohConfig {
            connect: self.file.connect.clone(),
            tls: Some(TlsConfig {
                ca: Some(self.folder.join(CA)),
                certificate: Some(self.folder.join(format!("{DEPLOYER}.pem"))),
                key: Some(self.folder.join(format!("{DEPLOYER}.key"))),
                ..TlsConfig::default()
            }),
            ..ZenohConfig::default()
        }
    }

    /// The devices and their public keys.
    pub(crate) fn devices(&self) -> anyhow::Result<DeviceList> {
        Ok(DeviceList::load(&self.folder.join(DEVICES))?)
    }

    /// The devices that were removed from the site.
    pub(crate) fn removed(&self) -> anyhow::Result<BTreeSet<String>> {
        let path = self.folder.join(REMOVED);
        if !path.exists() {
            return Ok(BTreeSet::new());
        }
        let removed: Removed = toml_file::parse(&read_text(&path)?)
            .with_context(|| format!("cannot use {}", path.display()))?;
        Ok(removed.devices)
    }

    /// Adds devices to those that were removed.
    pub(crate) fn note_removed(&self, devices: &[String]) -> anyhow::Result<()> {
        let mut removed = Removed {
            devices: self.removed()?,
        };
        removed.devices.extend(devices.iter().cloned());
        let text = toml::to_string(&removed)?;
        let path = self.folder.join(REMOVED);
        write_new(&path, text.as_bytes(), Readers::Anyone, true)
    }

    /// The key that signs statements, if it is kept here.
    pub(crate) fn signing_key(&self) -> Option<PathBuf> {
        Some(self.folder.join(SIGNING_KEY)).filter(|path| path.exists())
    }
}
