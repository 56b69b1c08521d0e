//! The devices of a site: how many are in which phase, and a table.

use std::collections::BTreeMap;

use hotshoe_protocol::status::Status;

use super::super::app::App;
use super::super::lines::{Cell, Lines, Tone};
use super::words;
use crate::fleet::overview::{DeviceReport, HEAD, Overview, row};
use crate::fleet::registries;
use crate::fleet::report::alerts;

pub(super) fn show(app: &App, lines: &mut Lines) {
    let devices = &app.snapshot.devices;
    lines.text(Tone::Plain, &phases(devices));
    for line in registries::lines(&app.snapshot.registries) {
        lines.text(Tone::Plain, &line);
    }
    lines.gap();
    let first = devices.first().map(|it| &it.site);
    let has_sites = devices.iter().any(|it| Some(&it.site) != first);
    let mut head = HEAD.to_vec();
    if has_sites {
        head.insert(0, "site");
    }
    let words = words();
    let rows = devices.iter().map(|overview| {
        let tone = tone(overview);
        let mut row = row(overview, &words);
        if has_sites {
            row.insert(0, overview.site.clone());
        }
        let cells = row.into_iter().map(|text| (tone, text));
        cells.collect::<Vec<Cell>>()
    });
    lines.choice(&head, rows.collect(), app.place());
}

/// `3 devices: 2 live, 1 no answer`
fn phases(devices: &[Overview]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for overview in devices {
        let phase = match &overview.answer {
            Some(answer) => phase(&answer.status),
            None => "no answer".to_owned(),
        };
        *counts.entry(phase).or_default() += 1;
    }
    let counts = counts.iter();
    let counts: Vec<String> = counts
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    match devices.len() {
        0 => "no devices".to_owned(),
        1 => format!("1 device: {}", counts.join(", ")),
        all => format!("{all} devices: {}", counts.join(", ")),
    }
}

/// The phase of a device: what serves counts before what was tried last.
fn phase(status: &Status) -> String {
    if status.cannot_serve.is_some() {
        return "cannot serve".to_owned();
    }
    status.deploy.phase.to_string()
}

fn tone(overview: &Overview) -> Tone {
    match &overview.answer {
        None => Tone::Warning,
        Some(answer) if is_broken(answer) => Tone::Bad,
        Some(answer) => {
            let status = &answer.status;
            let has_errors = status.health.is_some_and(|health| health.errors > 0);
            Tone::warning_if(has_errors || status.alerts.iter().any(alerts::is_loud))
        }
    }
}

fn is_broken(answer: &DeviceReport) -> bool {
    let status = &answer.status;
    status.cannot_serve.is_some()
        || status.broken().next().is_some()
        || status.deploy.phase.is_failure()
        || answer.daemons() > 1
}
