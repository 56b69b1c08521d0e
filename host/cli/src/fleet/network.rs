//! The network options of commands that work on a site.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_config::{TlsConfig, ZenohMode};
use hotshoe_link::device_list::DeviceList;
use hotshoe_trust::SigningKey;

use super::error::FleetError;
use super::site_dir::SiteDir;
use hotshoe_release::keys::read_key;

/// The options of every command that uses Zenoh.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// A Zenoh endpoint to connect to, such as tcp/192.0.2.7:7447: a router, a registry or a device; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    pub connect: Vec<String>,
    /// The prefix of the site's keys (`[zenoh] namespace`)
    #[arg(long, value_name = "PREFIX")]
    pub namespace: Option<String>,
    /// The certificate authority of the site, in PEM, for tls/ endpoints
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate of this end, in PEM, for mutual TLS
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub certificate_key: Option<PathBuf>,
    /// The site's folder from `hotshoe site init`, with its endpoints, the deployer's certificate, the signing key and the devices'
    /// keys. Ignore unsigned answers
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub site_dir: Option<PathBuf>,
    /// The folder of the devices' public keys, one NAME.pub per device. Ignore unsigned answers
    #[arg(long, value_name = "DIR")]
    pub device_keys: Option<PathBuf>,
    /// Use endpoints on other machines without TLS: an attacker on the network can pose as the other end, and a listener accepts
    /// every client
    #[arg(long)]
    pub insecure: bool,
}

/// The session and the site that the options give.
#[derive(Debug)]
pub(crate) struct ResolvedNetwork {
    /// The settings of the session.
    pub zenoh: ZenohConfig,
    /// The site, if a configuration or a site's folder names it.
    pub site: Option<String>,
}

impl NetworkArgs {
    /// Joins the options, the configuration and the endpoints to listen on.
    ///
    /// # Errors
    /// [`FleetError::Nowhere`]: there is no endpoint.
    pub(crate) fn resolve(
        &self,
        config: Option<&Path>,
        listen: Option<&[String]>,
    ) -> anyhow::Result<ResolvedNetwork> {
        let (mut zenoh, site) = match (self.folder()?, config) {
            (Some(folder), _) => (folder.zenoh(), Some(folder.file.site)),
            (None, Some(path)) => {
                let config =
                    Config::load(path).with_context(|| format!("cannot use {}", path.display()))?;
                (config.zenoh.client(), Some(config.site))
            }
            (None, None) => (ZenohConfig::default(), None),
        };
        self.apply(&mut zenoh);
        zenoh.listen.extend(listen.unwrap_or_default().to_owned());
        if zenoh.connect.is_empty() && zenoh.listen.is_empty() && !zenoh.scouting {
            let may_listen = listen.is_some();
            return Err(FleetError::Nowhere { may_listen }.into());
        }
        if zenoh.listen.is_empty() && zenoh.connect.len() == 1 && !zenoh.scouting {
            // A router forwards messages of clients to all, but not messages between peers.
            zenoh.mode = ZenohMode::Client;
        }
        zenoh.check()?;
        Ok(ResolvedNetwork { zenoh, site })
    }

    /// The error message if the session cannot be opened.
    pub(crate) fn cannot_open(&self) -> String {
        if let (true, Some(folder)) = (self.connect.is_empty(), &self.site_dir) {
            let folder = folder.display();
            return format!(
                "cannot reach the registry that {folder} names; check that it runs there, with the site's own certificates"
            );
        }
        if self.connect.is_empty() {
            return "cannot open a Zenoh session".to_owned();
        }
        format!(
            "cannot reach {}; check that `hotshoe run` or a registry runs there, and whether it requires --certificate",
            self.connect.join(" or ")
        )
    }

    fn folder(&self) -> anyhow::Result<Option<SiteDir>> {
        self.site_dir.as_deref().map(SiteDir::open).transpose()
    }

