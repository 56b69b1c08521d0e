//! Differences between two configurations, by key. Files that keys name, such as certificates, belong to their key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hotshoe_base::files;
use hotshoe_trust::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::{TlsConfig, ZenohConfig};

/// Largest file that is compared, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The key of the trusted keys, whose file is not reloaded.
pub const TRUST: &str = "trust";
/// Digests of files by the keys that name them; `None` if a file cannot be read.
pub type Files = BTreeMap<&'static str, Option<Digest>>;

/// The files that a daemon and a registry have in common.
pub fn files_of_link(zenoh: &ZenohConfig, trust: &Path) -> Files {
    let mut files = Files::from([(TRUST, content(trust))]);
    let mut add = |key, path: Option<&Path>| {
        if let Some(path) = path {
            files.insert(key, content(path));
        }
    };
    add("zenoh.access-control", zenoh.access_control.as_deref());
    if let Some(tls) = &zenoh.tls {
        let TlsConfig {
            ca,
            certificate,
            key,
            mutual: _,
            verify_name: _,
        } = tls;
        add("zenoh.tls.ca", ca.as_deref());
        add("zenoh.tls.certificate", certificate.as_deref());
        add("zenoh.tls.key", key.as_deref());
    }
    files
}

/// The digest of a file; `None` if it cannot be read.
pub fn content(path: &Path) -> Option<Digest> {
    let bytes = files::read_bytes(path, MAX_FILE_BYTES).ok()?;
    Some(Digest::of(&bytes))
}

/// The keys whose values differ.
pub fn changed(old: &impl Serialize, new: &impl Serialize) -> BTreeSet<String> {
    // Infallible: every configuration can be written as JSON.
    let value = |config: Result<Value, _>| config.unwrap_or_default();
    let (old, new) = (
        value(serde_json::to_value(old)),
        value(serde_json::to_value(new)),
    );
    let mut keys = BTreeSet::new();
    compare(String::new(), &old, &new, &mut keys);
    keys
}

fn compare(key: String, old: &Value, new: &Value, keys: &mut BTreeSet<String>) {
    if old == new {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        keys.insert(key);
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let key = if key.is_empty() {
            name.clone()
        } else {
            format!("{key}.{name}")
        };
        let none = &Value::Null;
        compare(
            key,
            old.get(name).unwrap_or(none),
            new.get(name).unwrap_or(none),
            keys,
        );
    }
}

/// The keys whose files differ, among those in both `old` and `new`.
pub fn changed_files(old: &Files, new: &Files) -> impl Iterator<Item = &'static str> {
    let both = old
        .iter()
        .filter_map(|(key, was)| Some((*key, was, new.get(key)?)));
    both.filter(|(_, was, is)| was != is).map(|(key, ..)| key)
}
