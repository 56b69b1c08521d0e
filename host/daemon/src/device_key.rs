//! The device's signing key: `device.key` in the data folder, created at the first start, with the public key beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hotshoe_base::files;
use hotshoe_sealing::{AtRest, is_sealed};
use hotshoe_trust::{KeyError, SigningKey};

/// The secret key's file in the data folder: PKCS#8 in PEM, readable by its owner alone.
pub const SECRET: &str = "device.key";
/// The public key's file beside it, in PEM: what `hotshoe site add` takes.
pub const PUBLIC: &str = "device.pub";
/// Largest file of a key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// Permissions of the secret key's file.
const OWNER_ONLY: u32 = 0o600;

/// Why the device's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceKeyError {
    /// The file cannot be read or written.
    #[error("cannot use the device's key {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a key, or a key could not be generated.
    #[error("the device's key {} cannot be used; remove it, and the next start makes another one", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
}

impl DeviceKeyError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Key { .. } => "invalid_device_key",
        }
    }
}

/// Reads the device's key from its data folder, or generates one. The caller must have locked the folder. Where files are sealed, it becomes so.
///
/// # Errors
/// [`DeviceKeyError`] names the file.
pub fn open(data: &Path, at_rest: &AtRest) -> Result<SigningKey, DeviceKeyError> {
    let path = data.join(SECRET);
    let unusable = |source| DeviceKeyError::Key {
        path: path.clone(),
        source,
    };
    let sealed = |pem: &str| {
        let bytes = at_rest.seal_bytes(SECRET, pem.as_bytes().to_vec());
        bytes.and_then(|bytes| replace(&path, &bytes, OWNER_ONLY))
    };
    let key = match read(&path, at_rest) {
        Ok((pem, was_sealed)) => {
            restrict_permissions(&path);
            let key = SigningKey::from_pem(&pem, None).map_err(unusable)?;
            if at_rest.is_sealed() && !was_sealed {
                sealed(&pem).map_err(failed(&path))?;
            }
            key
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SigningKey::generate().map_err(unusable)?;
            let pem = key.to_pem(None).map_err(unusable)?;
            sealed(&pem).map_err(failed(&path))?;
            key
        }
        Err(source) => return Err(failed(&path)(source)),
    };
    let public = data.join(PUBLIC);
    let pem = key.public_key().map_err(unusable)?.to_pem();
    if files::read_text(&public, MAX_KEY_BYTES).ok().as_deref() != Some(&pem) {
        replace(&public, pem.as_bytes(), 0o644).map_err(failed(&public))?;
    }
    Ok(key)
}

/// The key's PEM, and whether it was sealed.
fn read(path: &Path, at_rest: &AtRest) -> io::Result<(String, bool)> {
    let bytes = files::read_bytes(path, MAX_KEY_BYTES)?;
    let was_sealed = is_sealed(&bytes);
    Ok((files::text(at_rest.open_bytes(SECRET, bytes)?)?, was_sealed))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DeviceKeyError {
    let path = path.to_owned();
    move |source| DeviceKeyError::Io { path, source }
}

/// Restricts the permissions, with a warning: a key that others could read may have leaked.
fn restrict_permissions(path: &Path) {
    let Ok(found) = fs::metadata(path) else {
        return;
    };
    if found.permissions().mode() & 0o077 == 0 {
        return;
    }
    tracing::warn!(
        path = %path.display(),
        "other users could read the device's key; if it may have leaked, remove it, restart the daemon, and add the new key to the site"
    );
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY)) {
        tracing::warn!(%error, "cannot set the permissions of the device's key");
    }
}

/// Replaces a file atomically and durably: writes a temporary file, syncs and renames it, and syncs the folder.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // On a full disk, the temporary file is removed.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, path)?;
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fingerprint(key: &SigningKey) -> hotshoe_trust::Digest {
        key.public_key().unwrap().fingerprint()
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        // Leftover of an interrupted start.
        fs::write(folder.path().join("device.part"), b"half a").unwrap();
        let first = open(folder.path(), &AtRest::plain()).unwrap();
        let path = folder.path().join(SECRET);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), OWNER_ONLY);
        assert!(!folder.path().join("device.part").exists());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(folder.path().join(PUBLIC)).unwrap();
        let second = open(folder.path(), &AtRest::plain()).unwrap();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_eq!(mode(), OWNER_ONLY);
        let public = fs::read_to_string(folder.path().join(PUBLIC)).unwrap();
        assert_eq!(public, first.public_key().unwrap().to_pem());
    }

    #[test]
    fn a_key_is_sealed_where_files_are_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let plain = open(folder.path(), &AtRest::plain()).unwrap();
        let own = hotshoe_sealing::DeviceKey::create(&folder.path().join("own.key")).unwrap();
        let at_rest = AtRest::sealed(own, false);
        let path = folder.path().join(SECRET);
        assert!(!is_sealed(&fs::read(&path).unwrap()));
        for _ in 0..2 {
            let key = open(folder.path(), &at_rest).unwrap();
            assert_eq!(fingerprint(&key), fingerprint(&plain));
            assert!(is_sealed(&fs::read(&path).unwrap()));
        }
        let error = open(folder.path(), &AtRest::plain()).unwrap_err();
        assert_eq!(error.name(), "io");
    }

    #[test]
    fn a_damaged_key_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SECRET);
        for damaged in [
            "",
            "no key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(&path, damaged).unwrap();
            let error = open(folder.path(), &AtRest::plain()).unwrap_err();
            assert_eq!(error.name(), "invalid_device_key");
            assert!(error.to_string().contains(SECRET), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("device.part")).unwrap();
        let error = open(folder.path(), &AtRest::plain()).unwrap_err();
        assert_eq!(error.name(), "io");
    }
}