    /// The devices and their public keys, if given. Answers are then verified.
    pub(crate) fn devices(&self) -> anyhow::Result<Option<DeviceList>> {
        match (&self.device_keys, self.folder()?) {
            (Some(keys), _) => Ok(Some(DeviceList::load(keys)?)),
            (None, Some(folder)) => folder.devices().map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The key that signs statements: the given one, or the site's.
    pub(crate) fn signing_key(&self, given: Option<&Path>) -> anyhow::Result<Option<SigningKey>> {
        let own = match given {
            Some(_) => None,
            None => self.folder()?.and_then(|folder| folder.signing_key()),
        };
        given.or(own.as_deref()).map(read_key).transpose()
    }

    /// Whether the options give the endpoints, so that no configuration is needed.
    pub(crate) const fn is_given(&self) -> bool {
        !self.connect.is_empty() || self.site_dir.is_some()
    }

    /// Applies the options, which take precedence over the settings.
    pub(crate) fn apply(&self, zenoh: &mut ZenohConfig) {
        // A given endpoint replaces the one that the site's folder names.
        if self.site_dir.is_some() && !self.connect.is_empty() {
            zenoh.connect.clear();
        }
        zenoh.connect.extend(self.connect.iter().cloned());
        zenoh.insecure |= self.insecure;
        if let Some(namespace) = &self.namespace {
            zenoh.namespace = Some(namespace.clone());
        }
        if self.ca.is_some() || self.certificate.is_some() {
            let tls = zenoh.tls.get_or_insert_with(TlsConfig::default);
            tls.ca = self.ca.clone().or(tls.ca.take());
            tls.certificate = self.certificate.clone().or(tls.certificate.take());
            tls.key = self.certificate_key.clone().or(tls.key.take());
        }
    }

    /// As [`Self::resolve`], for commands that need a site.
    ///
    /// # Errors
    /// [`FleetError::NoSite`]: no site is given.
    pub(crate) fn site(
        &self,
        site: Option<&str>,
        config: Option<&Path>,
        listen: Option<&[String]>,
    ) -> anyhow::Result<(ZenohConfig, String)> {
        let network = self.resolve(config, listen)?;
        let site = site.map(str::to_owned).or(network.site);
        let site = site.ok_or(FleetError::NoSite)?;
        Ok((network.zenoh, site))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn without_an_endpoint_the_error_names_the_options() {
        let nowhere = NetworkArgs::default().resolve(None, Some(&[])).unwrap_err();
        assert!(nowhere.to_string().contains("--connect"), "{nowhere}");
        assert!(nowhere.to_string().contains("--listen"), "{nowhere}");
        let listen = ["tcp/127.0.0.1:0".to_owned()];
        let network = NetworkArgs::default().resolve(None, Some(&listen)).unwrap();
        assert_eq!(network.zenoh.mode, ZenohMode::Peer);
        let one = NetworkArgs {
            connect: listen.to_vec(),
            ..NetworkArgs::default()
        };
        let network = one.resolve(None, None).unwrap();
        assert_eq!(network.zenoh.mode, ZenohMode::Client);
    }

    #[test]
    fn options_take_precedence_over_settings() {
        let mut zenoh = ZenohConfig {
            connect: vec!["tcp/127.0.0.1:1".to_owned()],
            namespace: Some("old".to_owned()),
            ..ZenohConfig::default()
        };
        let flags = NetworkArgs {
            connect: vec!["tls/site:7447".to_owned()],
            namespace: Some("new".to_owned()),
            ca: Some("ca.pem".into()),
            ..NetworkArgs::default()
        };
        flags.apply(&mut zenoh);
        assert_eq!(zenoh.connect, ["tcp/127.0.0.1:1", "tls/site:7447"]);
        assert_eq!(zenoh.namespace.as_deref(), Some("new"));
        assert_eq!(zenoh.tls.unwrap().ca, Some("ca.pem".into()));
    }
}
