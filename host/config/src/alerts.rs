//! `[alerts]`: when an alert is raised, and when it has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check_range;
use crate::error::ConfigError;

/// Longest time of `[alerts]`, in seconds: a day.
const MAX_TIME_S: u64 = 86_400;
/// Longest `window-s`: an hour.
const MAX_WINDOW_S: u64 = 3_600;
/// Greatest temperature, in degrees Celsius.
const MAX_CELSIUS: u64 = 200;
/// Greatest free storage, in MiB: 1 TiB.
const MAX_DISK_MIB: u64 = 1 << 20;
/// Greatest number of samples in a window.
const MAX_SAMPLES: u64 = 1_000_000;
/// Greatest number of days before an expiry: ten years.
const MAX_DAYS: u64 = 3_660;

/// `[alerts]`. Heat, battery, disk and clock are known where the [governor](super::GovernorConfig) reads the sensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AlertsConfig {
    /// Interval of the checks, in milliseconds. Default: 1000.
    pub period_ms: u64,
    /// How long a cause must last before its alert is raised, in seconds; offline and clock have their own. Default: 10.
    pub after_s: u64,
    /// How long a cause must be away before its alert has ended, in seconds. Default: 300.
    pub calm_s: u64,
    /// How long the site, or the other end of the outbox, must be out of reach, in seconds. Default: 60.
    pub offline_s: u64,
    /// How long the clock must not follow its time server, in seconds. Default: 600.
    pub clock_s: u64,
    /// The time over which failed samples are counted, in seconds. Default: 60.
    pub window_s: u64,
    /// Least samples in that time; with fewer, no alert about samples is raised. Default: 20.
    pub least_samples: u64,
    /// Temperature of the hottest zone from which the alert is a warning, in degrees Celsius. Default: 85.
    pub heat_warning_celsius: u64,
    /// From which it is critical. Default: 95.
    pub heat_critical_celsius: u64,
    /// Charge of the batteries up to which the alert is a warning without mains, in percent. 0 is never. Default: 20.
    pub battery_warning_percent: u64,
    /// Up to which it is critical. Default: 10.
    pub battery_critical_percent: u64,
    /// Free storage of the data folder up to which the alert is a warning, in MiB. 0 is never. Default: 256.
    pub disk_warning_mib: u64,
    /// Up to which it is critical. Default: 64.
    pub disk_critical_mib: u64,
    /// Share of failed samples from which the alert is a warning, in percent. Missed deadlines do not count. Default: 10.
    pub error_warning_percent: u64,
    /// From which it is critical. Default: 50.
    pub error_critical_percent: u64,
    /// Share of samples on which a component misses its deadline from which the alert is a warning, in percent. Default: 5.
    pub deadline_warning_percent: u64,
    /// From which it is critical. Default: 25.
    pub deadline_critical_percent: u64,
    /// Days before a release or a certificate expires from which the alert is a warning. Default: 30.
    pub expiry_warning_days: u64,
    /// From which it is critical. Default: 7.
    pub expiry_critical_days: u64,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            period_ms: 1_000,
            after_s: 10,
            calm_s: 300,
            offline_s: 60,
            clock_s: 600,
            window_s: 60,
            least_samples: 20,
            heat_warning_celsius: 85,
            heat_critical_celsius: 95,
            battery_warning_percent: 20,
            battery_critical_percent: 10,
            disk_warning_mib: 256,
            disk_critical_mib: 64,
            error_warning_percent: 10,
            error_critical_percent: 50,
            deadline_warning_percent: 5,
            deadline_critical_percent: 25,
            expiry_warning_days: 30,
            expiry_critical_days: 7,
        }
    }
}

