//! `[inference]`: how models run on this device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hotshoe_infer::{BackendChoice, ModelOptions, Options, OrtOptions, Provider};
use hotshoe_trust::{Digest, Model};
use serde::{Deserialize, Serialize};

use super::check_range;
use crate::error::ConfigError;

/// Largest configurable number of threads of one run.
pub const MAX_RUN_THREADS: usize = 64;
/// Largest configurable number of threads of the pool.
pub const MAX_POOL: usize = 256;

/// `[inference]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct InferenceConfig {
    /// What runs the models: `tract`, which is built in; `ort`, the library of ONNX Runtime; or `auto`: if the library is
    /// found, a release begins with tract, and ONNX Runtime takes over if it passes the release's self-tests too and is faster. That is
    /// measured while the release serves. If no self-test runs a model, it compares both on synthetic inputs, and refuses a release
    /// whose backends disagree. Default: `auto`.
    pub backend: BackendChoice,
    /// Threads of one run. Rows of at least 64 KiB that do not depend on each other go side by side on them. Default: 1.
    pub threads: usize,
    /// Threads that run models, for all models together. Default: one more than the machine has cores.
    pub pool: Option<usize>,
    /// Most concurrent runs of one model, so that a slow model does not block the others. Default: one fewer than `pool`, at least 1;
    /// with ONNX Runtime 1, since each further run needs another copy of the weights.
    pub max_runs: Option<usize>,
    /// The library of ONNX Runtime. A bare name is searched in the library path of the system; a path is relative to the
    /// folder of the configuration. Default: the environment's `ORT_DYLIB_PATH`, else the one that `hotshoe runtime fetch` or a package
    /// brought, else `libonnxruntime.so`.
    pub library: Option<PathBuf>,
    /// The SHA-256 digest that the library must have, such as `sha256:6b1f...`; `library` is then a path. It is checked at each load. Default: one
    /// that this version knows, for a library of `hotshoe runtime fetch` or of a package of Hotshoe's; any for another.
    pub library_digest: Option<Digest>,
    /// Execution providers of ONNX Runtime, the one preferred first. If none can be used, the processor is used. Default: none.
    pub providers: Vec<ProviderConfig>,
    /// Settings of models by name, in any release.
    pub models: BTreeMap<String, ModelConfig>,
}

/// An `[[inference.providers]]` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProviderConfig {
    /// Its name, such as `cuda`.
    pub name: String,
    /// Its options, as ONNX Runtime names them. Default: none.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// An `[inference.models.NAME]` table. Missing keys default to `[inference]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ModelConfig {
    /// Its backend.
    pub backend: Option<BackendChoice>,
    /// Threads of one run.
    pub threads: Option<usize>,
    /// Most concurrent runs.
    pub max_runs: Option<usize>,
    /// Variants that this device prefers to the order of the release.
    pub prefer: Vec<String>,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            backend: BackendChoice::default(),
            threads: 1,
            pool: None,
            max_runs: None,
            library: None,
            library_digest: None,
            providers: Vec::new(),
            models: BTreeMap::new(),
        }
    }
}

impl InferenceConfig {
    /// The options for all models together.
    pub fn options(&self) -> Options {
        let default = Options::default();
        let providers = self.providers.iter().map(|provider| Provider {
            name: provider.name.clone(),
            options: provider.options.clone(),
        });
        Options {
            pool: self.pool.unwrap_or(default.pool),
            ort: OrtOptions {
                library: self.library.clone(),
                library_digest: self.library_digest,
                providers: providers.collect(),
            },
            ..default
        }
    }

    /// The options of the model of this name.
    pub fn model(&self, name: &str, model: &Model) -> ModelOptions {
        let own = self.models.get(name);
        ModelOptions {
            backend: own.and_then(|own| own.backend).unwrap_or(self.backend),
            threads: own.and_then(|own| own.threads).unwrap_or(self.threads),
            max_runs: own.and_then(|own| own.max_runs).or(self.max_runs),
            max_batch: usize::try_from(model.max_batch).unwrap_or(1),
            max_wait: model.max_wait(),
            outputs: model.outputs.clone(),
        }
    }

    /// The variants of the model of this name that this device prefers.
    pub fn prefer(&self, name: &str) -> &[String] {
        self.models
            .get(name)
            .map_or(&[], |own| own.prefer.as_slice())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(library) = &mut self.library
            && library.components().count() > 1
        {
            *library = folder.join(&library);
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let most_runs = self.pool.unwrap_or(MAX_POOL) as u64;
        let check = |key: String, value: Option<usize>, most: u64| match value {
            Some(value) => check_range(key, value as u64, 1, most),
            None => Ok(()),
        };
        let of = |key: &str| format!("inference.{key}");
        check(of("threads"), Some(self.threads), MAX_RUN_THREADS as u64)?;
        check(of("pool"), self.pool, MAX_POOL as u64)?;
        check(of("max-runs"), self.max_runs, most_runs)?;
        for provider in self.options().ort.providers {
            if !provider.is_known() {
                let name = provider.name;
                return Err(ConfigError::UnknownProvider { name });
            }
        }
        for (name, own) in &self.models {
            let of = |key: &str| format!("inference.models.{name}.{key}");
            check(of("threads"), own.threads, MAX_RUN_THREADS as u64)?;
            check(of("max-runs"), own.max_runs, most_runs)?;
        }
        Ok(())
    }
}
