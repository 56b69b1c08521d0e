//! TLS configuration of components' HTTPS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

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

/// A client that trusts the public authorities and those of the device.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, CaError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.into(),
    };
    if let Some(path) = ca {
        let unreadable = |source| CaError::Pem {
            path: path.to_owned(),
            source,
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            roots
                .add(certificate.map_err(unreadable)?)
                .map_err(|source| CaError::Authority {
                    path: path.to_owned(),
                    source,
                })?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(CaError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