impl AlertsConfig {
    /// `period-ms` as a duration.
    pub const fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms)
    }

    /// `after-s` as a duration.
    pub const fn after(&self) -> Duration {
        Duration::from_secs(self.after_s)
    }

    /// `calm-s` as a duration.
    pub const fn calm(&self) -> Duration {
        Duration::from_secs(self.calm_s)
    }

    /// `window-s` as a duration.
    pub const fn window(&self) -> Duration {
        Duration::from_secs(self.window_s)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        check_range("alerts.period-ms", self.period_ms, 100, 60_000)?;
        check_range("alerts.window-s", self.window_s, 1, MAX_WINDOW_S)?;
        for (key, seconds) in [
            ("alerts.after-s", self.after_s),
            ("alerts.calm-s", self.calm_s),
            ("alerts.offline-s", self.offline_s),
            ("alerts.clock-s", self.clock_s),
        ] {
            check_range(key, seconds, 0, MAX_TIME_S)?;
        }
        Ok(())
    }

    /// Refuses values that are not valid.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_times()?;
        let samples = self.least_samples;
        check_range("alerts.least-samples", samples, 1, MAX_SAMPLES)?;
        // The higher, the worse.
        for (warning, critical, keys, least, most) in [
            (
                self.heat_warning_celsius,
                self.heat_critical_celsius,
                (
                    "alerts.heat-warning-celsius",
                    "alerts.heat-critical-celsius",
                ),
                1,
                MAX_CELSIUS,
            ),
            (
                self.error_warning_percent,
                self.error_critical_percent,
                (
                    "alerts.error-warning-percent",
                    "alerts.error-critical-percent",
                ),
                1,
                100,
            ),
            (
                self.deadline_warning_percent,
                self.deadline_critical_percent,
                (
                    "alerts.deadline-warning-percent",
                    "alerts.deadline-critical-percent",
                ),
                1,
                100,
            ),
        ] {
            check_range(keys.0, warning, least, most)?;
            check_range(keys.1, critical, warning, most)?;
        }
        // The lower, the worse.
        for (warning, critical, keys, most) in [
            (
                self.battery_warning_percent,
                self.battery_critical_percent,
                (
                    "alerts.battery-warning-percent",
                    "alerts.battery-critical-percent",
                ),
                100,
            ),
            (
                self.disk_warning_mib,
                self.disk_critical_mib,
                ("alerts.disk-warning-mib", "alerts.disk-critical-mib"),
                MAX_DISK_MIB,
            ),
            (
                self.expiry_warning_days,
                self.expiry_critical_days,
                ("alerts.expiry-warning-days", "alerts.expiry-critical-days"),
                MAX_DAYS,
            ),
        ] {
            check_range(keys.0, warning, 0, most)?;
            check_range(keys.1, critical, 0, warning)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::{AlertsConfig, Config};

    fn parse(alerts: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n[alerts]\n{alerts}");
        Config::parse(&text, Path::new("")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(parse("").unwrap().alerts, AlertsConfig::default());
        let own = parse("after-s = 0\ndisk-warning-mib = 0\ndisk-critical-mib = 0\n").unwrap();
        assert_eq!((own.alerts.after_s, own.alerts.calm_s), (0, 300));
    }

    #[test]
    fn a_critical_threshold_lies_beyond_that_of_a_warning() {
        for (alerts, named) in [
            ("heat-critical-celsius = 84", "alerts.heat-critical-celsius"),
            (
                "battery-critical-percent = 21",
                "alerts.battery-critical-percent",
            ),
            ("disk-warning-mib = 63", "alerts.disk-critical-mib"),
            (
                "error-warning-percent = 51",
                "alerts.error-critical-percent",
            ),
            (
                "deadline-warning-percent = 0",
                "alerts.deadline-warning-percent",
            ),
            ("expiry-critical-days = 31", "alerts.expiry-critical-days"),
            ("period-ms = 99", "alerts.period-ms"),
            ("calm-s = 86401", "alerts.calm-s"),
            ("window-s = 0", "alerts.window-s"),
        ] {
            let error = parse(alerts).unwrap_err();
            assert!(error.contains(named), "{alerts}: {error}");
        }
    }
}
