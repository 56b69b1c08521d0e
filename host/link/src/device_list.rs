//! The public keys of a site's devices, and the check of their signatures.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::files;
use hotshoe_config::check_name;
use hotshoe_trust::{KeyError, Payload, PublicKey, Scheme};

/// Extension of key files: `devices/line-4.pub`.
const EXTENSION: &str = "pub";
/// Largest file of a key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// Most devices in a list.
pub const MAX_DEVICES: usize = 65_536;

/// Why a list of devices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceListError {
    /// The folder or a file cannot be read.
    #[error("cannot read the devices' keys {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not contain a public key.
    #[error("{} is not a device's public key; `hotshoe site add` writes it", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A file's name cannot be a device's.
    #[error("the file name of {} is not the name of a device; call it NAME.{EXTENSION}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// More devices than [`MAX_DEVICES`].
    #[error("{} has more than {MAX_DEVICES} devices", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

impl DeviceListError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "io",
            Self::Key { .. } | Self::Name { .. } | Self::TooMany { .. } => "invalid_device_list",
        }
    }
}

/// Why a message is only claimed, and not proven to come from its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// No list of devices was given.
    #[error("no device list was given, so signatures were not checked")]
    NoList,
    /// The device is not on the list.
    #[error("the device is not on the site's list; add it with `hotshoe site add`")]
    Unlisted,
    /// It is not signed.
    #[error("it is not signed; devices of older versions do not sign")]
    Unsigned,
    /// The signature was made by another key, or covers other data.
    #[error("its signature was not made by the device's key, or covers other data")]
    BadSignature,
    /// The message is about another statement, or older than this one.
    #[error("it is about another statement")]
    OtherStatement,
}

impl Unproven {
    /// The stable name, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoList => "no_device_list",
            Self::Unlisted => "unlisted_device",
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::OtherStatement => "other_statement",
        }
    }
}

/// The public keys of a site's devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList {
    keys: BTreeMap<String, PublicKey>,
}

impl DeviceList {
    /// Reads a folder of files `NAME.pub`, one public key per device.
    ///
    /// # Errors
    /// [`DeviceListError`] names the file.
    pub fn load(folder: &Path) -> Result<Self, DeviceListError> {
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |source| DeviceListError::Read { path, source }
        };
        let mut list = Self::default();
        for entry in fs::read_dir(folder).map_err(cannot(folder))? {
            let path = entry.map_err(cannot(folder))?.path();
            if path.extension().is_none_or(|it| it != EXTENSION) {
                continue;
            }
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name
                .filter(|name| check_name("device", name).is_ok())
                .ok_or_else(|| DeviceListError::Name { path: path.clone() })?;
            let pem = files::read_text(&path, MAX_KEY_BYTES).map_err(cannot(&path))?;
            let key = public_key(&pem).map_err(|source| DeviceListError::Key {
                path: path.clone(),
                source,
            })?;
            list.keys.insert(name.to_owned(), key);
            if list.keys.len() > MAX_DEVICES {
                let path = folder.to_owned();
                return Err(DeviceListError::TooMany { path });
            }
        }
        Ok(list)
    }

    /// Adds a device, or replaces its key.
    pub fn insert(&mut self, device: &str, key: PublicKey) {
        self.keys.insert(device.to_owned(), key);
    }

    /// The devices' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Checks that the device named in `payload` signed it.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn check(&self, payload: &Payload<'_>, signature: Option<&[u8]>) -> Result<(), Unproven> {
        let key = self.keys.get(payload.device).ok_or(Unproven::Unlisted)?;
        let signature = signature.ok_or(Unproven::Unsigned)?;
        payload
            .verify(signature, key)
            .map_err(|_| Unproven::BadSignature)
    }
}

/// Parses a device's public key in PEM, of either scheme.
///
/// # Errors
/// [`KeyError`].
pub fn public_key(pem: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_pem(pem, Scheme::EcdsaP256Sha256)
        .or_else(|first| PublicKey::from_pem(pem, Scheme::Ed25519).map_err(|_| first))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use hotshoe_trust::{PayloadKind, SigningKey};

    fn payload<'a>(device: &'a str, context: &'a [u8], body: &'a [u8]) -> Payload<'a> {
        Payload {
            kind: PayloadKind::Status,
            site: "lab",
            device,
            context,
            body,
        }
    }

    #[test]
    fn only_the_device_s_own_signature_over_this_very_answer_counts() {
        let [a, b] = [(); 2].map(|()| SigningKey::generate().unwrap());
        let mut list = DeviceList::default();
        list.insert("a", a.public_key().unwrap());
        list.insert("b", b.public_key().unwrap());
        let said = payload("a", b"nonce", b"{}");
        let signature = said.sign(&a).unwrap();
        assert_eq!(list.check(&said, Some(&signature)), Ok(()));
        let refused =
            |said: &Payload<'_>, signature: Option<&[u8]>| list.check(said, signature).unwrap_err();
        assert_eq!(refused(&said, None), Unproven::Unsigned);
        let by_b = said.sign(&b).unwrap();
        let ended = [signature.as_slice(), b" "].concat();
        for (said, signature) in [
            // Another's key, another's name, an older question, another answer, another site, another kind of message.
            (said, by_b.as_slice()),
            (payload("b", b"nonce", b"{}"), &signature),
            (payload("a", b"older", b"{}"), &signature),
            (payload("a", b"nonce", b"{ }"), &signature),
            (
                Payload {
                    site: "plant",
                    ..said
                },
                &signature,
            ),
            (
                Payload {
                    kind: PayloadKind::Event,
                    ..said
                },
                &signature,
            ),
            // The same bytes, split between context and body differently.
            (payload("a", b"nonc", b"e{}"), &signature),
            (said, b"no bundle"),
            (said, b""),
        ] {
            assert_eq!(refused(&said, Some(signature)), Unproven::BadSignature);
        }
        // White space after a bundle is still that bundle.
        assert_eq!(list.check(&said, Some(&ended)), Ok(()));
        assert_eq!(
            refused(&payload("c", b"nonce", b"{}"), Some(&signature)),
            Unproven::Unlisted
        );
    }

    #[test]
    fn a_folder_has_one_file_per_device() {
        let folder = tempfile::tempdir().unwrap();
        let pem = SigningKey::generate()
            .unwrap()
            .public_key()
            .unwrap()
            .to_pem();
        fs::write(folder.path().join("line-4.pub"), &pem).unwrap();
        fs::write(folder.path().join("notes.txt"), "not a key").unwrap();
        let list = DeviceList::load(folder.path()).unwrap();
        assert_eq!(list.names().collect::<Vec<_>>(), ["line-4"]);
        fs::write(folder.path().join("line-5.pub"), "not a key").unwrap();
        let error = DeviceList::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("line-5.pub"), "{error}");
        fs::remove_file(folder.path().join("line-5.pub")).unwrap();
        fs::write(folder.path().join("a b.pub"), &pem).unwrap();
        assert_eq!(
            DeviceList::load(folder.path()).unwrap_err().name(),
            "invalid_device_list"
        );
        assert_eq!(
            DeviceList::load(&folder.path().join("none"))
                .unwrap_err()
                .name(),
            "io"
        );
    }
}
