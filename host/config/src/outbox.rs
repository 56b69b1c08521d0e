//! `[outbox]`: outputs that must arrive.

mod mqtt;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hotshoe_trust::DataPriority;
use serde::{Deserialize, Serialize};

use super::check_range;
use crate::error::ConfigError;

pub use mqtt::{MqttUrl, OutboxMqttConfig};

/// What the name of a policy's output begins with; the rest is its topic.
pub const CUSTOM_PREFIX: &str = "custom:";
/// The name of the output of the device's own alerts.
pub const ALERT_OUTPUT: &str = "alert";
/// Most durable outputs.
pub const MAX_DURABLE: usize = 64;
/// Longest name of a durable output, in bytes: that of a source of the outbox.
const MAX_OUTPUT_BYTES: usize = 128;
/// Least `max-bytes`: 16 segments of 4 KiB.
const LEAST_BYTES: u64 = 64 << 10;
/// Greatest `max-bytes`: 1 TiB.
const MOST_BYTES: u64 = 1 << 40;
/// Greatest `max-age-hours`: ten years.
const MOST_HOURS: u64 = 10 * 366 * 24;
/// Greatest `commit-window-ms`.
const MOST_WINDOW_MS: u64 = 1_000;
/// Greatest rate, in records or bytes per second.
const MOST_RATE: u64 = 1 << 32;

/// `[outbox]`: outputs that are kept on the disk until they have arrived, or are named as lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OutboxConfig {
    /// Whether the outbox runs. Default: if anything is durable.
    pub enabled: Option<bool>,
    /// The durable outputs with their priorities: `insight`, `action`, `custom:TOPIC` for what policies send, and `alert` for the device's own alerts. At most 64. Default: none.
    pub durable: BTreeMap<String, DataPriority>,
    /// Bytes of its files. When they are full, the least important and oldest records are lost. Default: 64 MiB, at least 64 KiB.
    pub max_bytes: u64,
    /// Age at which a record is lost, in hours. Default: 720, which is 30 days.
    pub max_age_hours: u64,
    /// How long a record waits for others to be written with it, in milliseconds. Default: 5.
    pub commit_window_ms: u64,
    /// Records that are delivered per second. Default: 1000.
    pub records_per_second: u64,
    /// Bytes that are delivered per second. Default: 1 MiB.
    pub bytes_per_second: u64,
    /// Delivery to `hotshoe collect`.
    pub zenoh: OutboxZenohConfig,
    /// Delivery to a broker of MQTT in place of collectors. Default: none.
    pub mqtt: Option<OutboxMqttConfig>,
}

/// `[outbox.zenoh]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OutboxZenohConfig {
    /// Whether records are delivered to collectors of the site. Default: true.
    pub enabled: bool,
}

impl Default for OutboxZenohConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            durable: BTreeMap::new(),
            max_bytes: 64 << 20,
            max_age_hours: 720,
            commit_window_ms: 5,
            records_per_second: 1_000,
            bytes_per_second: 1 << 20,
            zenoh: OutboxZenohConfig::default(),
            mqtt: None,
        }
    }
}

impl OutboxConfig {
    /// Whether the outbox runs.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(!self.durable.is_empty())
    }

    /// `max-age-hours` as a duration.
    pub const fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_hours * 3_600)
    }

    /// `commit-window-ms` as a duration.
    pub const fn commit_window(&self) -> Duration {
        Duration::from_millis(self.commit_window_ms)
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(mqtt) = &mut self.mqtt {
            mqtt.resolve(folder);
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.mqtt.as_ref().map_or(Ok(()), OutboxMqttConfig::check)?;
        let count = self.durable.len() as u64;
        check_range("number of outbox.durable", count, 0, MAX_DURABLE as u64)?;
        for output in self.durable.keys() {
            let topic = output.strip_prefix(CUSTOM_PREFIX);
            let is_known = matches!(output.as_str(), "insight" | "action" | ALERT_OUTPUT)
                || topic.is_some_and(|topic| !topic.is_empty());
            if !is_known || output.len() > MAX_OUTPUT_BYTES {
                let output = output.clone();
                return Err(ConfigError::UnknownOutput { output });
            }
        }
        check_range("outbox.max-bytes", self.max_bytes, LEAST_BYTES, MOST_BYTES)?;
        check_range("outbox.max-age-hours", self.max_age_hours, 1, MOST_HOURS)?;
        let window = self.commit_window_ms;
        check_range("outbox.commit-window-ms", window, 0, MOST_WINDOW_MS)?;
        for (key, rate) in [
            ("outbox.records-per-second", self.records_per_second),
            ("outbox.bytes-per-second", self.bytes_per_second),
        ] {
            check_range(key, rate, 1, MOST_RATE)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::Config;

    fn parse(outbox: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n{outbox}");
        Config::parse(&text, Path::new("")).map_err(|error| error.to_string())
    }

    #[test]
    fn it_runs_where_something_is_durable() {
        assert!(!parse("").unwrap().outbox.is_enabled());
        let durable = "[outbox]\ndurable = { insight = \"high\", \"custom:door\" = \"low\" }\n";
        assert!(parse(durable).unwrap().outbox.is_enabled());
        let off = parse(&format!("{durable}enabled = false\n")).unwrap();
        assert!(!off.outbox.is_enabled());
    }

    #[test]
    fn outputs_that_do_not_exist_and_limits_out_of_range_are_refused() {
        for (outbox, named) in [
            ("durable = { insights = \"high\" }", "insights"),
            ("durable = { \"custom:\" = \"high\" }", "custom:"),
            ("max-bytes = 65535", "outbox.max-bytes"),
            ("max-age-hours = 0", "outbox.max-age-hours"),
            ("commit-window-ms = 1001", "outbox.commit-window-ms"),
            ("records-per-second = 0", "outbox.records-per-second"),
        ] {
            let error = parse(&format!("[outbox]\n{outbox}\n")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
