//! What the device knows of itself, as findings about the causes of alerts. Pure.
//!
//! A threshold has a margin: an alert that lasts ends beyond it, so that a value at the threshold raises no alert again and again.

use std::time::Duration;

use hotshoe_config::AlertsConfig;
use hotshoe_protocol::alert::{AlertKind, AlertSeverity};
use hotshoe_protocol::status::{OutboxStatus, OutletState, SensorStatus};
use hotshoe_trust::Time;

use super::book::{Finding, Reading};
use super::rates::SampleCounts;

/// Margin of temperatures, in degrees Celsius.
const MARGIN_CELSIUS: f64 = 5.0;
/// Margin of the charge, in percent.
const MARGIN_CHARGE: f64 = 5.0;
/// Margin of free storage, as a share of the threshold.
const MARGIN_DISK: f64 = 0.25;
/// Margin of a share of samples, as a share of the threshold.
const MARGIN_SHARE: f64 = 0.2;
/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
const MIB: f64 = 1_048_576.0;

/// What has a date of expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// The release's name and generation, or the key of hotshoe.toml that names the certificate.
    pub subject: String,
    /// When it expires. `None` if that cannot be read.
    pub expires: Option<Time>,
}

/// A monitor that found drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifting {
    /// The monitor's name.
    pub monitor: String,
    /// How serious it is; `None` if nothing drifts.
    pub found: Option<(AlertSeverity, String)>,
}

/// What the device knows of itself at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// By the device's clock.
    pub time: Time,
    /// What the sensors say, which is nothing before they are read first; `None` where nothing reads them.
    pub sensors: Option<SensorStatus>,
    /// The endpoints that the session is to be connected to.
    pub connect: Vec<String>,
    /// The sessions that it is connected to.
    pub peers: usize,
    /// The outbox, if there is one.
    pub outbox: Option<OutboxStatus>,
    /// Samples of the window.
    pub samples: SampleCounts,
    /// The release that serves.
    pub release: Option<Expiring>,
    /// The certificates that the configuration names.
    pub certificates: Vec<Expiring>,
    /// What the monitors of drift say.
    pub drift: Vec<Drifting>,
    /// Monitors of drift that have said nothing yet, for example after a start.
    pub drift_unknown: Vec<String>,
}

/// Two thresholds and their margin.
struct Thresholds {
    warning: f64,
    critical: f64,
    /// How far a value must be on the good side of a threshold for an alert that lasts.
    margins: [f64; 2],
    is_low_bad: bool,
}

impl Thresholds {
    /// A value from a threshold on is bad.
    const fn high(warning: f64, critical: f64, margins: [f64; 2]) -> Self {
        Self {
            warning,
            critical,
            margins,
            is_low_bad: false,
        }
    }

    /// A value up to a threshold is bad. A threshold of zero is never reached.
    const fn low(warning: f64, critical: f64, margins: [f64; 2]) -> Self {
        Self {
            warning,
            critical,
            margins,
            is_low_bad: true,
        }
    }

    /// How bad a value is, for an alert that lasts with this severity.
    fn severity(&self, value: f64, lasts: Option<AlertSeverity>) -> Option<AlertSeverity> {
        let levels = [
            (AlertSeverity::Critical, self.critical, self.margins[1]),
            (AlertSeverity::Warning, self.warning, self.margins[0]),
        ];
        let is_reached = |(severity, threshold, margin): &(AlertSeverity, f64, f64)| {
            let slack = if lasts >= Some(*severity) {
                *margin
            } else {
                0.0
            };
            if self.is_low_bad {
                *threshold > 0.0 && (value <= *threshold || value < threshold + slack)
            } else {
                value >= threshold - slack
            }
        };
        levels.iter().find(|it| is_reached(it)).map(|it| it.0)
    }
}

/// What a value says, with these words for it.
fn measured(
    value: Option<f64>,
    thresholds: &Thresholds,
    lasts: Option<AlertSeverity>,
    text: impl FnOnce(f64) -> String,
) -> Reading {
    let Some(value) = value else {
        return Reading::Unknown;
    };
    match thresholds.severity(value, lasts) {
        Some(severity) => Reading::Raised {
            severity,
            text: text(value),
        },
        None => Reading::Clear,
    }
}

