//! The releases in the slots, the update under way, and what was rolled back or refused.

use hotshoe_protocol::status::{SlotStatus, Status, TrialStatus};
use hotshoe_store::Phase;

use super::super::lines::{Cell, Lines, Tone, plain};
use super::words;
use crate::fleet::report::working;

pub(super) fn show(status: &Status, lines: &mut Lines) {
    super::release(status, lines);
    if let Some(release) = &status.release {
        lines.fact("", Tone::Dim, &release.digest.to_string());
    }
    let slots = &status.slots;
    let row = |place: &str, slot: &SlotStatus| -> Vec<Cell> {
        vec![
            plain(place),
            plain(&slot.name),
            plain(slot.generation),
            plain(format!("{:.0}", slot.installed)),
            plain(slot.release),
        ]
    };
    let trial = slots.trial.as_ref();
    let places = [
        ("live", slots.live.as_ref()),
        ("trial", trial.map(|trial| &trial.slot)),
        ("staged", slots.staged.as_ref()),
        ("previous", slots.previous.as_ref()),
    ];
    let rows = places.iter();
    let rows = rows.filter_map(|(place, slot)| slot.map(|slot| row(place, slot)));
    lines.title("Slots");
    lines.table(
        &["slot", "name", "generation", "installed", "release"],
        rows.collect(),
    );
    if let Some(trial) = trial {
        show_trial(trial, lines);
    }
    lines.title("Deployment");
    let deploy = &status.deploy;
    let update = match (&deploy.name, deploy.generation) {
        (Some(name), Some(generation)) => {
            format!(
                "{name} generation {generation}: {}",
                working(status, &words())
            )
        }
        _ => working(status, &words()),
    };
    let tone = match deploy.phase {
        Phase::Live => Tone::Good,
        phase if phase.is_failure() => Tone::Bad,
        _ => Tone::Plain,
    };
    lines.fact("update", tone, &update);
    if let Some(cause) = &deploy.cause {
        lines.fact("", Tone::Plain, &cause.message);
    }
    if let Some(last) = &status.last_rollback {
        let text = format!(
            "{} generation {}: {}",
            last.name, last.generation, last.cause
        );
        lines.fact("rollback", Tone::Bad, &text);
    }
    let counts = format!("{} swaps, {} rollbacks", status.swaps, status.rollbacks);
    lines.fact("since", Tone::Plain, &format!("the start: {counts}"));
    for (what, counts) in [("refused", &status.refused), ("ignored", &status.ignored)] {
        for (name, count) in counts {
            lines.fact(what, Tone::Warning, &format!("{name} {count}"));
        }
    }
    let trust = format!("version {}", status.trust_version);
    lines.fact("trust", Tone::Plain, &trust);
    if status.stale {
        let text = "no valid statement is as recent as `[deploy] fresh-within-hours` requires";
        lines.fact("stale", Tone::Warning, text);
    }
}

fn show_trial(trial: &TrialStatus, lines: &mut Lines) {
    let text = format!(
        "{} of {} samples, {} of {} s",
        trial.samples, trial.wanted_samples, trial.seconds, trial.wanted_seconds
    );
    lines.fact("trial", Tone::Plain, &text);
    if trial.is_paused {
        let mode = trial.mode.as_deref().unwrap_or("full");
        let text = format!("paused, since it is judged in mode {mode} and runs in another one");
        lines.fact("", Tone::Warning, &text);
    }
}
