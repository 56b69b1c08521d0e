//! Whether the files of the device are encrypted, and whether its secrets are there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_sealing::AtRest;

use super::{Finding, State};

const WHAT: &str = "encryption";

/// Checks the key, where it is, and the secrets that the configuration names.
pub(super) fn encryption(config: &Config) -> Finding {
    let at_rest = match config.encryption.open() {
        Ok(at_rest) => at_rest,
        Err(error) => {
            return Finding::bad(
                WHAT,
                State::Fail,
                chain(&error),
                "the daemon does not start without this key, and nothing else opens the encrypted files",
            );
        }
    };
    if let Some((secret, reason)) = missing_secret(config, &at_rest) {
        return Finding::bad(
            WHAT,
            State::Warn,
            format!("the secret `{secret}` cannot be read: {reason}"),
            format!("set it with `hotshoe secret set {secret}`"),
        );
    }
    let Some(key) = at_rest.key() else {
        return Finding::ok(WHAT, "the files of the data folder are not encrypted");
    };
    let file = config.encryption.key_file.as_deref();
    if let Some(file) = file.filter(|file| is_same_disk(file, &config.data)) {
        return Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "the key {} is on the disk that it protects, which a thief gets with it",
                file.display()
            ),
            "put it on another disk, or make it a credential of systemd that a TPM seals",
        );
    }
    Finding::ok(
        WHAT,
        format!("files are encrypted with the key {}", key.id()),
    )
}

/// The first secret that the configuration names and that cannot be read, with the reason.
fn missing_secret(config: &Config, at_rest: &AtRest) -> Option<(String, String)> {
    let secrets = config.secret_source(at_rest);
    config.secret_names().find_map(|name| {
        let error = secrets.get(name).err()?;
        Some((name.to_owned(), chain(&error)))
    })
}

/// Whether two paths are on one disk, as far as that is known. A credential of systemd is in memory.
fn is_same_disk(file: &Path, data: &Path) -> bool {
    let disk = |path: &Path| fs::metadata(path).ok().map(|about| about.dev());
    disk(file).is_some() && disk(file) == disk(data)
}
