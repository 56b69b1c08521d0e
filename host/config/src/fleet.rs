//! The keys of `hotshoe.toml` that a signed release sets for a fleet, where the device's own file leaves them open.

use std::collections::BTreeSet;
use std::path::Path;

use hotshoe_trust::toml_file::{self, TomlError};
use serde::Serialize;
use toml::{Table, Value};

use crate::error::ConfigError;
use crate::{Config, read_text};

/// What a fleet may set: a key, or all keys below it. What is in neither list is refused.
const OPEN: [&str; 25] = [
    "intake.queue",
    "intake.when-full",
    "intake.block-timeout-ms",
    "intake.max-sample-bytes",
    "workers",
    "drain",
    "deploy.keep-previous",
    "deploy.share",
    "deploy.max-bytes-per-second",
    "deploy.quota-mib",
    "deploy.window",
    "deploy.fresh-within-hours",
    "inference.threads",
    "inference.pool",
    "inference.max-runs",
    "compile",
    "governor.enabled",
    "governor.period-ms",
    "governor.least-time-ms",
    "governor.calm-ms",
    "governor.most-changes-per-hour",
    "governor.deadline-ms",
    "governor.hibernate",
    "alerts",
    "log",
];

/// Keys of `[outbox]` that a fleet may set.
const OPEN_OUTBOX: [&str; 6] = [
    "outbox.durable",
    "outbox.max-bytes",
    "outbox.max-age-hours",
    "outbox.commit-window-ms",
    "outbox.records-per-second",
    "outbox.bytes-per-second",
];

const IDENTITY: &str = "it says which device this is";
const PERMISSION: &str = "it limits what those who sign releases may do on the device";
const REACH: &str = "it names files, endpoints or secrets of the device";
const HARDWARE: &str = "it depends on the hardware of the device";
const GUARD: &str = "the device goes back to a working release by it";

/// What a fleet may not set, with the reason.
const CLOSED: [(&str, &str); 35] = [
    ("site", IDENTITY),
    ("device", IDENTITY),
    ("labels", IDENTITY),
    ("data", REACH),
    ("trust", PERMISSION),
    ("development", PERMISSION),
    ("allow", PERMISSION),
    ("limits", PERMISSION),
    ("deploy.statements", PERMISSION),
    ("deploy.health", PERMISSION),
    ("deploy.max-crashes", GUARD),
    ("deploy.crash-seconds", GUARD),
    ("record", PERMISSION),
    ("privacy", PERMISSION),
    ("data-contract", PERMISSION),
    ("output", PERMISSION),
    ("folders", PERMISSION),
    ("network", PERMISSION),
    ("shared-data", PERMISSION),
    ("zenoh", REACH),
    ("intake.subscribe", REACH),
    ("watch", REACH),
    ("metrics", REACH),
    ("oip", REACH),
    ("page", REACH),
    ("telemetry", REACH),
    ("private-telemetry", PERMISSION),
    ("encryption", REACH),
    ("secrets", REACH),
    ("outbox.enabled", PERMISSION),
    ("outbox.zenoh", REACH),
    ("outbox.mqtt", REACH),
    ("inference", HARDWARE),
    ("governor.sensors", REACH),
    ("governor.outputs", REACH),
];

/// Why the keys of a fleet are refused on a device.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Not TOML.
    #[error("the keys for the fleet are not valid TOML")]
    Toml(#[source] TomlError),
    /// A key that only the device itself may set.
    #[error("a release cannot set `{key}`: {reason}; set it in the device's own hotshoe.toml")]
    Key {
        /// The key.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// A key that this version does not know.
    #[error("`{key}` is not a key that a release can set; correct its name, or remove it")]
    Unknown {
        /// The key.
        key: String,
    },
    /// A value of a wrong type or name, in the configuration with the keys of the device.
    #[error("a value for the fleet is not valid: {reason}")]
    Value {
        /// What is wrong.
        reason: String,
    },
    /// The values are not valid together with those of the device.
    #[error("the keys for the fleet do not fit this device")]
    Check(#[source] ConfigError),
}

impl FleetError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Key { .. } => "config_key_refused",
            Self::Toml(_) | Self::Unknown { .. } | Self::Value { .. } | Self::Check(_) => {
                "config_refused"
            }
        }
    }
}

