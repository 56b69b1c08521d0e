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
    /// What the sensors say; `None` where nothing reads them.
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
    let mut found = vec![
        about(AlertKind::Offline, "site", site(facts), offline(config)),
        about(AlertKind::Offline, "outbox", outbox(facts), offline(config)),
    ];
    let sensors = facts.sensors.clone().unwrap_or_default();
    let mut add = |kind, subject: &str, read: &dyn Fn(Option<AlertSeverity>) -> Reading, after| {
        let reading = read(lasts(kind, subject));
        found.push(about(kind, subject, reading, after));
    };
    let after = config.after();
    add(
        AlertKind::Heat,
        "device",
        &|it| heat(&sensors, config, it),
        after,
    );
    add(
        AlertKind::Battery,
        "device",
        &|it| battery(&sensors, config, it),
        after,
    );
    add(
        AlertKind::Disk,
        "data",
        &|it| disk(&sensors, config, it),
        after,
    );
    let clock_s = Duration::from_secs(config.clock_s);
    add(AlertKind::Clock, "device", &|_| clock(&sensors), clock_s);
    add(
        AlertKind::ErrorSpike,
        "samples",
        &|it| errors(facts, config, it),
        after,
    );
    add(
        AlertKind::DeadlineMisses,
        "samples",
        &|it| late(facts, config, it),
        after,
    );
    for drifting in &facts.drift {
        add(
            AlertKind::Drift,
            &drifting.monitor,
            &|_| drift(drifting),
            after,
        );
    }
    for monitor in &facts.drift_unknown {
        add(AlertKind::Drift, monitor, &|_| Reading::Unknown, after);
    }
    if let Some(release) = &facts.release {
        let (kind, subject) = (AlertKind::ReleaseExpiry, release.subject.as_str());
        add(
            kind,
            subject,
            &|it| expiry(release, facts.time, config, it),
            after,
        );
    }
    for certificate in &facts.certificates {
        let (kind, subject) = (AlertKind::CertificateExpiry, certificate.subject.as_str());
        add(
            kind,
            subject,
            &|it| expiry(certificate, facts.time, config, it),
            after,
        );
    }
    found
}

fn about(kind: AlertKind, subject: &str, reading: Reading, after: Duration) -> Finding {
    Finding {
        key: (kind, subject.to_owned()),
        reading,
        after,
    }
}

