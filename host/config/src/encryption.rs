//! `[encryption]` and `[secrets]`: what a stolen disk does not show.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use hotshoe_sealing::{
    AtRest, DEFAULT_TPM, DeviceKey, NamedSecret, SealingKeyError, SecretError, SecretSource,
    is_secret_name,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::Config;
use crate::error::ConfigError;

/// Longest `keyring`, in bytes.
const MAX_KEYRING_BYTES: usize = 128;
/// Longest `tpm`, in bytes.
const MAX_TPM_BYTES: u64 = 256;

/// `[encryption]`: the key that wraps the keys of files. Without `key-file`, `tpm-file` and `keyring`, files are not encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct EncryptionConfig {
    /// The file with the device's key, which should not be on the disk that it protects: a credential of systemd, or a removable disk.
    /// `hotshoe secret key` makes one. Default: none.
    pub key_file: Option<PathBuf>,
    /// The file with the device's key, sealed by a TPM 2.0, if there is no `key-file`. `hotshoe secret seal` makes one, and it may be on the disk
    /// that it protects. For programs that are built with the feature `tpm`. Default: none.
    pub tpm_file: Option<PathBuf>,
    /// The TPM, in the notation of tpm2-tss: `device:PATH` or `swtpm:host=HOST,port=PORT`. Default: `device:/dev/tpmrm0`.
    pub tpm: String,
    /// The description of the device's key in the kernel's keyring, if there is no `key-file` and no `tpm-file`. Default: none.
    pub keyring: Option<String>,
    /// Whether files that are not encrypted are refused. Set it once the device has run with a key for as long as it keeps data: otherwise who
    /// can write the disk can replace an encrypted file by one that is not. Default: false.
    pub required: bool,
}

/// `[secrets]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SecretsConfig {
    /// A folder with a file for each secret, by name, such as `/run/credentials/hotshoe.service`. It comes before those that `hotshoe secret`
    /// stores, which need `[encryption]`. Default: none.
    pub folder: Option<PathBuf>,
    /// The names of secrets that components may read, if their release lists them. Default: none.
    pub allow: BTreeSet<String>,
}

impl Default for EncryptionConfig {
    fn default() -> Self {
        Self {
            key_file: None,
            tpm_file: None,
            tpm: DEFAULT_TPM.to_owned(),
            keyring: None,
            required: false,
        }
    }
}

impl EncryptionConfig {
    /// How files are kept. Reads the key, and forbids this process to dump its memory.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn open(&self) -> Result<AtRest, SealingKeyError> {
        let key = match (&self.key_file, &self.tpm_file, &self.keyring) {
            (Some(path), _, _) => DeviceKey::read(path)?,
            (None, Some(path), _) => DeviceKey::from_tpm(path, &self.tpm)?,
            (None, None, Some(name)) => DeviceKey::from_keyring(name)?,
            (None, None, None) => return Ok(AtRest::plain()),
        };
        // A core dump would have the key, and what it opens. A process may always lower its own limit.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let _ = setrlimit(Resource::Core, none);
        Ok(AtRest::sealed(key, self.required))
    }

    /// The file that the key is in, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        self.key_file.as_deref().or(self.tpm_file.as_deref())
    }

    pub(crate) fn resolve(&mut self, folder: &Path) {
        for file in [&mut self.key_file, &mut self.tpm_file]
            .into_iter()
            .flatten()
        {
            *file = folder.join(&*file);
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(name) = &self.keyring {
            let bytes = name.len() as u64;
            super::check_range(
                "number of bytes of encryption.keyring",
                bytes,
                1,
                MAX_KEYRING_BYTES as u64,
            )?;
        }
        let bytes = self.tpm.len() as u64;
        super::check_range("number of bytes of encryption.tpm", bytes, 1, MAX_TPM_BYTES)?;
        if self.required && self.file().is_none() && self.keyring.is_none() {
            return Err(ConfigError::Needs {
                key: "encryption.required",
                needed: "encryption.key-file",
            });
        }
        Ok(())
    }
}

/// Refuses what no secret can be called.
pub(crate) fn check_secret_name(
    key: impl Into<String>,
    name: Option<&String>,
) -> Result<(), ConfigError> {
    match name.filter(|name| !is_secret_name(name)) {
        Some(name) => Err(ConfigError::SecretName {
            key: key.into(),
            name: name.clone(),
        }),
        None => Ok(()),
    }
}

