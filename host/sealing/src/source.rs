//! Where the secrets of a device come from: a folder of files, such as systemd's credentials, and the store.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::files;
use zeroize::Zeroizing;

use crate::at_rest::AtRest;
use crate::error::SecretError;
use crate::secrets::{MAX_SECRET_BYTES, SECRETS_FILE, Secret, Secrets, is_secret_name};

/// The secrets of a device. Each is read when it is asked for, so a new value applies at the next use.
#[derive(Debug, Clone)]
pub struct SecretSource {
    /// A file for each secret.
    folder: Option<PathBuf>,
    /// The data folder, with the store.
    data: PathBuf,
    at_rest: AtRest,
}

/// A secret that the configuration names in place of a file.
#[derive(Debug, Clone)]
pub struct NamedSecret {
    source: SecretSource,
    name: String,
}

impl NamedSecret {
    /// The secret of `source` with this name.
    pub const fn new(source: SecretSource, name: String) -> Self {
        Self { source, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value now.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn read(&self) -> Result<Secret, SecretError> {
        self.source.get(&self.name)
    }
}

/// Where a secret is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file of the folder of secrets.
    Folder,
    /// The store in the data folder.
    Stored,
}

impl SecretPlace {
    /// The stable name, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Stored => "stored",
        }
    }
}

impl SecretSource {
    /// The secrets in `folder`, and after them those of the data folder's store.
    pub const fn new(folder: Option<PathBuf>, data: PathBuf, at_rest: AtRest) -> Self {
        Self {
            folder,
            data,
            at_rest,
        }
    }

    /// The secret with this name. A line feed at the end of a file does not count.
    ///
    /// # Errors
    /// [`SecretError`]; [`SecretError::Unknown`] if there is none.
    pub fn get(&self, name: &str) -> Result<Secret, SecretError> {
        if !is_secret_name(name) {
            return Err(SecretError::Name);
        }
        if let Some(found) = self.of_folder(name)? {
            return Ok(found);
        }
        let unknown = || SecretError::Unknown {
            name: name.to_owned(),
        };
        let Some(key) = self.at_rest.key() else {
            return Err(if self.data.join(SECRETS_FILE).exists() {
                SecretError::NoKey
            } else {
                unknown()
            });
        };
        let disk = Disk::new(Faults::never());
        let stored = Secrets::open(&self.data, disk, key)?;
        stored.get(name).cloned().ok_or_else(unknown)
    }

    /// The names of all secrets, sorted, and where each is read from.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn names(&self) -> Result<BTreeMap<String, SecretPlace>, SecretError> {
        let mut names = BTreeMap::new();
        if let Some(key) = self.at_rest.key() {
            let stored = Secrets::open(&self.data, Disk::new(Faults::never()), key)?;
            let stored = stored.names().map(str::to_owned);
            names.extend(stored.map(|name| (name, SecretPlace::Stored)));
        } else if self.data.join(SECRETS_FILE).exists() {
            return Err(SecretError::NoKey);
        }
        if let Some(folder) = &self.folder {
            let files = hotshoe_base::disk::files(folder).map_err(|source| SecretError::Io {
                path: folder.clone(),
                source,
            })?;
            let found = files.iter().filter_map(|path| path.file_name()?.to_str());
            let found = found.filter(|name| is_secret_name(name));
            names.extend(found.map(|name| (name.to_owned(), SecretPlace::Folder)));
        }
        Ok(names)
    }

    fn of_folder(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(name);
        let bytes = match files::read_bytes(&path, MAX_SECRET_BYTES as u64 + 1) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let name = name.to_owned();
                return Err(SecretError::TooLong { name });
            }
            Err(source) => return Err(SecretError::Io { path, source }),
        };
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        match str::from_utf8(bytes) {
            Ok(text) if text.len() <= MAX_SECRET_BYTES => Ok(Some(Secret::new(text.to_owned()))),
            Ok(_) => Err(SecretError::TooLong {
                name: name.to_owned(),
            }),
            Err(_) => Err(SecretError::Io {
                path,
                source: io::ErrorKind::InvalidData.into(),
            }),
        }
    }
}
