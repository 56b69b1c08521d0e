//! TLS: certificates and keys.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_base::files;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore, ServerConfig};

/// The maximum size of a file with certificates or a key, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, is not a regular file, or is too large.
    #[error("cannot read {path}; it must be a PEM file of at most {MAX_PEM_BYTES} bytes")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read as PEM.
    #[error("cannot read {path}; it must be a PEM file")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file contains no certificate.
    #[error("{0} contains no certificate; it must be a PEM file")]
    Empty(PathBuf),
    /// The certificate and the key do not match, or are of an unsupported type.
    #[error("the certificate {certificate} cannot be used with its key")]
    Pair {
        /// The file.
        certificate: PathBuf,
        /// Why.
        #[source]
        source: RustlsError,
    },
    /// The certificate is not that of an authority.
    #[error("{path} is not a certificate authority for client certificates")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RustlsError,
    },
    /// Client certificates cannot be verified with it.
    #[error("{path} cannot be used to verify client certificates")]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
}

/// PEM files of certificates and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, with intermediate ones.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority whose certificates clients must have. Default: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// Creates the acceptor of TLS connections.
pub(crate) fn acceptor(tls: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let pair = |source| TlsError::Pair {
        certificate: tls.certificate.clone(),
        source,
    };
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?).map_err(|source| TlsError::Pem {
        path: tls.key.clone(),
        source,
    })?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Authority {
                        path: path.clone(),
                        source,
                    })?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|source| TlsError::Verifier {
                path: path.clone(),
                source,
            })?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read_bytes(path, MAX_PEM_BYTES).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = parsed.map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(certificates)
}
