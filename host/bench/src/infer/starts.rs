//! From a model file's bytes to its first result.

use std::time::{Duration, Instant};

use hotshoe_infer::{BackendChoice, OrtOptions};

use super::peer::Peer;
use super::sides;
use super::subject::BenchModel;
use crate::report::{Row, Unit};
use crate::timings::median;

#[derive(Default)]
struct Start {
    plan: Vec<Duration>,
    whole: Vec<Duration>,
}

/// Starts every side alternately.
pub(super) fn starts(
    subject: &BenchModel,
    ort: &OrtOptions,
    mut peer: Option<&mut Peer>,
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let mut ours = [
        (BackendChoice::Tract, Start::default()),
        (BackendChoice::Ort, Start::default()),
    ];
    let mut theirs = Vec::new();
    for _ in 0..rounds {
        for (backend, start) in &mut ours {
            // A backend that cannot load the model was reported when runs were measured.
            if let Ok((plan, whole)) = first_result(subject, *backend, ort) {
                start.plan.push(plan);
                start.whole.push(whole);
            }
        }
        if let Some(peer) = peer.as_deref_mut() {
            theirs.push(peer.load(subject, 1)?.first);
            peer.drop_session(subject)?;
        }
    }
    let reference = peer.and_then(|peer| Some((peer.name(), median(&theirs)?)));
    let mut rows = Vec::new();
    for (backend, start) in &ours {
        let (Some(whole), Some(plan)) = (median(&start.whole), median(&start.plan)) else {
            continue;
        };
        let name = format!("{}: file to first result, {backend}", subject.name);
        rows.push(match reference {
            Some(theirs) => Row::compared(&name, Unit::Millis, whole, theirs, None),
            None => Row::alone(&name, Unit::Millis, whole, None),
        });
        if *backend == BackendChoice::Tract {
            let name = format!("{}: of it, tract's plan", subject.name);
            rows.push(Row::alone(&name, Unit::Millis, plan, None));
        }
    }
    Ok(rows)
}

/// The time of planning and the total time.
fn first_result(
    subject: &BenchModel,
    backend: BackendChoice,
    ort: &OrtOptions,
) -> anyhow::Result<(Duration, Duration)> {
    let started = Instant::now();
    let model = sides::load(subject, backend, 1, ort)?;
    let loaded = started.elapsed();
    model.prepare(&subject.shapes())?;
    let planned = started.elapsed();
    model.run(&subject.borrowed())?;
    let whole = started.elapsed();
    Ok((planned.saturating_sub(loaded), whole))
}
