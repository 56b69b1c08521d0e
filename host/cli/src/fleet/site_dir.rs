//! A site's folder, as `hotshoe site init` makes it: how the site is reached, by which certificates, and its devices by their keys.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::TlsConfig;
use hotshoe_config::ZenohConfig;
use hotshoe_link::device_list::DeviceList;
use hotshoe_trust::toml_file;
use serde::{Deserialize, Serialize};

use super::error::FleetError;
use crate::files::read_text;

/// What tells a site's folder from others.
pub const SITE_FILE: &str = "site.toml";
/// The site's authority, whose certificates its devices, deployers and registries have.
pub const CA: &str = "ca.pem";
/// The common name of the deployer's certificate, and the name of its files.
pub const DEPLOYER: &str = "deployer";
/// The common name of the registry's certificate, and the name of its folder and files.
pub const REGISTRY: &str = "registry";
/// The secret key that statements, and releases, are signed with; it may be elsewhere.
pub const SIGNING_KEY: &str = "signing.key";
/// The devices' public keys, a file `NAME.pub` each.
pub const DEVICES: &str = "devices";
/// What each device is given, a folder each.
pub const BUNDLES: &str = "bundles";

/// `site.toml`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SiteFile {
    /// The site's name.
    pub site: String,
    /// Where its registry is.
    pub connect: Vec<String>,
}

/// A site's folder.
#[derive(Debug, Clone)]
pub struct SiteDir {
    /// The folder.
    pub folder: PathBuf,
    /// What its `site.toml` says.
    pub file: SiteFile,
}

impl SiteDir {
    /// Opens a folder that `hotshoe site init` made.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
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

    /// A deployer's session: to the registry, with the deployer's certificate.
    pub fn zenoh(&self) -> ZenohConfig {
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

    /// The devices by their keys.
    pub fn devices(&self) -> anyhow::Result<DeviceList> {
        Ok(DeviceList::load(&self.folder.join(DEVICES))?)
    }

    /// The key that statements are signed with, if it is kept here.
    pub fn signing_key(&self) -> Option<PathBuf> {
        Some(self.folder.join(SIGNING_KEY)).filter(|path| path.exists())
    }
}
