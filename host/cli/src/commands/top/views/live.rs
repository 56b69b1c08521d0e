//! The pipeline as it runs: its stages, its models, the queue.

use hotshoe_protocol::status::{StageLatency, Status};

use super::super::app::{App, DeviceId};
use super::super::lines::{Cell, Lines, Tone, plain};
use super::words;
use crate::fleet::report::{MODEL_HEAD, health, model, queue, samples, stage};

/// The columns of a stage: the rate and the failures stand beside what `hotshoe status` has.
const HEAD: [&str; 7] = [
    "stage", "samples", "p50 us", "p95 us", "p99 us", "rate /s", "failed",
];

pub(super) fn show(app: &App, status: &Status, lines: &mut Lines) {
    super::release(status, lines);
    lines.fact("queue", Tone::Plain, &queue(status));
    lines.fact("samples", Tone::Plain, &samples(status));
    let counters = &status.counters;
    for (what, tone, counts) in [
        ("skipped", Tone::Plain, &counters.skipped_by),
        ("dropped", Tone::Warning, &counters.dropped),
        ("failed", Tone::Warning, &counters.faults),
        ("tolerated", Tone::Warning, &counters.tolerated),
    ] {
        for (name, count) in counts {
            lines.fact("", tone, &format!("{what}: {name} {count}"));
        }
    }
    if let Some(text) = health(status, &words()) {
        let has_errors = status.health.is_some_and(|health| health.errors > 0);
        lines.fact("health", Tone::warning_if(has_errors), &text);
    }
    stages(app, status, lines);
    models(status, lines);
}

fn stages(app: &App, status: &Status, lines: &mut Lines) {
    lines.title("Pipeline");
    if status.stages.is_empty() {
        return lines.text(Tone::Dim, "No sample has arrived since the start.");
    }
    let id = (status.site.clone(), status.device.clone());
    let rows = ordered(status).map(|it| row(app, &id, status, it));
    lines.figures(&HEAD, rows.collect());
}

/// The stages: the queue first, the whole last, and by name between them.
fn ordered(status: &Status) -> impl Iterator<Item = &StageLatency> {
    let place = |stage: &&StageLatency| match stage.name.as_str() {
        "queue" => 0,
        "total" => 2,
        _ => 1,
    };
    let mut stages: Vec<_> = status.stages.iter().collect();
    stages.sort_by_key(place);
    stages.into_iter()
}

fn row(app: &App, id: &DeviceId, status: &Status, latency: &StageLatency) -> Vec<Cell> {
    let rate = app.rates.of(id, &latency.name);
    let failed = status.counters.failed_at.get(&latency.name);
    let failed = failed.copied().unwrap_or_default();
    let mut row: Vec<Cell> = stage(latency).into_iter().map(plain).collect();
    row.push(plain(
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
    ));
    row.push((Tone::warning_if(failed > 0), failed.to_string()));
    row
}

fn models(status: &Status, lines: &mut Lines) {
    if status.models.is_empty() {
        return;
    }
    lines.title("Models");
    let rows = status.models.iter();
    let rows = rows.map(|it| model(it).into_iter().map(plain).collect());
    lines.table(&MODEL_HEAD, rows.collect());
    for model in &status.models {
        lines.fact("", Tone::Dim, &format!("{}: {}", model.name, model.reason));
        for fallback in &model.fallbacks {
            let text = format!(
                "{} cannot run as {}: {}",
                model.name, fallback.variant, fallback.cause
            );
            lines.fact("", Tone::Warning, &text);
        }
        for note in &model.provider_notes {
            lines.fact("", Tone::Warning, &format!("{}: {note}", model.name));
        }
    }
}