/// The keys of a `config` release. Each is one that a fleet may set.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig(Table);

impl FleetConfig {
    /// Reads the file of a `config` release.
    ///
    /// # Errors
    /// [`FleetError`], which names the first key that a fleet may not set.
    pub fn parse(text: &str) -> Result<Self, FleetError> {
        let table: Table = toml_file::parse(text).map_err(FleetError::Toml)?;
        for key in keys(&table) {
            check_key(&key)?;
        }
        Ok(Self(table))
    }

    /// Its keys, such as `intake.queue`.
    pub fn keys(&self) -> BTreeSet<String> {
        keys(&self.0)
    }
}

/// The device's own `hotshoe.toml`.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    table: Table,
    folder: std::path::PathBuf,
    config: Config,
}

/// Where the value of a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The device's own file.
    Device,
    /// A `config` release.
    Fleet,
    /// Neither: it is the default.
    Default,
}

impl Origin {
    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Fleet => "fleet",
            Self::Default => "default",
        }
    }
}

impl LocalConfig {
    /// Reads and checks a file, which is complete without a release.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key or the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_text(path)?, path.parent().unwrap_or(Path::new("")))
    }

    /// Parses and checks a text. Relative paths are resolved against `folder`.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            config: Config::parse(text, folder)?,
            table: toml_file::parse(text).map_err(ConfigError::Toml)?,
            folder: folder.to_owned(),
        })
    }

    /// The configuration without a release.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration with what a release sets where this file leaves it open.
    ///
    /// # Errors
    /// [`FleetError`], which names the key.
    pub fn with(&self, fleet: &FleetConfig) -> Result<Config, FleetError> {
        let merged = overlay(&fleet.0, &self.table);
        let config: Result<Config, _> = merged.try_into();
        let config = config.map_err(|error: toml::de::Error| FleetError::Value {
            reason: error.message().trim().replace('\n', "; "),
        })?;
        config.finish(&self.folder).map_err(FleetError::Check)
    }

    /// The keys of a release that are in effect: those that this file leaves open.
    pub fn left_open(&self, fleet: &FleetConfig) -> BTreeSet<String> {
        let own = keys(&self.table);
        fleet.keys().difference(&own).cloned().collect()
    }

    /// Where the value of a key comes from, with these keys of a release.
    pub fn origin(&self, fleet: &BTreeSet<String>, key: &str) -> Origin {
        let is_set = |keys: &BTreeSet<String>| keys.iter().any(|set| is_below(key, set));
        if is_set(&keys(&self.table)) {
            Origin::Device
        } else if is_set(fleet) {
            Origin::Fleet
        } else {
            Origin::Default
        }
    }
}

/// Whether `key` is `table`, or below it.
fn is_below(key: &str, table: &str) -> bool {
    let rest = key.strip_prefix(table);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn check_key(key: &str) -> Result<(), FleetError> {
    let open = OPEN.iter().chain(&OPEN_OUTBOX);
    if open.into_iter().any(|open| is_below(key, open)) {
        return Ok(());
    }
    let closed = CLOSED.iter().find(|(closed, _)| is_below(key, closed));
    Err(match closed {
        Some(&(_, reason)) => FleetError::Key {
            key: key.to_owned(),
            reason,
        },
        None => FleetError::Unknown {
            key: key.to_owned(),
        },
    })
}

/// The paths of all values that are not tables. An empty table is a value, so that it cannot pass unseen.
fn keys(table: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect("", table, &mut found);
    found
}

fn collect(above: &str, table: &Table, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = match above {
            "" => name.clone(),
            above => format!("{above}.{name}"),
        };
        match value {
            Value::Table(below) if !below.is_empty() => collect(&key, below, found),
            _ => drop(found.insert(key)),
        }
    }
}

/// The values of `fleet`, and over them those of `own`.
fn overlay(fleet: &Table, own: &Table) -> Table {
    let mut merged = fleet.clone();
    for (name, value) in own {
        let value = match (merged.get(name), value) {
            (Some(Value::Table(below)), Value::Table(own)) => Value::Table(overlay(below, own)),
            _ => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}