/// The findings about all causes. `lasts` is how serious an alert is that lasts.
pub fn findings(
    facts: &Facts,
    config: &AlertsConfig,
    lasts: impl Fn(AlertKind, &str) -> Option<AlertSeverity>,
) -> Vec<Finding> {
    let after = config.after();
    let offline = Duration::from_secs(config.offline_s);
    let mut found = vec![
        about(AlertKind::Offline, "site", site(facts), offline),
        about(AlertKind::Offline, "outbox", outbox(facts), offline),
    ];
    // Without sensors there is no finding, so that an alert of an earlier configuration ends.
    if let Some(sensors) = &facts.sensors {
        let hot = heat(sensors, config, lasts(AlertKind::Heat, "device"));
        let empty = battery(sensors, config, lasts(AlertKind::Battery, "device"));
        let full = disk(sensors, config, lasts(AlertKind::Disk, "data"));
        let clock_s = Duration::from_secs(config.clock_s);
        found.extend([
            about(AlertKind::Heat, "device", hot, after),
            about(AlertKind::Battery, "device", empty, after),
            about(AlertKind::Disk, "data", full, after),
            about(AlertKind::Clock, "device", clock(sensors), clock_s),
        ]);
    }
    let failing = errors(facts, config, lasts(AlertKind::ErrorSpike, "samples"));
    let late = late(facts, config, lasts(AlertKind::DeadlineMisses, "samples"));
    found.extend([
        about(AlertKind::ErrorSpike, "samples", failing, after),
        about(AlertKind::DeadlineMisses, "samples", late, after),
    ]);
    let drifts = facts.drift.iter();
    found.extend(drifts.map(|it| about(AlertKind::Drift, &it.monitor, drift(it), after)));
    let unknown = facts.drift_unknown.iter();
    found.extend(unknown.map(|it| about(AlertKind::Drift, it, Reading::Unknown, after)));
    let releases = facts
        .release
        .iter()
        .map(|it| (AlertKind::ReleaseExpiry, it));
    let certificates = facts.certificates.iter();
    let certificates = certificates.map(|it| (AlertKind::CertificateExpiry, it));
    found.extend(releases.chain(certificates).map(|(kind, it)| {
        let reading = expiry(it, facts.time, config, lasts(kind, &it.subject));
        about(kind, &it.subject, reading, after)
    }));
    found
}

fn about(kind: AlertKind, subject: &str, reading: Reading, after: Duration) -> Finding {
    Finding {
        key: (kind, subject.to_owned()),
        reading,
        after,
    }
}

fn warning(text: String) -> Reading {
    Reading::Raised {
        severity: AlertSeverity::Warning,
        text,
    }
}

fn site(facts: &Facts) -> Reading {
    // A device that is to connect to nothing is not offline.
    if facts.peers > 0 || facts.connect.is_empty() {
        return Reading::Clear;
    }
    let connect = facts.connect.join(", ");
    warning(format!("no peer is connected; connect = [{connect}]"))
}

fn outbox(facts: &Facts) -> Reading {
    let Some(outbox) = &facts.outbox else {
        return Reading::Clear;
    };
    let (outlet, records) = (&outbox.outlet, outbox.records);
    match &outlet.error {
        Some(error) => warning(format!(
            "{records} records wait; {} is not reached: {} ({})",
            outlet.name, error.message, error.name
        )),
        None if outlet.state == OutletState::Waiting && records > 0 => {
            warning(format!("{records} records wait, and no collector is there"))
        }
        None => Reading::Clear,
    }
}

fn heat(sensors: &SensorStatus, config: &AlertsConfig, lasts: Option<AlertSeverity>) -> Reading {
    let (warning, critical) = (config.heat_warning_celsius, config.heat_critical_celsius);
    let thresholds = Thresholds::high(whole(warning), whole(critical), [MARGIN_CELSIUS; 2]);
    measured(sensors.hottest_celsius, &thresholds, lasts, |celsius| {
        format!(
            "the hottest thermal zone has {celsius:.1} C; from {warning} C it is a warning, from {critical} C critical"
        )
    })
}

