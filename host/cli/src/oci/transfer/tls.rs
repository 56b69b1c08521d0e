//! Certificate authorities beside those of the system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls;

/// The folders in which the containers tools and Docker look for `HOST[:PORT]/*.crt`.
const FOLDERS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
/// The same folder of one user, below the home folder.
const OWN_FOLDER: &str = ".config/containers/certs.d";

/// A file without usable certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    /// The file cannot be read.
    #[error("cannot read the certificates in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has no certificate in PEM, or a damaged one.
    #[error("{path} has no usable certificate; write the authority's certificate in PEM")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// The authorities in `file` and those that are stored for a registry.
///
/// # Errors
/// [`CaError`].
pub(in super::super) fn authorities(
    registry: &str,
    file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let mut found = Vec::new();
    if let Some(file) = file {
        found.extend(certificates(file)?);
    }
    let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(OWN_FOLDER));
    for folder in own.into_iter().chain(FOLDERS.map(PathBuf::from)) {
        // Without such a folder there is nothing to add.
        let Ok(entries) = fs::read_dir(folder.join(registry)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "crt") {
                found.extend(certificates(&path)?);
            }
        }
    }
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let bytes = fs::read(path).map_err(|source| CaError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let mut roots = RootCertStore::empty();
    match parsed {
        Ok(found) if !found.is_empty() && found.iter().all(|it| roots.add(it.clone()).is_ok()) => {
            Ok(found)
        }
        _ => Err(CaError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}

/// The TLS of connections to servers for which the system's authorities or these vouch.
///
/// # Errors
/// [`Error`].
pub(super) fn config(own: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(default_provider());
    let verifier = WithOwn {
        verifier: Verifier::new_with_extra_roots(own.iter().cloned(), Arc::clone(&provider))?,
        own,
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Also accepts a server whose own certificate is among the authorities and is marked as one: `openssl req -x509` makes such certificates,
/// and Docker's guide to self-signed registries stores them as `ca.crt`.
#[derive(Debug)]
struct WithOwn {
    verifier: Verifier,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for WithOwn {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The dates are checked first, and have an error of their own.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.own.iter().any(|own| own == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = &self.verifier;
        verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = &self.verifier;
        verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
