//! What the governor's thread tells: events, metrics, and its part of the status.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_engine::Failure;
use hotshoe_protocol::event::{self, EventCause, KnownKind, Subject};
use hotshoe_protocol::status::{PlanItem, SensorFaultStatus, SensorStatus, ThermalStatus};
use hotshoe_senses::{Because, Plan, Pressure, Reading, Rest, SensorFault, Severity};
use serde_json::{Value, json};

use super::decider::is_refusal;
use super::outputs::OutputFault;
use super::state::{ratio, share, thermal_zones};
use crate::events::EventLog;

/// Most events of failed sensors in a round. The status has all of them.
const MAX_SENSOR_EVENTS: usize = 8;
/// Least time between two events of one sensor.
const SENSOR_PAUSE: Duration = Duration::from_secs(600);
/// Most sensors whose events are within that time: a tree of rubbish must not displace all other events.
const MAX_TOLD_SENSORS: usize = 32;
/// Most failed sensors in the status.
const MAX_SHOWN_FAULTS: usize = 64;
/// Least time between two events of one fault of the governor. One that fails in every other round must not displace all other events.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// Most different pairs of a mode and a reason in the metrics. Beyond it, the reason is `other`.
const MAX_MODE_LABELS: usize = 64;
/// Most names of thermal zones in the metrics, since each is kept: a driver gives them.
const MAX_ZONE_LABELS: usize = 128;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Reporter {
    events: Arc<EventLog>,
    /// When a failed sensor was last told, by its path.
    sensors: BTreeMap<String, Duration>,
    /// When a fault of the governor was last told, by its name, and whether its end is still to be told.
    failures: BTreeMap<&'static str, Duration>,
    is_failing: bool,
    /// The zones and the other figures that have a gauge.
    zones: BTreeSet<String>,
    figures: BTreeSet<&'static str>,
    mode: Option<[(&'static str, String); 2]>,
    modes: BTreeSet<(String, String)>,
}

impl Reporter {
    pub(super) const fn new(events: Arc<EventLog>) -> Self {
        Self {
            events,
            sensors: BTreeMap::new(),
            failures: BTreeMap::new(),
            is_failing: false,
            zones: BTreeSet::new(),
            figures: BTreeSet::new(),
            mode: None,
            modes: BTreeSet::new(),
        }
    }

    /// Another plan is in force. `full` is the name of the full mode.
    pub(super) fn changed(&self, before: &Plan, now: &Plan, full: Option<&str>) {
        metrics::counter!("hotshoe_mode_changes_total").increment(1);
        if is_longer_rest_alone(before, now) {
            return;
        }
        let (was, is) = (items(before), items(now));
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let differs = |name: &&&String| value(&was, name) != value(&is, name);
        let (mut changes, mut words) = (Vec::new(), Vec::new());
        for name in names.iter().filter(differs) {
            let reason = is.get(*name).map(|it| it.reason.as_str());
            words.push(match reason {
                Some(reason) => format!("{name} {}: {reason}", value(&is, name)),
                None => format!("{name} ends"),
            });
            changes.push(json!({
                "item": name, "from": value(&was, name), "to": value(&is, name), "reason": reason,
            }));
        }
        let mode = |plan: &Plan| {
            let mode = plan.mode.as_ref().map(|it| it.value.clone());
            mode.or_else(|| full.map(str::to_owned))
        };
        let details = [
            ("from", json!(mode(before))),
            ("to", json!(mode(now))),
            ("items", Value::Array(changes)),
        ];
        let cause = EventCause::new("plan_changed", words.join("; "));
        self.record(
            KnownKind::ModeChanged,
            Subject::Device,
            Some(cause),
            &details,
        );
        for (name, alert) in &now.alerts {
            if !before.alerts.contains_key(name) {
                self.alert(name, alert.value, &alert.reason);
            }
        }
    }

    fn alert(&self, name: &str, severity: Severity, reason: &str) {
        let details = [("name", json!(name)), ("severity", json!(severity.name()))];
        let of_event = match severity {
            Severity::Info => event::Severity::Info,
            Severity::Warning => event::Severity::Warning,
            Severity::Critical => event::Severity::Error,
        };
        let cause = Some(EventCause::new(name, reason));
        let (kind, subject) = (KnownKind::Alert, Subject::Device);
        self.events
            .record_as(of_event, kind, subject, cause, &details);
    }

    /// Counts a failed call of the governor, or a refused plan.
    pub(super) fn count(failure: &Failure) {
        if is_refusal(failure) {
            let reason = failure.fault.name();
            metrics::counter!("hotshoe_plans_refused_total", "reason" => reason).increment(1);
        } else {
            metrics::counter!("hotshoe_governor_failures_total").increment(1);
        }
    }

    /// Another release serves.
    pub(super) fn follow_release(&mut self) {
        self.failures.clear();
        self.is_failing = false;
    }

    /// The governor fails, in another way than before.
    pub(super) fn failed(&mut self, component: &str, failure: &Failure, at: Duration) {
        let fault = failure.fault.name();
        let told = self.failures.get(fault);
        if told.is_some_and(|told| at.saturating_sub(*told) < FAILURE_PAUSE) {
            return;
        }
        self.failures.insert(fault, at);
        self.is_failing = true;
        let kind = if is_refusal(failure) {
            KnownKind::PlanRefused
        } else {
            KnownKind::GovernorFailed
        };
        let name = component.to_owned();
        let cause = EventCause::new(fault, &failure.message);
        self.record(kind, Subject::Component { name }, Some(cause), &[]);
    }

    pub(super) fn recovered(&mut self, component: &str) {
        if !std::mem::take(&mut self.is_failing) {
            return;
        }
        let name = component.to_owned();
        let subject = Subject::Component { name };
        self.record(KnownKind::GovernorRecovered, subject, None, &[]);
    }

    /// An output fails, in another way than before.
    pub(super) fn output_failed(&self, fault: &OutputFault) {
        self.file_failed(&fault.path, fault.fault, &fault.message);
    }

    /// A file cannot be written.
    pub(super) fn file_failed(&self, path: &Path, fault: &'static str, message: &str) {
        let path = path.display().to_string();
        let cause = EventCause::new(fault, message);
        let subject = Subject::File { path };
        self.record(KnownKind::OutputFailed, subject, Some(cause), &[]);
    }

    /// Tells sensors that have no valid value, each seldom.
    pub(super) fn sensors(&mut self, faults: &[SensorFault], at: Duration) {
        let is_recent = |told: &Duration| at.saturating_sub(*told) < SENSOR_PAUSE;
        self.sensors.retain(|_, told| is_recent(told));
        let new = faults.iter();
        let new: Vec<_> = new
            .filter(|fault| !self.sensors.contains_key(&fault.path))
            .take(MAX_SENSOR_EVENTS.min(MAX_TOLD_SENSORS.saturating_sub(self.sensors.len())))
            .collect();
        for fault in new {
            self.sensors.insert(fault.path.clone(), at);
            let path = fault.path.clone();
            let message = "it is left out until it has a valid value";
            let cause = EventCause::new(fault.kind.name(), message);
            let subject = Subject::File { path };
            self.record(KnownKind::SensorFailed, subject, Some(cause), &[]);
        }
    }

    /// Sets the gauges of the sensors. One that is gone is not a number.
    pub(super) fn gauge(&mut self, sensors: &SensorStatus, seconds: f64) {
        let zones = sensors.thermal_zones.iter();
        let now: BTreeMap<&str, f64> = zones.map(|it| (it.zone.as_str(), it.celsius)).collect();
        for zone in now.keys() {
            if self.zones.len() < MAX_ZONE_LABELS {
                self.zones.insert((*zone).to_owned());
            }
        }
        for zone in &self.zones {
            let celsius = now.get(zone.as_str()).copied().unwrap_or(f64::NAN);
            metrics::gauge!("hotshoe_temperature_celsius", "zone" => zone.clone()).set(celsius);
        }
        for (name, value) in [
            ("hotshoe_battery_charge_ratio", sensors.charge_ratio),
            ("hotshoe_power_watts", sensors.watts),
        ] {
            if value.is_some() {
                self.figures.insert(name);
            }
            if self.figures.contains(name) {
                metrics::gauge!(name).set(value.unwrap_or(f64::NAN));
            }
        }
        metrics::gauge!("hotshoe_governor_seconds_total").set(seconds);
    }

    /// Sets the gauge of the mode in force. Figures in the reason are left out, and the number of reasons is limited, since each pair is kept.
    pub(super) fn gauge_mode(&mut self, mode: Option<&str>, reason: &str) {
        let mode = mode.unwrap_or_default().to_owned();
        let mut reason = without_figures(reason);
        let pair = (mode.clone(), reason.clone());
        if self.modes.len() < MAX_MODE_LABELS {
            self.modes.insert(pair);
        } else if !self.modes.contains(&pair) {
            "other".clone_into(&mut reason);
        }
        let labels = [("mode", mode), ("reason", reason)];
        if self.mode.as_ref() == Some(&labels) {
            return;
        }
        if let Some(before) = &self.mode {
            metrics::gauge!("hotshoe_mode_info", before).set(0.0);
        }
        metrics::gauge!("hotshoe_mode_info", &labels).set(1.0);
        self.mode = Some(labels);
    }

    fn record(
        &self,
        kind: KnownKind,
        subject: Subject,
        cause: Option<EventCause>,
        details: &[(&str, Value)],
    ) {
        self.events.record(kind, subject, cause, details);
    }
}

/// Whether nothing but the end of a rest differs: a governor may wish a minute from now in each plan.
fn is_longer_rest_alone(before: &Plan, now: &Plan) -> bool {
    let is_timed = |plan: &Plan| {
        matches!(
            plan.rest,
            Some(Because {
                value: Rest::Until(_),
                ..
            })
        )
    };
    let same_end = Plan {
        rest: before.rest.clone(),
        ..now.clone()
    };
    is_timed(before) && is_timed(now) && same_end.wishes_same(before)
}

/// The text with `#` for each number.
fn without_figures(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            plain.push(letter);
        } else if !plain.ends_with('#') {
            plain.push('#');
        }
    }
    plain
}

