//! TLS: the authority of the broker, and the certificate of this client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_base::files;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, RootCertStore};

/// Largest file with certificates or a key, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, is not a regular file, or is too large.
    #[error("cannot read {}; it must be a PEM file of at most {MAX_PEM_BYTES} bytes", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read as PEM.
    #[error("cannot read {}; it must be a PEM file", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A certificate or a key is not valid.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RustlsError,
    },
}

/// PEM files of certificates and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority of the broker.
    pub ca: PathBuf,
    /// The certificate of this client and its private key. Default: none.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// The configuration of rustls, with ring.
    pub(crate) fn config(&self) -> Result<ClientConfig, TlsError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Unusable { path, source }
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(unusable(&self.ca))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable(&self.ca))?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let secret =
            PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|source| TlsError::Pem {
                path: key.clone(),
                source,
            })?;
        builder
            .with_client_auth_cert(chain, secret)
            .map_err(unusable(certificate))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    parsed.map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read_bytes(path, MAX_PEM_BYTES).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
