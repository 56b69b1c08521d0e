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

#[test]
fn what_the_sensors_do_not_say_is_unknown_and_without_sensors_there_is_no_finding() {
    let kinds = [
        AlertKind::Heat,
        AlertKind::Battery,
        AlertKind::Disk,
        AlertKind::Clock,
    ];
    let readings = |sensors| {
        let facts = Facts { sensors, ..facts() };
        let all = findings(&facts, &AlertsConfig::default(), |_, _| CRITICAL);
        let all = all.into_iter().filter(|it| kinds.contains(&it.key.0));
        all.map(|it| it.reading).collect::<Vec<_>>()
    };
    assert_eq!(
        readings(Some(SensorStatus::default())),
        [const { Reading::Unknown }; 4]
    );
    assert_eq!(readings(None), []);
}
