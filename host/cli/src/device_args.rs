//! The options that name the device and the trusted keys.

use std::path::PathBuf;

use anyhow::Context;
use hotshoe_config::{
    Config, DEFAULT_MAX_SAMPLE_BYTES, EncryptionConfig, InferenceConfig, SecretsConfig,
    WorkersConfig, default_allowed,
};
use hotshoe_engine::CompileLimits;
use hotshoe_release::device::{Identity, trust_root};
use hotshoe_trust::Device;

/// The options that `verify`, `install` and `exec` share.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("whom").args(["config", "trust"]).required(true)))]
pub(crate) struct DeviceArgs {
    /// Read trusted keys and identity from a device's configuration
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "site", "label"])]
    pub config: Option<PathBuf>,
    /// The keys to trust (trust.toml)
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The device's name, which the release's selector must match
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub device: String,
    /// The device's site
    #[arg(
        long,
        value_name = "SITE",
        default_value = "",
        hide_default_value = true
    )]
    pub site: String,
    /// A label of the device; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
}

impl DeviceArgs {
    /// Reads the files that the options name.
    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        if let Some(path) = &self.config {
            let config =
                Config::load(path).with_context(|| format!("cannot use {}", path.display()))?;
            return Ok(Identity::of(trust_root(&config.trust)?, &config));
        }
        let trust = self.trust.as_deref().context("give --trust or --config")?;
        Ok(Identity {
            trust: trust_root(trust)?,
            device: Device {
                name: self.device.clone(),
                site: self.site.clone(),
                labels: self.label.iter().cloned().collect(),
            },
            data: None,
            encryption: EncryptionConfig::default(),
            secrets: SecretsConfig::default(),
            allow: default_allowed(),
            inference: InferenceConfig::default(),
            threads: WorkersConfig::default().threads,
            compile: CompileLimits::default(),
            max_sample_bytes: DEFAULT_MAX_SAMPLE_BYTES,
        })
    }
}

/// Parses `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_key_and_a_value() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(label("line=a=b"), pair("line", "a=b"));
        assert_eq!(label("empty="), pair("empty", ""));
        assert!(label("=x").is_err());
        assert!(label("x").is_err());
    }
}
