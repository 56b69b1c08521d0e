use std::path::PathBuf;

use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::pki_types::pem;

/// Why the certificates of `[network] ca` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file cannot be read as PEM.
    #[error(
        "cannot read {path}; `[network] ca` in hotshoe.toml names a file of certificates (PEM)"
    )]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// It has a certificate that is not a certificate authority.
    #[error(
        "{path} has a certificate that is not a certificate authority; `[network] ca` in hotshoe.toml is a file of authorities"
    )]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// The TLS library lacks a required feature.
    #[error("TLS cannot be set up")]
    Setup(#[source] Error),
}
