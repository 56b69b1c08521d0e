//! Which release serves. Nothing else in the daemon reads or writes the ledger.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_engine::{Engine, EngineError, EngineOptions};
use hotshoe_infer::{Models, Options};
use hotshoe_store::{OpenError, ReadError, Store};
use hotshoe_trust::{TrustError, TrustRoot, VerifyError};

use crate::config::Config;
use crate::pipeline::{LoadError, Pipeline};

/// Largest `trust.toml`, in bytes.
pub const MAX_TRUST_BYTES: u64 = 1 << 20;
/// Fewest instances that the engine has room for.
const MIN_INSTANCES: u32 = 64;

/// Why no release serves.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// `trust.toml` cannot be read.
    #[error("cannot read the trusted keys {path}; `hotshoe keygen` prints what belongs there")]
    TrustFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `trust.toml` is not valid.
    #[error("the trusted keys {path} are not valid")]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The data folder cannot be opened.
    #[error("cannot open the data folder")]
    Store(#[source] OpenError),
    /// The data folder holds no release.
    #[error("no release is installed in {data}: run `hotshoe install`")]
    NoRelease {
        /// The data folder.
        data: PathBuf,
    },
    /// The release's manifest cannot be read back.
    #[error(
        "the release `{name}` in {data} cannot be read; install it again with `hotshoe install`"
    )]
    Package {
        /// Its name.
        name: String,
        /// The data folder.
        data: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The host's own version is no version.
    #[error("this program's version `{0}` is no semantic version")]
    Version(&'static str),
    /// The release is not trusted on this device.
    #[error("the installed release `{name}` is not accepted on this device")]
    Verify {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// The WebAssembly engine cannot be set up.
    #[error("cannot set up the WebAssembly engine")]
    Engine(#[source] EngineError),
    /// The release is trusted, but cannot serve here.
    #[error("the installed release `{name}` cannot serve on this device")]
    Load {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: LoadError,
    },
}

/// What serves, and the data folder that it comes from.
pub struct Deployment {
    /// Held for as long as the daemon runs, which keeps the folder locked.
    _store: Store,
    pipeline: Arc<Pipeline>,
}

impl Deployment {
    /// Verifies and loads the release in the ledger's live slot.
    ///
    /// # Errors
    /// [`DeployError`] says what to do.
    pub fn start(config: &Config) -> Result<Self, DeployError> {
        let trust = read_trust(&config.trust)?;
        let store = Store::open(&config.data).map_err(DeployError::Store)?;
        let slot = store
            .ledger()
            .live
            .clone()
            .ok_or_else(|| DeployError::NoRelease {
                data: config.data.clone(),
            })?;
        let name = slot.name.clone();
        let package = store
            .read_package(&slot)
            .map_err(|source| DeployError::Package {
                name: name.clone(),
                data: config.data.clone(),
                source,
            })?;
        let version = env!("CARGO_PKG_VERSION");
        let host = version.parse().map_err(|_| DeployError::Version(version))?;
        let release = hotshoe_trust::verify_installed(
            &package,
            &trust,
            slot.release,
            &config.identity(),
            &host,
        )
        .map_err(|source| DeployError::Verify {
            name: name.clone(),
            source,
        })?;
        let engine = Engine::new(EngineOptions {
            cache: Some(store.aot_dir().to_owned()),
            instances: instances(config.workers.threads, release.pipeline.len()),
        })
        .map_err(DeployError::Engine)?;
        let models = Models::new(Options::default());
        let read = |blob: &_| store.blob(blob);
        let pipeline = Pipeline::load(release, read, &engine, &models, &config.allow)
            .map_err(|source| DeployError::Load { name, source })?;
        Ok(Self {
            _store: store,
            pipeline,
        })
    }

    /// The pipeline that serves.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.pipeline)
    }
}

/// Every worker has one instance for each step, and two pipelines overlap during a swap.
fn instances(threads: usize, steps: usize) -> u32 {
    u32::try_from(threads.saturating_mul(steps).saturating_mul(2))
        .unwrap_or(u32::MAX)
        .max(MIN_INSTANCES)
}

fn read_trust(path: &Path) -> Result<TrustRoot, DeployError> {
    let unreadable = |source| DeployError::TrustFile {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_TRUST_BYTES {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    TrustRoot::parse(&text).map_err(|source| DeployError::Trust {
        path: path.to_owned(),
        source,
    })
}
