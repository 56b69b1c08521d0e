//! The registry's signing key: `registry.key` in its data folder, created at the first start, with the public key beside it.

use std::io;
use std::path::Path;

use hotshoe_base::files;
use hotshoe_store::replace_file;
use hotshoe_trust::SigningKey;

/// The secret key's file: PKCS#8 in PEM, readable by its owner alone.
const SECRET: &str = "registry.key";
/// The public key's file beside it, in PEM: what controllers of rollouts check counts by.
const PUBLIC: &str = "registry.pub";
/// Largest file of a key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Reads the key, or generates one. Without a key, counts are not signed, and only claimed.
pub(super) fn open(data: &Path) -> Option<SigningKey> {
    try_open(data)
        .inspect_err(|error| {
            tracing::error!(%error, key = SECRET, "the registry cannot sign its counts of devices");
        })
        .ok()
}

fn try_open(data: &Path) -> Result<SigningKey, io::Error> {
    let (secret, public) = (data.join(SECRET), data.join(PUBLIC));
    let key = match files::read_text(&secret, MAX_KEY_BYTES) {
        Ok(pem) => SigningKey::from_pem(&pem, None).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SigningKey::generate().map_err(io::Error::other)?;
            let pem = key.to_pem(None).map_err(io::Error::other)?;
            replace_file(&secret, pem.as_bytes()).map_err(io::Error::other)?;
            key
        }
        Err(error) => return Err(error),
    };
    let pem = key.public_key().map_err(io::Error::other)?.to_pem();
    if files::read_text(&public, MAX_KEY_BYTES).ok().as_deref() != Some(pem.as_str()) {
        replace_file(&public, pem.as_bytes()).map_err(io::Error::other)?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_key_is_made_once_and_a_damaged_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let fingerprint = |key: SigningKey| key.public_key().unwrap().fingerprint();
        let first = fingerprint(open(folder.path()).unwrap());
        assert_eq!(fingerprint(open(folder.path()).unwrap()), first);
        let public = std::fs::read_to_string(folder.path().join(PUBLIC)).unwrap();
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"), "{public}");
        let secret = folder.path().join(SECRET);
        std::fs::write(&secret, "no key").unwrap();
        assert!(open(folder.path()).is_none());
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "no key");
    }
}
