//! The views, as lines.

mod device;
mod events;
mod live;
mod releases;
mod site;

use hotshoe_protocol::alert::AlertSeverity;
use hotshoe_protocol::status::Status;
use hotshoe_release::terminal::Terminal;

use super::app::{App, View};
use super::lines::{Lines, Tone};
use crate::fleet::overview::DeviceReport;
use crate::fleet::report::{alerts, broken};

/// Adds the lines of the view of the app.
pub(super) fn fill(app: &App, lines: &mut Lines) {
    if app.view == View::Site {
        return site::show(app, lines);
    }
    let Some(overview) = app.device() else {
        return lines.text(Tone::Plain, "No device has answered yet.");
    };
    let Some(answer) = &overview.answer else {
        let (site, device) = (&overview.site, &overview.device);
        let text = format!("{site}/{device} does not answer.");
        return lines.text(Tone::Warning, &text);
    };
    let status = &answer.status;
    warnings(answer, lines);
    match app.view {
        View::Site => {}
        View::Live => live::show(app, status, lines),
        View::Device => device::show(status, lines),
        View::Releases => releases::show(status, lines),
        View::Events => events::show(status, lines),
    }
}

/// Makes the words of `hotshoe status` without its colours: [`Lines`] has its own.
fn words() -> Terminal {
    Terminal::new(true)
}

/// What is wrong with a device, above each of its views.
fn warnings(answer: &DeviceReport, lines: &mut Lines) {
    let status = &answer.status;
    if let Some(text) = answer.unproven_text() {
        lines.text(Tone::Warning, &text);
    }
    if let Some(text) = answer.conflict_text() {
        lines.text(Tone::Bad, &text);
    }
    if status.development {
        lines.text(
            Tone::Warning,
            "development mode: a throw-away key is trusted",
        );
    }
    if let Some(cause) = &status.cannot_serve {
        let text = format!("NONE SERVES: the live release cannot serve ({cause})");
        lines.text(Tone::Bad, &text);
    }
    if let Some(parts) = broken(status) {
        lines.text(Tone::Bad, &format!("parts that do not run: {parts}"));
    }
    for alert in &status.alerts {
        let tone = match alert.severity {
            _ if !alerts::is_loud(alert) => Tone::Plain,
            AlertSeverity::Critical => Tone::Bad,
            _ => Tone::Warning,
        };
        lines.text(tone, &alerts::line(alert));
    }
    for component in &status.components {
        if let Some(waits) = &component.backing_off {
            let text = format!(
                "component {} failed {} times in a row; backing off for another {} ms: {}",
                component.name, component.faults_in_a_row, waits.left_ms, waits.message
            );
            lines.text(Tone::Warning, &text);
        }
    }
}

/// The release that serves, in one line.
fn release(status: &Status, lines: &mut Lines) {
    match &status.release {
        Some(release) => lines.fact(
            "release",
            Tone::Plain,
            &format!(
                "{} generation {}, signed by {}",
                release.name,
                release.generation,
                release.signers.join(", ")
            ),
        ),
        None => lines.fact("release", Tone::Warning, "none serves"),
    }
}