/// The items of a plan, by name, each with its reason.
pub(super) fn items(plan: &Plan) -> BTreeMap<String, PlanItem> {
    let mut items = BTreeMap::new();
    let mut add = |name: String, value: Value, reason: &str| {
        let reason = reason.to_owned();
        items.insert(name, PlanItem { value, reason });
    };
    if let Some(mode) = &plan.mode {
        add("mode".to_owned(), json!(mode.value), &mode.reason);
    }
    if let Some(rate) = &plan.rate {
        add("rate".to_owned(), json!(rate.value), &rate.reason);
    }
    for (name, item) in [
        ("skip_variants", &plan.skip_variants),
        ("status_interval_s", &plan.status_interval_s),
        ("telemetry_interval_s", &plan.telemetry_interval_s),
    ] {
        if let Some(item) = item {
            add(name.to_owned(), json!(item.value), &item.reason);
        }
    }
    if let Some(rest) = &plan.rest {
        add("rest".to_owned(), json!(rest.value), &rest.reason);
    }
    for (name, output) in &plan.outputs {
        add(
            format!("output.{name}"),
            json!(output.value),
            &output.reason,
        );
    }
    for (name, alert) in &plan.alerts {
        let severity = alert.value.name();
        add(format!("alert.{name}"), json!(severity), &alert.reason);
    }
    for (backend, reason) in &plan.avoid_backends {
        add(format!("avoid.{backend}"), json!(true), reason);
    }
    items
}

