//! How the device runs, and why: the sensors and the plan in force, as text.

use hotshoe_protocol::status::{GovernorStatus, ModeStatus, SensorStatus, Status};
use hotshoe_release::terminal::{Terminal, size};
use serde_json::Value;

/// Most failed sensors in the text.
const SHOWN_FAULTS: usize = 3;

/// Prints the part of the status about the governor, if there is one.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(governor) = &status.governor else {
        return Ok(());
    };
    terminal.print(format!("mode      {}", mode(governor)))?;
    for (name, item) in governor.plan.iter().filter(|(name, _)| *name != "mode") {
        let value = value(&item.value);
        let line = format!("          {name} {value}: {}", item.reason);
        terminal.print(if name.starts_with("alert.") {
            terminal.warning(&line)
        } else {
            line
        })?;
    }
    if let Some(waits) = &governor.waits {
        let (seconds, limit) = (waits.seconds, &waits.limit);
        terminal.print(format!(
            "          another plan is wished and waits for {seconds:.0} s ({limit})"
        ))?;
    }
    if let Some(failure) = &governor.failure {
        let component = governor.component.as_deref().unwrap_or("the governor");
        let (fault, message) = (&failure.fault, &failure.message);
        terminal.print(terminal.warning(&format!(
            "          {component} fails, so the device's own plan applies ({fault}: {message})"
        )))?;
    }
    if governor.modes.len() > 1 {
        let rows = governor.modes.iter().map(mode_row);
        terminal.print(terminal.table(&MODES_HEAD, rows))?;
    }
    let sensors = sensors(&governor.sensors);
    if !sensors.is_empty() {
        terminal.print(format!("sensors   {}", sensors.join(", ")))?;
    }
    for fault in governor.sensor_faults.iter().take(SHOWN_FAULTS) {
        let line = format!("          {}: {}", fault.sensor, fault.fault);
        terminal.print(terminal.warning(&line))?;
    }
    let more = governor.sensor_faults.len().saturating_sub(SHOWN_FAULTS);
    if more > 0 {
        terminal.print(terminal.warning(&format!("          and {more} more sensors")))?;
    }
    Ok(())
}

/// `minimal for 12 s: the hottest thermal zone has 76.0 C (3 changes, by component governor)`
pub(crate) fn mode(governor: &GovernorStatus) -> String {
    let mode = governor.mode.as_deref().unwrap_or("full");
    let reason = governor.plan.get("mode");
    let reason = reason.map_or_else(String::new, |item| format!(": {}", item.reason));
    let by = match (&governor.component, governor.by.as_str()) {
        (Some(component), "component") => format!("component {component}"),
        _ => "the device itself".to_owned(),
    };
    let mut words = format!(
        "{mode} for {:.0} s{reason} ({} changes, by {by}",
        governor.mode_seconds, governor.changes
    );
    if governor.refused_plans > 0 {
        words.push_str(&format!(", {} plans refused", governor.refused_plans));
    }
    words.push(')');
    words
}

/// A value of a plan: `every 3, interval_ms 500`, `stop`, `50`.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {value}"));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The columns of [`mode_row`].
pub(crate) const MODES_HEAD: [&str; 7] = [
    "mode",
    "level",
    "agreement",
    "p95 ms",
    "memory",
    "joules",
    "watts",
];

/// A mode and what is known of it.
pub(crate) fn mode_row(mode: &ModeStatus) -> Vec<String> {
    let figure = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
    };
    vec![
        mode.name.clone(),
        mode.level.to_string(),
        figure(mode.agreement_ratio, 3),
        figure(mode.p95_ms, 1),
        mode.memory_bytes.map_or_else(|| "-".to_owned(), size),
        figure(mode.joules_per_sample, 3),
        figure(mode.watts, 2),
    ]
}

fn sensors(sensors: &SensorStatus) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(celsius) = sensors.hottest_celsius {
        words.push(format!("{celsius:.1} C"));
    }
    if let Some(charge) = sensors.charge_ratio {
        words.push(format!("batteries {:.0} %", charge * 100.0));
    }
    match sensors.mains {
        Some(true) => words.push("on mains".to_owned()),
        Some(false) => words.push("on batteries".to_owned()),
        None => {}
    }
    if let Some(watts) = sensors.watts {
        words.push(format!("{watts:.1} W"));
    }
    if sensors.throttled == Some(true) {
        words.push("processor throttled".to_owned());
    }
    if let Some(load) = sensors.load {
        words.push(format!("load {load:.2}"));
    }
    if let Some(bytes) = sensors.memory_available_bytes {
        words.push(format!("{} of memory available", size(bytes)));
    }
    if let Some(bytes) = sensors.storage_free_bytes {
        words.push(format!("{} of storage free", size(bytes)));
    }
    words
}