impl SecretsConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut names = self.allow.iter();
        names.try_for_each(|name| check_secret_name("secrets.allow", Some(name)))
    }

    pub(crate) fn resolve(&mut self, folder: &Path) {
        if let Some(secrets) = &mut self.folder {
            *secrets = folder.join(&*secrets);
        }
    }
}

impl Config {
    /// Where the secrets of the device are.
    pub fn secret_source(&self, at_rest: &AtRest) -> SecretSource {
        SecretSource::new(
            self.secrets.folder.clone(),
            self.data.clone(),
            at_rest.clone(),
        )
    }

    /// The secret that a key of the configuration names. Opens the encryption only if there is a name.
    ///
    /// # Errors
    /// [`SecretError::Key`]
    pub fn named_secret(&self, name: Option<&str>) -> Result<Option<NamedSecret>, SecretError> {
        let Some(name) = name else {
            return Ok(None);
        };
        let source = self.secret_source(&self.encryption.open()?);
        Ok(Some(NamedSecret::new(source, name.to_owned())))
    }

    /// The names of secrets in the configuration that the daemon itself reads.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let mqtt = self.outbox.mqtt.as_ref();
        let (telemetry, oip) = (self.telemetry.as_ref(), self.oip.as_ref());
        let (page, metrics) = (self.page.as_ref(), self.metrics.as_ref());
        let names = [
            mqtt.and_then(|it| it.password_secret.as_deref()),
            telemetry.and_then(|it| it.headers_secret.as_deref()),
            oip.and_then(|it| it.token_secret.as_deref()),
            page.and_then(|it| it.token_secret.as_deref()),
            metrics.and_then(|it| it.token_secret.as_deref()),
        ];
        names.into_iter().flatten()
    }

    /// Opens the secrets that `hotshoe secret` stores.
    ///
    /// # Errors
    /// [`SecretError`]; [`SecretError::NoKey`] without `[encryption]`.
    pub fn stored_secrets(
        &self,
        at_rest: &AtRest,
        disk: Disk,
    ) -> Result<hotshoe_sealing::Secrets, SecretError> {
        let key = at_rest.key().ok_or(SecretError::NoKey)?;
        hotshoe_sealing::Secrets::open(&self.data, disk, key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::Config;

    fn parse(more: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n{more}");
        Config::parse(&text, Path::new("/etc")).map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_not_encrypted_without_a_key() {
        let config = parse("").unwrap();
        assert!(!config.encryption.open().unwrap().is_sealed());
    }

    #[test]
    fn a_key_is_in_a_file_beside_the_configuration_or_in_the_keyring() {
        let config =
            parse("[encryption]\nkey-file = \"seal.key\"\n[secrets]\nfolder = \"secrets\"")
                .unwrap();
        let file = config.encryption.key_file.clone().unwrap();
        assert_eq!(file, Path::new("/etc/seal.key"));
        assert_eq!(config.secrets.folder.unwrap(), Path::new("/etc/secrets"));
        let error = config.encryption.open().unwrap_err();
        assert_eq!(error.name(), "sealing_key_missing");
        let config = parse("[encryption]\nkeyring = \"hotshoe\"\nrequired = true").unwrap();
        assert_eq!(config.encryption.keyring.unwrap(), "hotshoe");
    }

    #[test]
    fn a_key_that_a_tpm_sealed_is_in_a_file_beside_the_configuration() {
        let config = parse("[encryption]\ntpm-file = \"sealed.key\"\nrequired = true").unwrap();
        assert_eq!(config.encryption.tpm, "device:/dev/tpmrm0");
        assert_eq!(
            config.encryption.file().unwrap(),
            Path::new("/etc/sealed.key")
        );
        let error = config.encryption.open().unwrap_err();
        assert_eq!(error.name(), "sealing_key_missing");
    }

    #[test]
    fn no_key_where_one_is_required_is_refused() {
        for (encryption, named) in [
            ("required = true", "encryption.key-file"),
            ("keyring = \"\"", "encryption.keyring"),
            ("tpm = \"\"", "encryption.tpm"),
        ] {
            let error = parse(&format!("[encryption]\n{encryption}")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
