//! The device and the trusted keys that a release is verified with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::{Config, EncryptionConfig, InferenceConfig, SecretsConfig};
use hotshoe_engine::CompileLimits;
use hotshoe_trust::{Allowed, Device, TrustRoot};

use crate::files::read_text;

/// The device and its configuration.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The trusted keys.
    pub trust: TrustRoot,
    /// The device.
    pub device: Device,
    /// The device's data folder, if a configuration names one.
    pub data: Option<PathBuf>,
    /// The key that its files are encrypted with, if a configuration names one.
    pub encryption: EncryptionConfig,
    /// Where its secrets are.
    pub secrets: SecretsConfig,
    /// What the device allows components.
    pub allow: Allowed,
    /// The configuration of inference.
    pub inference: InferenceConfig,
    /// The number of worker threads.
    pub threads: usize,
    /// The limits of compiling a component.
    pub compile: CompileLimits,
    /// The maximum size of a sample, in bytes.
    pub max_sample_bytes: usize,
}

impl Identity {
    /// The identity from a configuration, with trusted keys that were already read.
    pub fn of(trust: TrustRoot, config: &Config) -> Self {
        Self {
            trust,
            device: config.identity(),
            data: Some(config.data.clone()),
            encryption: config.encryption.clone(),
            secrets: config.secrets.clone(),
            allow: config.allowed(),
            inference: config.inference.clone(),
            threads: config.workers.threads,
            compile: config.compile.limits(),
            max_sample_bytes: config.intake.max_sample_bytes,
        }
    }
}

/// Reads a `trust.toml`.
pub fn trust_root(path: &Path) -> anyhow::Result<TrustRoot> {
    TrustRoot::parse(&read_text(path)?).with_context(|| format!("cannot use {}", path.display()))
}

/// This host's version, which a release may require.
pub fn host_version() -> anyhow::Result<semver::Version> {
    semver::Version::parse(env!("CARGO_PKG_VERSION"))
        .context("this program's version is not a semantic version")
}