const fn offline(config: &AlertsConfig) -> Duration {
    Duration::from_secs(config.offline_s)
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    const WARNING: Option<AlertSeverity> = Some(AlertSeverity::Warning);
    const CRITICAL: Option<AlertSeverity> = Some(AlertSeverity::Critical);

    fn facts() -> Facts {
        Facts {
            time: Time::UNIX_EPOCH,
            sensors: None,
            connect: Vec::new(),
            peers: 0,
            outbox: None,
            samples: SampleCounts::default(),
            release: None,
            certificates: Vec::new(),
            drift: Vec::new(),
            drift_unknown: Vec::new(),
        }
    }

    /// What is found of a kind, with an alert of this severity that lasts.
    fn found(facts: &Facts, kind: AlertKind, lasts: Option<AlertSeverity>) -> Reading {
        let all = findings(facts, &AlertsConfig::default(), |_, _| lasts);
        let mut all = all.into_iter().filter(|it| it.key.0 == kind);
        all.find(|it| it.reading != Reading::Clear)
            .map_or(Reading::Clear, |it| it.reading)
    }

    fn severity(reading: Reading) -> Option<AlertSeverity> {
        match reading {
            Reading::Raised { severity, text } => {
                assert!(!text.is_empty());
                Some(severity)
            }
            Reading::Clear => None,
            Reading::Unknown => panic!("unknown"),
        }
    }

    #[test]
    fn a_value_within_the_margin_keeps_an_alert_and_raises_none() {
        let heat = |celsius, lasts| {
            let mut facts = facts();
            facts.sensors = Some(SensorStatus {
                hottest_celsius: Some(celsius),
                ..SensorStatus::default()
            });
            severity(found(&facts, AlertKind::Heat, lasts))
        };
        assert_eq!(heat(84.9, None), None);
        assert_eq!(heat(85.0, None), WARNING);
        assert_eq!(heat(95.0, WARNING), CRITICAL);
        assert_eq!(heat(90.0, CRITICAL), CRITICAL);
        assert_eq!(heat(89.9, CRITICAL), WARNING);
        assert_eq!(heat(80.0, WARNING), WARNING);
        assert_eq!(heat(79.9, WARNING), None);
    }

    #[test]
    fn charge_and_storage_are_bad_when_they_are_low_and_zero_is_never() {
        let sensors = |percent: f64, mains, mib: u64| {
            let mut facts = facts();
            facts.sensors = Some(SensorStatus {
                charge_ratio: Some(percent / 100.0),
                mains,
                storage_free_bytes: Some(mib << 20),
                ..SensorStatus::default()
            });
            facts
        };
        let battery = |percent, mains, lasts| {
            severity(found(
                &sensors(percent, mains, 999),
                AlertKind::Battery,
                lasts,
            ))
        };
        assert_eq!(battery(21.0, None, None), None);
        assert_eq!(battery(20.0, Some(false), None), WARNING);
        assert_eq!(battery(24.0, None, WARNING), WARNING);
        assert_eq!(battery(26.0, None, WARNING), None);
        assert_eq!(battery(9.0, None, WARNING), CRITICAL);
        assert_eq!(battery(9.0, Some(true), CRITICAL), None);
        let disk = |mib, lasts| severity(found(&sensors(50.0, None, mib), AlertKind::Disk, lasts));
        assert_eq!(disk(257, None), None);
        assert_eq!(disk(256, None), WARNING);
        assert_eq!(disk(64, None), CRITICAL);
        assert_eq!(disk(79, CRITICAL), CRITICAL);
        assert_eq!(disk(80, CRITICAL), WARNING);
        assert_eq!(disk(320, WARNING), None);
        let never = AlertsConfig {
            disk_warning_mib: 0,
            disk_critical_mib: 0,
            ..AlertsConfig::default()
        };
        let all = findings(&sensors(50.0, None, 0), &never, |_, _| None);
        let of_disk = all.into_iter().find(|it| it.key.0 == AlertKind::Disk);
        assert_eq!(of_disk.unwrap().reading, Reading::Clear);
    }

    #[test]
    fn few_samples_raise_nothing_and_late_ones_are_no_errors() {
        let samples = |processed, failed, late| {
            let mut facts = facts();
            facts.samples = SampleCounts {
                processed,
                failed,
                late,
            };
            facts
        };
        let errors = |facts: &Facts, lasts| found(facts, AlertKind::ErrorSpike, lasts);
        assert_eq!(errors(&samples(19, 19, 0), None), Reading::Unknown);
        assert_eq!(errors(&samples(19, 0, 0), WARNING), Reading::Clear);
        assert_eq!(severity(errors(&samples(20, 1, 19), None)), None);
        assert_eq!(severity(errors(&samples(20, 2, 0), None)), WARNING);
        assert_eq!(severity(errors(&samples(20, 10, 0), None)), CRITICAL);
        // 8 % is within the margin of 10 %.
        assert_eq!(severity(errors(&samples(100, 8, 0), WARNING)), WARNING);
        assert_eq!(severity(errors(&samples(100, 7, 0), WARNING)), None);
        let late = found(&samples(20, 0, 5), AlertKind::DeadlineMisses, None);
        assert_eq!(severity(late), CRITICAL);
    }

    #[test]
    fn what_expires_is_a_warning_then_critical_and_what_cannot_be_read_is_unknown() {
        let release = |seconds: Option<i64>| {
            let mut facts = facts();
            facts.release = Some(Expiring {
                subject: "light 1".to_owned(),
                expires: seconds.map(|it| Time::from_second(it).unwrap()),
            });
            found(&facts, AlertKind::ReleaseExpiry, None)
        };
        let day = 86_400;
        assert_eq!(severity(release(Some(31 * day))), None);
        assert_eq!(severity(release(Some(30 * day))), WARNING);
        assert_eq!(severity(release(Some(7 * day))), CRITICAL);
        assert_eq!(severity(release(Some(-1))), CRITICAL);
        assert_eq!(release(None), Reading::Unknown);
    }

    #[test]
    fn only_a_device_that_is_to_connect_can_be_offline() {
        let mut facts = facts();
        assert_eq!(severity(found(&facts, AlertKind::Offline, None)), None);
        facts.connect = vec!["tcp/192.0.2.1:7447".to_owned()];
        assert_eq!(severity(found(&facts, AlertKind::Offline, None)), WARNING);
        facts.peers = 1;
        assert_eq!(severity(found(&facts, AlertKind::Offline, None)), None);
        let mut outbox = OutboxStatus::default();
        outbox.outlet.state = OutletState::Waiting;
        facts.outbox = Some(outbox.clone());
        assert_eq!(severity(found(&facts, AlertKind::Offline, None)), None);
        outbox.records = 3;
        facts.outbox = Some(outbox);
        assert_eq!(severity(found(&facts, AlertKind::Offline, None)), WARNING);
    }

    #[test]
    fn a_monitor_says_how_serious_its_drift_is() {
        let mut facts = facts();
        let text = "the population stability index is 0.31".to_owned();
        facts.drift = vec![Drifting {
            monitor: "scores".to_owned(),
            found: Some((AlertSeverity::Critical, text.clone())),
        }];
        let severity = AlertSeverity::Critical;
        let expected = Reading::Raised { severity, text };
        assert_eq!(found(&facts, AlertKind::Drift, None), expected);
        facts.drift = vec![Drifting {
            monitor: "scores".to_owned(),
            found: None,
        }];
        assert_eq!(found(&facts, AlertKind::Drift, None), Reading::Clear);
        facts.drift_unknown = vec!["brightness".to_owned()];
        assert_eq!(found(&facts, AlertKind::Drift, None), Reading::Unknown);
    }
}
