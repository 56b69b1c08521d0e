//! The device's key, which wraps the keys of files.

use std::fmt;
use std::io;
use std::path::Path;

use hotshoe_base::disk::{Disk, wider_mode};
use hotshoe_base::files;
use linux_keyutils::{KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

use crate::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, random};
use crate::error::{SealingKeyError, of_key};

/// Bytes of a key's identity.
pub(crate) const ID_BYTES: usize = 8;
const MAX_FILE_BYTES: u64 = 256;
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "/run/credentials";
/// What a key's identity is the authentication code of.
const ID_CONTEXT: &[u8] = b"hotshoe sealing key";

/// The key of a device, from a file that is not on the disk that it protects: of a systemd credential, a removable disk or a key store.
pub struct DeviceKey {
    pub(crate) cipher: Cipher,
    pub(crate) id: [u8; ID_BYTES],
}

impl DeviceKey {
    /// Reads the key: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn read(path: &Path) -> Result<Self, SealingKeyError> {
        let key = Self::bytes_of(path)?;
        Self::from_bytes(&key).map_err(of_key(path))
    }

    /// The bytes of the key in a file.
    pub(crate) fn bytes_of(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealingKeyError> {
        let text = Zeroizing::new(contents(path, MAX_FILE_BYTES)?);
        // The access lists of systemd's credentials show as rights of the group; their folder is closed to others.
        let is_credential = path.starts_with(CREDENTIALS);
        if let Some(mode) = wider_mode(path, 0o077).filter(|_| !is_credential) {
            let path = path.to_owned();
            return Err(SealingKeyError::Mode { path, mode });
        }
        from_hex(text.trim_ascii_end()).ok_or_else(|| SealingKeyError::Malformed {
            path: path.to_owned(),
        })
    }

    /// The key with this description in the kernel's keyring of the session or of the user: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn from_keyring(name: &str) -> Result<Self, SealingKeyError> {
        let not_found = |reason: String| SealingKeyError::NotInKeyring {
            name: name.to_owned(),
            reason,
        };
        let in_ring = |ring| KeyRing::from_special_id(ring, false)?.search(name);
        let text = in_ring(KeyRingIdentifier::Session)
            .or_else(|_| in_ring(KeyRingIdentifier::User))
            .and_then(|key| key.read_to_vec())
            .map(Zeroizing::new)
            .map_err(|error| not_found(error.to_string()))?;
        let key = from_hex(text.trim_ascii_end())
            .ok_or_else(|| not_found("it is not 64 hexadecimal digits".to_owned()))?;
        Self::from_bytes(&key).map_err(|error| not_found(error.to_string()))
    }

    /// Makes a new key and stores it, for its owner alone. It never replaces one.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn create(path: &Path) -> Result<Self, SealingKeyError> {
        refuse_existing(path)?;
        let key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(random().map_err(of_key(path))?);
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        text.push('\n');
        Disk::new(hotshoe_base::disk::Faults::never())
            .replace(path, text.as_bytes())
            .map_err(of_key(path))?;
        Self::from_bytes(&key).map_err(of_key(path))
    }

    pub(crate) fn from_bytes(key: &[u8; KEY_BYTES]) -> io::Result<Self> {
        let cipher = Cipher::new(key);
        // This nonce is for the identity alone; others are random.
        let code = cipher.encrypt([0; NONCE_BYTES], &[], ID_CONTEXT)?;
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(code) {
            *to = from;
        }
        Ok(Self { cipher, id })
    }

    /// The identity of the key in hexadecimal, which tells nothing about it.
    pub fn id(&self) -> String {
        hex(&self.id)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.id())
    }
}

/// The contents of a file that has a key.
pub(crate) fn contents(path: &Path, max_bytes: u64) -> Result<Vec<u8>, SealingKeyError> {
    files::read_bytes(path, max_bytes).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SealingKeyError::Missing {
            path: path.to_owned(),
        },
        _ => of_key(path)(error),
    })
}

/// A new key must not replace one.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), SealingKeyError> {
    if path.symlink_metadata().is_ok() {
        let path = path.to_owned();
        return Err(SealingKeyError::Exists { path });
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.chunks(2)) {
        for digit in digits {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_identity_of_a_key_does_not_change_between_versions() {
        let text = b"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
        let key = DeviceKey::from_bytes(&from_hex(text).unwrap()).unwrap();
        assert_eq!(key.id(), "81d17a820c07e510");
    }
}
