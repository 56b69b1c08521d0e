//! Errors of the start of the deployment.

use std::io;
use std::path::PathBuf;

use hotshoe_engine::EngineError;
use hotshoe_link::LinkError;
use hotshoe_store::{BlobError, OpenError};
use hotshoe_trust::TrustError;

/// Why a daemon cannot start on its data folder. A release that is missing or cannot serve is not an
/// error: the device starts empty, and waits for one.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// `trust.toml` cannot be read.
    #[error("cannot read the trusted keys {path}; `hotshoe trust` writes this file")]
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
    /// A device that is not in development mode would trust a throw-away key.
    #[error(
        "{path} trusts the throw-away key of `hotshoe dev`; take the key `development` out of it, or write development = true in hotshoe.toml"
    )]
    DevelopmentKey {
        /// The file.
        path: PathBuf,
    },
    /// The trusted keys that came over the network cannot be read back.
    #[error(
        "the trusted keys of version {version} in {data} are damaged; put that version or a later one into `trust.toml`"
    )]
    StoredTrust {
        /// Their version.
        version: u64,
        /// The data folder.
        data: PathBuf,
        /// Why.
        #[source]
        source: StoredTrustError,
    },
    /// The data folder cannot be opened.
    #[error("cannot open the data folder")]
    Store(#[source] OpenError),
    /// The program's version is not a semantic version.
    #[error("this program's version `{0}` is not a semantic version")]
    Version(&'static str),
    /// The WebAssembly engine cannot be set up.
    #[error("cannot set up the WebAssembly engine")]
    Engine(#[source] EngineError),
    /// A key cannot be declared on Zenoh.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The deploy thread cannot be started.
    #[error("cannot start the thread that deploys releases")]
    Thread(#[source] io::Error),
}

/// Why trusted keys in the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredTrustError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Blob(#[from] BlobError),
    /// It is not UTF-8.
    #[error("the file is not UTF-8 text")]
    Text(#[from] std::str::Utf8Error),
    /// It is not valid.
    #[error("the file is not valid")]
    Trust(#[from] TrustError),
}
