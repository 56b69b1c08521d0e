//! The secrets of a device, such as the passwords of its cameras: one sealed file, and values that no log shows.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use hotshoe_base::files;
use zeroize::Zeroizing;

use crate::error::SecretError;
use crate::key::DeviceKey;
use crate::whole::{seal, unseal};

/// Name of the file in the data folder, and of what is sealed.
pub const SECRETS_FILE: &str = "secrets.sealed";
/// Most secrets of a device.
pub const MAX_SECRETS: usize = 256;
/// Most bytes of a value.
pub const MAX_SECRET_BYTES: usize = 4_096;
/// Most bytes of a name.
pub const MAX_SECRET_NAME_BYTES: usize = 64;

/// JSON escapes take at most six bytes for one.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// A value that is shown by [`Secret::expose`] alone, and overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret with this value.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The secrets of a device, by name.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    disk: Disk,
    values: BTreeMap<String, Secret>,
}

impl Secrets {
    /// Opens the secrets of a data folder. Without a file there are none.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn open(folder: &Path, disk: Disk, key: &DeviceKey) -> Result<Self, SecretError> {
        let path = folder.join(SECRETS_FILE);
        let values = match files::read_bytes(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(SecretError::Io { path, source }),
            Ok(sealed) => {
                let json = unseal(key, SECRETS_FILE, &sealed)?;
                let values: Result<BTreeMap<String, String>, _> = serde_json::from_slice(&json);
                match values {
                    Ok(values) => values
                        .into_iter()
                        .map(|(name, value)| (name, Secret::new(value)))
                        .collect(),
                    Err(error) => {
                        // Without the text of the error, which may quote the file.
                        let kind = io::Error::from(error).kind();
                        let source = kind.into();
                        return Err(SecretError::Io { path, source });
                    }
                }
            }
        };
        Ok(Self { path, disk, values })
    }

    /// The secret with this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.values.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Sets a secret, durably. The file gets a new key of its own.
    ///
    /// # Errors
    /// [`SecretError`]; the secret is then as it was.
    pub fn set(&mut self, key: &DeviceKey, name: &str, value: Secret) -> Result<(), SecretError> {
        if !is_secret_name(name) {
            return Err(SecretError::Name);
        }
        if value.expose().is_empty() {
            let name = name.to_owned();
            return Err(SecretError::Empty { name });
        }
        if value.expose().len() > MAX_SECRET_BYTES {
            let name = name.to_owned();
            return Err(SecretError::TooLong { name });
        }
        let mut values = self.values.clone();
        values.insert(name.to_owned(), value);
        if values.len() > MAX_SECRETS {
            return Err(SecretError::TooMany);
        }
        self.store(key, values)
    }

    /// Removes a secret, durably, and says whether there was one. The disk may keep a copy of the earlier file, sealed.
    ///
    /// # Errors
    /// [`SecretError`]; the secret is then still there.
    pub fn remove(&mut self, key: &DeviceKey, name: &str) -> Result<bool, SecretError> {
        let mut values = self.values.clone();
        if values.remove(name).is_none() {
            return Ok(false);
        }
        self.store(key, values)?;
        Ok(true)
    }

    fn store(
        &mut self,
        key: &DeviceKey,
        values: BTreeMap<String, Secret>,
    ) -> Result<(), SecretError> {
        let shown: BTreeMap<&str, &str> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        serde_json::to_vec(&shown)
            .map_err(io::Error::from)
            .and_then(|json| seal(key, SECRETS_FILE, &Zeroizing::new(json)))
            .and_then(|sealed| self.disk.replace(&self.path, &sealed))
            .map_err(|source| SecretError::Io {
                path: self.path.clone(),
                source,
            })?;
        self.values = values;
        Ok(())
    }
}

/// Whether a secret can have this name.
pub fn is_secret_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    name.len() <= MAX_SECRET_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(allowed)
}