fn battery(sensors: &SensorStatus, config: &AlertsConfig, lasts: Option<AlertSeverity>) -> Reading {
    if sensors.mains == Some(true) {
        return Reading::Clear;
    }
    let (warning, critical) = (
        config.battery_warning_percent,
        config.battery_critical_percent,
    );
    let thresholds = Thresholds::low(whole(warning), whole(critical), [MARGIN_CHARGE; 2]);
    let percent = sensors.charge_ratio.map(|ratio| ratio * 100.0);
    measured(percent, &thresholds, lasts, |percent| {
        format!(
            "the batteries have {percent:.0} %; up to {warning} % it is a warning, up to {critical} % critical"
        )
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "compared with thresholds in MiB"
)]
fn disk(sensors: &SensorStatus, config: &AlertsConfig, lasts: Option<AlertSeverity>) -> Reading {
    let (warning, critical) = (config.disk_warning_mib, config.disk_critical_mib);
    let margins = [warning, critical].map(|it| whole(it) * MARGIN_DISK);
    let thresholds = Thresholds::low(whole(warning), whole(critical), margins);
    let mib = sensors.storage_free_bytes.map(|bytes| bytes as f64 / MIB);
    measured(mib, &thresholds, lasts, |mib| {
        format!(
            "the data folder has {mib:.0} MiB free; up to {warning} MiB it is a warning, up to {critical} MiB critical"
        )
    })
}

fn clock(sensors: &SensorStatus) -> Reading {
    match sensors.clock_in_step {
        None => Reading::Unknown,
        Some(true) => Reading::Clear,
        Some(false) => warning("the clock does not follow a time server".to_owned()),
    }
}

fn errors(facts: &Facts, config: &AlertsConfig, lasts: Option<AlertSeverity>) -> Reading {
    let SampleCounts {
        processed, failed, ..
    } = facts.samples;
    let levels = (config.error_warning_percent, config.error_critical_percent);
    share(failed, processed, levels, config, lasts, "failed")
}

fn late(facts: &Facts, config: &AlertsConfig, lasts: Option<AlertSeverity>) -> Reading {
    let SampleCounts {
        processed, late, ..
    } = facts.samples;
    let levels = (
        config.deadline_warning_percent,
        config.deadline_critical_percent,
    );
    share(late, processed, levels, config, lasts, "missed a deadline")
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts")]
fn share(
    bad: u64,
    all: u64,
    (warning, critical): (u64, u64),
    config: &AlertsConfig,
    lasts: Option<AlertSeverity>,
    what: &str,
) -> Reading {
    if bad == 0 {
        return Reading::Clear;
    }
    if all < config.least_samples {
        return Reading::Unknown;
    }
    let margins = [warning, critical].map(|it| whole(it) * MARGIN_SHARE);
    let thresholds = Thresholds::high(whole(warning), whole(critical), margins);
    let percent = bad as f64 / all as f64 * 100.0;
    measured(Some(percent), &thresholds, lasts, |percent| {
        format!(
            "{percent:.0} % of {all} samples {what} within {} s; from {warning} % it is a warning, from {critical} % critical",
            config.window_s
        )
    })
}

fn drift(drifting: &Drifting) -> Reading {
    match &drifting.found {
        Some((severity, text)) => Reading::Raised {
            severity: *severity,
            text: text.clone(),
        },
        None => Reading::Clear,
    }
}

fn expiry(
    expiring: &Expiring,
    now: Time,
    config: &AlertsConfig,
    lasts: Option<AlertSeverity>,
) -> Reading {
    let Some(expires) = expiring.expires else {
        return Reading::Unknown;
    };
    let days = expires.duration_since(now).as_secs_f64() / DAY_S;
    if days <= 0.0 {
        return Reading::Raised {
            severity: AlertSeverity::Critical,
            text: format!("it has expired: {expires}"),
        };
    }
    let (warning, critical) = (config.expiry_warning_days, config.expiry_critical_days);
    let thresholds = Thresholds::low(whole(warning), whole(critical), [0.0; 2]);
    measured(Some(days), &thresholds, lasts, |days| {
        format!("it expires in {days:.1} days: {expires}")
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "at most 2^20, as the configuration says"
)]
const fn whole(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
