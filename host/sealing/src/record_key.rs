//! A key for many small records, such as those of a log with frames of its own.

use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use zeroize::Zeroizing;

use crate::at_rest::AtRest;
use crate::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES, random};
use crate::error::{UnsealError, damaged, of_file};

/// Bytes that a sealed record has beside its contents.
pub const RECORD_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The key of a set of records: a sealed file beside them. Without it they do not open, so removing it erases them.
pub struct RecordKey(Cipher);

impl RecordKey {
    /// Reads the key at `path`, or makes it, durably. `None` where files are not sealed.
    ///
    /// # Errors
    /// [`UnsealError`]; [`UnsealError::NoKey`] if there are sealed records and files are not sealed any more.
    pub fn open(at_rest: &AtRest, disk: &Disk, path: &Path) -> Result<Option<Self>, UnsealError> {
        let name = path.display().to_string();
        let is_there = path.symlink_metadata().is_ok();
        if !at_rest.is_sealed() && !is_there {
            return Ok(None);
        }
        if !is_there {
            let key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(random().map_err(of_file(&name))?);
            at_rest
                .replace(disk, path, key.as_slice())
                .map_err(of_file(&name))?;
            return Ok(Some(Self(Cipher::new(&key))));
        }
        let bytes = match at_rest.read(path, KEY_BYTES as u64) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) => return Err(unseal_error(error, &name)),
        };
        let key: &[u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| damaged(&name, 0))?;
        Ok(Some(Self(Cipher::new(key))))
    }

    /// The same, and a damaged file gets the end `.damaged`: a new key takes its place, and the records of the old one are lost. Returns
    /// the path of the damaged file, too.
    ///
    /// # Errors
    /// [`UnsealError`]: a file of another device's key is not damaged, and stays.
    pub fn open_or_renew(
        at_rest: &AtRest,
        disk: &Disk,
        path: &Path,
    ) -> Result<(Option<Self>, Option<PathBuf>), UnsealError> {
        let error = match Self::open(at_rest, disk, path) {
            Ok(key) => return Ok((key, None)),
            Err(error) => error,
        };
        if !at_rest.is_sealed() || !is_damage(&error) {
            return Err(error);
        }
        let mut aside = path.to_owned().into_os_string();
        aside.push(".damaged");
        let aside = PathBuf::from(aside);
        let name = path.display().to_string();
        disk.rename(path, &aside).map_err(of_file(&name))?;
        tracing::error!(
            error = &error as &dyn std::error::Error,
            aside = %aside.display(),
            "a damaged key was set aside; what was sealed with it is lost, and a new key takes its place"
        );
        Ok((Self::open(at_rest, disk, path)?, Some(aside)))
    }

    /// Seals a record. `beside` says which one it is; it opens beside the same alone.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn seal(&self, record: &[u8], beside: &[u8]) -> io::Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let sealed = self.0.encrypt(nonce, record, beside)?;
        let mut bytes = Vec::with_capacity(NONCE_BYTES + sealed.len());
        bytes.extend(nonce);
        bytes.extend(sealed);
        Ok(bytes)
    }

    /// The contents of a sealed record; `None` if it was changed, or is another one.
    pub fn unseal(&self, sealed: &[u8], beside: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk()?;
        let mut record = self.0.decrypt(*nonce, sealed, beside).ok()?;
        Some(std::mem::take(&mut *record))
    }
}

impl std::fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordKey(hidden)")
    }
}

/// Whether the bytes of a key's file were changed. A key is always sealed, and has one size.
fn is_damage(error: &UnsealError) -> bool {
    match error {
        UnsealError::NotSealed { .. } | UnsealError::Damaged { .. } => true,
        UnsealError::Io { source, .. } => source.kind() == io::ErrorKind::FileTooLarge,
        UnsealError::OtherKey { .. } | UnsealError::NoKey { .. } => false,
    }
}

/// The error that an [`io::Error`] of [`AtRest::read`] was made of.
fn unseal_error(error: io::Error, name: &str) -> UnsealError {
    match error.downcast::<UnsealError>() {
        Ok(error) => error,
        Err(error) => of_file(name)(error),
    }
}
