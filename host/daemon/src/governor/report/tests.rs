#![allow(clippy::unwrap_used, reason = "tests")]

use hotshoe_senses::{FaultKind, ThermalZone};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

fn reporter() -> Reporter {
    Reporter::new(Arc::default())
}

fn zone(folder: &str, label: &str, celsius: f64) -> ThermalZone {
    ThermalZone {
        zone: folder.to_owned(),
        label: Some(label.to_owned()),
        celsius,
    }
}

/// What Prometheus reads after these rounds of sensors.
fn metrics_of(rounds: &[SensorStatus]) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let mut reporter = reporter();
        for sensors in rounds {
            reporter.gauge(sensors, 0.0);
        }
    });
    recorder.handle().render()
}

#[test]
fn two_zones_of_one_name_are_told_apart() {
    let reading = Reading {
        thermal: vec![
            zone("thermal_zone0", "acpitz", 40.0),
            zone("thermal_zone1", "acpitz", 90.0),
            zone("thermal_zone2", "cpu", 50.0),
        ],
        ..Reading::default()
    };
    let status = sensors(&reading, None);
    let names: Vec<_> = status.thermal_zones.iter().map(|it| &it.zone).collect();
    assert_eq!(names, ["thermal_zone0", "thermal_zone1", "cpu"]);
    let text = metrics_of(&[status]);
    for line in [
        "hotshoe_temperature_celsius{zone=\"thermal_zone0\"} 40\n",
        "hotshoe_temperature_celsius{zone=\"thermal_zone1\"} 90\n",
        "hotshoe_temperature_celsius{zone=\"cpu\"} 50\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_figure_that_is_gone_is_not_a_number_and_one_that_never_was_is_not_there() {
    let none = || sensors(&Reading::default(), None);
    let text = metrics_of(&[none()]);
    for name in ["hotshoe_power_watts", "charge_ratio", "temperature"] {
        assert!(!text.contains(name), "{text}");
    }
    let known = SensorStatus {
        charge_ratio: Some(0.5),
        ..sensors(&Reading::default(), Some(7.5))
    };
    let text = metrics_of(std::slice::from_ref(&known));
    assert!(text.contains("hotshoe_power_watts 7.5\n"), "{text}");
    let text = metrics_of(&[known, none()]);
    for line in [
        "hotshoe_power_watts NaN\n",
        "hotshoe_battery_charge_ratio NaN\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn names_of_zones_in_the_metrics_are_limited() {
    let rounds: Vec<_> = (0..MAX_ZONE_LABELS + 10)
        .map(|number| {
            let reading = Reading {
                thermal: vec![zone("thermal_zone0", &format!("cpu-{number}"), 40.0)],
                ..Reading::default()
            };
            sensors(&reading, None)
        })
        .collect();
    let text = metrics_of(&rounds);
    let kept = text.matches("hotshoe_temperature_celsius{zone=").count();
    assert_eq!(kept, MAX_ZONE_LABELS);
}

#[test]
fn many_failed_sensors_are_few_events_and_a_limited_status() {
    let faults: Vec<_> = (0..1_600)
        .map(|number| SensorFault {
            path: format!("sys/class/thermal/thermal_zone{number}/temp"),
            kind: FaultKind::Invalid,
        })
        .collect();
    let events: Arc<EventLog> = Arc::default();
    let mut reporter = Reporter::new(Arc::clone(&events));
    for seconds in 0..600 {
        reporter.sensors(&faults, Duration::from_secs(seconds));
    }
    assert_eq!(events.recent().len(), MAX_TOLD_SENSORS);
    assert_eq!(sensor_faults(&faults).len(), MAX_SHOWN_FAULTS);
}

#[test]
fn a_rest_that_only_ends_later_is_no_event() {
    let until = |seconds, mode: Option<&str>| Plan {
        rest: Some(Because::new(Rest::Until(seconds), "a reason")),
        mode: mode.map(|it| Because::new(it.to_owned(), "a reason")),
        ..Plan::default()
    };
    let events: Arc<EventLog> = Arc::default();
    let reporter = Reporter::new(Arc::clone(&events));
    let mut before = Plan::default();
    for (now, told) in [
        (until(100, None), 1),
        (until(160, None), 1),
        (until(220, Some("minimal")), 2),
        (Plan::default(), 3),
    ] {
        reporter.changed(&before, &now, None);
        assert_eq!(events.recent().len(), told, "{now:?}");
        before = now;
    }
}
