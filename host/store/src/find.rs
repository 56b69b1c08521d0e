//! Finds releases among blobs, where what listed them is lost.

use hotshoe_base::disk::files;
use hotshoe_trust::{Digest, Package, ReleaseLimits, check_bundle, manifest::Manifest};

use crate::{blob_error::BlobError, blobs::BlobStore};

impl BlobStore {
    /// Whether there is no blob at all, as where the folder is a mount point without its disk.
    pub fn is_empty(&self) -> bool {
        files(&self.folder()).is_ok_and(|files| files.is_empty())
    }

    /// The packages whose manifest and config are among the blobs, each with the bundles that claim to sign it. Nothing is verified, and
    /// damaged blobs are left out.
    ///
    /// # Errors
    /// [`BlobError::Io`] if the folder cannot be listed.
    pub fn find_packages(&self) -> Result<Vec<Package>, BlobError> {
        let folder = self.folder();
        let (mut manifests, mut others) = (Vec::new(), Vec::new());
        for path in files(&folder).map_err(BlobError::read(&folder))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(Ok(digest)) = name.map(|name| format!("sha256:{name}").parse::<Digest>())
            else {
                continue;
            };
            // Larger blobs are neither.
            let Ok(bytes) = self.read_any(digest, ReleaseLimits::MANIFEST_BYTES) else {
                continue;
            };
            match Manifest::parse(&bytes) {
                Ok(manifest) => manifests.push((manifest.config.digest, bytes)),
                Err(_) => others.push(bytes),
            }
        }
        let package = |(config, manifest): (Digest, Vec<u8>)| {
            let config = self.read_any(config, ReleaseLimits::CONFIG_BYTES).ok()?;
            let bundles = others
                .iter()
                .filter(|bytes| check_bundle(&manifest, bytes).is_ok())
                .cloned()
                .collect();
            Some(Package {
                manifest,
                config,
                bundles,
            })
        };
        Ok(manifests.into_iter().filter_map(package).collect())
    }
}
