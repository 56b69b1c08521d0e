//! Why a key or a sealed file cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::tpm_error::TpmError;

/// Why the device's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// There is no such file.
    #[error(
        "the key {} that the device's files are sealed with is missing; restore it from its copy, or remove the sealed files, which no other key opens",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A new key would replace one.
    #[error("there already is a key in {}; files may be sealed with it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Other users can access the file.
    #[error("the key {} has the mode {mode:03o}, so others can access it; run `chmod 600` on it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not 32 bytes in hexadecimal.
    #[error("the key {} is not 64 hexadecimal digits and a line feed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It is not in the kernel's keyring.
    #[error(
        "the kernel's keyring has no usable key {name:?} ({reason}); add it with `keyctl padd user {name} @u`, or name a `key-file`"
    )]
    NotInKeyring {
        /// Its description.
        name: String,
        /// What the kernel says.
        reason: String,
    },
    /// The TPM does not give it.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The file cannot be read or written, or there are no random numbers.
    #[error("cannot use the key {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SealingKeyError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "sealing_key_missing",
            Self::Exists { .. } => "sealing_key_exists",
            Self::Mode { .. } => "sealing_key_mode",
            Self::Malformed { .. } => "sealing_key_malformed",
            Self::NotInKeyring { .. } => "sealing_key_not_in_keyring",
            Self::Tpm(error) => error.name(),
            Self::Io { .. } => "sealing_key_io",
        }
    }
}

/// Why a sealed file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// It is not sealed, or not of this kind.
    #[error("{file} is not a sealed file of this kind")]
    NotSealed {
        /// Its name.
        file: String,
    },
    /// It is sealed with the key of another device, or with an earlier one.
    #[error(
        "{file} is sealed with the key {found}, and this device has {expected}; restore that key, or remove the file"
    )]
    OtherKey {
        /// Its name.
        file: String,
        /// The identity of its key.
        found: String,
        /// The identity of the device's key.
        expected: String,
    },
    /// It is sealed, and files are not sealed here.
    #[error(
        "{file} is sealed, and there is no key for it; name the key in `[encryption]` of hotshoe.toml"
    )]
    NoKey {
        /// Its name.
        file: String,
    },
    /// Its bytes were changed, cut off, or belong to another file.
    #[error("{file} is damaged from its byte {offset} on, or belongs to another name")]
    Damaged {
        /// Its name.
        file: String,
        /// Where the first wrong part begins.
        offset: u64,
    },
    /// It cannot be read.
    #[error("cannot read {file}")]
    Io {
        /// Its name.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl UnsealError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotSealed { .. } => "not_sealed",
            Self::OtherKey { .. } => "sealed_with_another_key",
            Self::NoKey { .. } => "sealed_without_key",
            Self::Damaged { .. } => "sealed_file_damaged",
            Self::Io { .. } => "sealed_file_io",
        }
    }
}

impl From<UnsealError> for io::Error {
    /// [`io::ErrorKind::InvalidData`], or the error of the file system.
    fn from(error: UnsealError) -> Self {
        match error {
            UnsealError::Io { source, .. } => source,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Why the secrets of a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The name cannot be used.
    #[error(
        "a secret's name has 1 to 64 lower-case letters, digits, hyphens and dots, and begins with a letter"
    )]
    Name,
    /// The value is empty.
    #[error(
        "the value of the secret {name:?} is empty, so that it stays as it is; `hotshoe secret remove {name}` removes it"
    )]
    Empty {
        /// Its name.
        name: String,
    },
    /// The value is too long.
    #[error("the secret {name:?} has more than {} bytes", crate::MAX_SECRET_BYTES)]
    TooLong {
        /// Its name.
        name: String,
    },
    /// There are too many.
    #[error(
        "the device has {} secrets, the most that it can have; remove one",
        crate::MAX_SECRETS
    )]
    TooMany,
    /// There is no such secret.
    #[error("the device has no secret {name:?}; set it with `hotshoe secret set {name}`")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The store of secrets needs the device's key.
    #[error(
        "secrets are stored encrypted, and there is no key; name one in `[encryption]` of hotshoe.toml, or give a folder in `[secrets]`"
    )]
    NoKey,
    /// The key that they are encrypted with cannot be read.
    #[error("cannot read the secrets of the device")]
    Key(#[from] SealingKeyError),
    /// The file cannot be read with this key.
    #[error("cannot read the secrets of the device")]
    Unseal(#[from] UnsealError),
    /// The file cannot be read or written.
    #[error("cannot use the secrets {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SecretError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Name => "invalid_secret_name",
            Self::Empty { .. } => "empty_secret",
            Self::TooLong { .. } => "secret_too_long",
            Self::TooMany => "too_many_secrets",
            Self::Unknown { .. } => "unknown_secret",
            Self::NoKey => "secrets_without_key",
            Self::Key(error) => error.name(),
            Self::Unseal(error) => error.name(),
            Self::Io { .. } => "secrets_io",
        }
    }
}

pub(crate) fn of_key(path: &Path) -> impl FnOnce(io::Error) -> SealingKeyError {
    let path = path.to_owned();
    move |source| SealingKeyError::Io { path, source }
}

pub(crate) fn of_file(file: &str) -> impl FnOnce(io::Error) -> UnsealError {
    let file = file.to_owned();
    move |source| UnsealError::Io { file, source }
}

pub(crate) fn damaged(file: &str, offset: u64) -> UnsealError {
    UnsealError::Damaged {
        file: file.to_owned(),
        offset,
    }
}
