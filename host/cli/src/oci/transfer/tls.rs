//! Certificate authorities beside those of the system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Certificate;

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
) -> Result<Vec<Certificate>, CaError> {
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

fn certificates(path: &Path) -> Result<Vec<Certificate>, CaError> {
    let bytes = fs::read(path).map_err(|source| CaError::Read {
        path: path.to_owned(),
        source,
    })?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(CaError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}