fn value<'a>(items: &'a BTreeMap<String, PlanItem>, name: &str) -> &'a Value {
    items.get(name).map_or(&Value::Null, |item| &item.value)
}

/// What the sensors say, in the units of the status.
pub(super) fn sensors(reading: &Reading, watts: Option<f64>) -> SensorStatus {
    let zones = thermal_zones(reading);
    let zones = zones.into_iter().map(|zone| ThermalStatus {
        zone: zone.name,
        celsius: zone.celsius,
    });
    let pressure = |it: &Option<Pressure>| it.map(|it| share(it.some));
    SensorStatus {
        hottest_celsius: reading.hottest().map(|zone| zone.celsius),
        thermal_zones: zones.collect(),
        throttled: reading.is_throttled(),
        load: reading.load.map(|load| load.one),
        mains: reading.is_on_mains(),
        charge_ratio: reading.charge_percent().map(ratio),
        watts,
        memory_available_bytes: reading.memory.map(|it| it.available_bytes),
        storage_free_bytes: reading.data.map(|it| it.free_bytes),
        processor_pressure_ratio: pressure(&reading.cpu_pressure),
        memory_pressure_ratio: pressure(&reading.memory_pressure),
        storage_pressure_ratio: pressure(&reading.io_pressure),
        uptime_seconds: reading.uptime_s,
        clock_in_step: reading.is_clock_synchronised,
    }
}

pub(super) fn sensor_faults(faults: &[SensorFault]) -> Vec<SensorFaultStatus> {
    let faults = faults.iter().take(MAX_SHOWN_FAULTS);
    let faults = faults.map(|it| SensorFaultStatus {
        sensor: it.path.clone(),
        fault: it.kind.name().to_owned(),
    });
    faults.collect()
}

#[cfg(test)]
mod tests;
