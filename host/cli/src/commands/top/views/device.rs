//! The device: its mode and sensors, what waits to be delivered, its memory and parts.

use hotshoe_protocol::status::{GovernorStatus, PartState, SensorStatus, Status};
use hotshoe_release::terminal::size;

use super::super::lines::{Lines, Tone, plain};
use crate::fleet::report::governor::{MODES_HEAD, mode, mode_row, value};
use crate::fleet::report::{memory, outbox};

pub(super) fn show(status: &Status, lines: &mut Lines) {
    match &status.governor {
        Some(governor) => show_governor(governor, lines),
        None => lines.fact("mode", Tone::Dim, "no governor: [governor] enabled = false"),
    }
    if let Some(outbox) = &status.outbox {
        lines.title("Outbox");
        for (text, is_good) in outbox::lines(outbox) {
            lines.text(Tone::warning_if(!is_good), &text);
        }
    }
    lines.title("Daemon");
    if let Some(text) = memory(status) {
        lines.fact("memory", Tone::Plain, &text);
    }
    let session = &status.session;
    let peers = format!("{} peers, id {}", session.peers, session.id);
    lines.fact("session", Tone::Plain, &peers);
    if let Some(key) = &status.key {
        lines.fact("key", Tone::Plain, &key.fingerprint.to_string());
    }
    let labels = status.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !labels.is_empty() {
        lines.fact("labels", Tone::Plain, &labels.join(", "));
    }
    for part in &status.parts {
        let mut text = format!("{}, restarted {} times", part.state.name(), part.restarts);
        if let Some(cause) = &part.cause {
            text.push_str(&format!("; last cause: {cause}"));
        }
        let tone = match (part.state, &part.cause) {
            (PartState::Running, None) => Tone::Plain,
            (PartState::Running, Some(_)) => Tone::Warning,
            _ => Tone::Bad,
        };
        lines.fact("part", tone, &format!("{}: {text}", part.name));
    }
    let log = &status.log;
    if log.left_out + log.lost > 0 {
        let text = format!("{} lines suppressed, {} lost", log.left_out, log.lost);
        lines.fact("log", Tone::Warning, &text);
    }
}

fn show_governor(governor: &GovernorStatus, lines: &mut Lines) {
    lines.fact("mode", Tone::Plain, &mode(governor));
    for (name, item) in governor.plan.iter().filter(|(name, _)| *name != "mode") {
        let text = format!("{name} {}: {}", value(&item.value), item.reason);
        lines.fact("", Tone::warning_if(name.starts_with("alert.")), &text);
    }
    if let Some(waits) = &governor.waits {
        let (seconds, limit) = (waits.seconds, &waits.limit);
        let text = format!("another plan is wished and waits for {seconds:.0} s ({limit})");
        lines.fact("", Tone::Plain, &text);
    }
    if let Some(failure) = &governor.failure {
        let text = format!(
            "the governor fails, so the device's own plan applies ({}: {})",
            failure.fault, failure.message
        );
        lines.fact("", Tone::Warning, &text);
    }
    if governor.modes.len() > 1 {
        lines.gap();
        let rows = governor.modes.iter();
        let rows = rows.map(|it| mode_row(it).into_iter().map(plain).collect());
        lines.figures(&MODES_HEAD, rows.collect());
    }
    lines.title("Sensors");
    let rows = sensors(&governor.sensors).into_iter();
    let rows = rows.map(|(name, figure)| vec![plain(name), plain(figure)]);
    lines.table(&["sensor", "value"], rows.collect());
    for fault in &governor.sensor_faults {
        let text = format!("{}: {}", fault.sensor, fault.fault);
        lines.text(Tone::Warning, &text);
    }
}

/// The sensors that have a value.
fn sensors(sensors: &SensorStatus) -> Vec<(String, String)> {
    let celsius = |value: f64| format!("{value:.1} C");
    let percent = |value: f64| format!("{:.0} %", value * 100.0);
    let words = |is_so: bool, yes: &str, no: &str| if is_so { yes } else { no }.to_owned();
    let named = |name: &str, value: Option<String>| Some((name.to_owned(), value?));
    let zones = sensors.thermal_zones.iter();
    let zones = zones.map(|zone| Some((zone.zone.clone(), celsius(zone.celsius))));
    let mut all = vec![
        named("hottest zone", sensors.hottest_celsius.map(celsius)),
        named("batteries", sensors.charge_ratio.map(percent)),
        named(
            "supply",
            sensors.mains.map(|it| words(it, "mains", "batteries")),
        ),
        named("power", sensors.watts.map(|watts| format!("{watts:.1} W"))),
        named(
            "processor",
            sensors
                .throttled
                .map(|it| words(it, "throttled", "not throttled")),
        ),
        named("load", sensors.load.map(|load| format!("{load:.2}"))),
        named(
            "processor pressure",
            sensors.processor_pressure_ratio.map(percent),
        ),
        named(
            "memory pressure",
            sensors.memory_pressure_ratio.map(percent),
        ),
        named("disk pressure", sensors.storage_pressure_ratio.map(percent)),
        named("memory available", sensors.memory_available_bytes.map(size)),
        named("storage free", sensors.storage_free_bytes.map(size)),
        named(
            "clock",
            sensors
                .clock_in_step
                .map(|it| words(it, "follows a time server", "follows no time server")),
        ),
    ];
    all.extend(zones);
    all.into_iter().flatten().collect()
}
