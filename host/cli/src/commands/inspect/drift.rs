//! `[drift]` of a release, and what its baseline has.

use hotshoe_drift::Baseline;
use hotshoe_store::Layout;
use hotshoe_trust::{Drift, DriftAction, Release, ReleaseLimits};
use serde::Serialize;
use termtree::Tree;

/// What a baseline has, or why it cannot be read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum DriftReport {
    /// It can be read.
    Readable {
        /// How many samples it was made of.
        samples: u64,
        /// What was measured.
        sources: Vec<MeasuredSource>,
    },
    /// The bytes are missing, damaged or not a baseline.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// A source of a baseline.
#[derive(Debug, Serialize)]
pub(super) struct MeasuredSource {
    /// Its text.
    source: String,
    /// How many samples had a value.
    values: u64,
    /// Whether the release watches it.
    watched: bool,
}

impl DriftReport {
    /// `None` for a release without `[drift]`.
    pub(super) fn of(layout: &Layout, release: &Release) -> Option<Self> {
        let drift = release.drift.as_ref()?;
        let read = || -> anyhow::Result<Baseline> {
            let (size, most) = (drift.baseline.size, ReleaseLimits::BASELINE_BYTES);
            anyhow::ensure!(size <= most, "it has {size} bytes; the limit is {most}");
            Ok(Baseline::parse(&layout.read(&drift.baseline)?)?)
        };
        Some(match read() {
            Ok(baseline) => Self::Readable {
                samples: baseline.samples(),
                sources: sources(&baseline, drift),
            },
            Err(error) => Self::Unreadable {
                error: format!("{error:#}"),
            },
        })
    }

    /// The branch for people.
    pub(super) fn tree(&self, rules: &Drift) -> Tree<String> {
        let mut leaves = vec![format!(
            "windows of {} samples (every {}), or of {} after {} s; begins and ends after {} in a row",
            rules.window, rules.every, rules.at_least, rules.window_seconds, rules.windows
        )];
        leaves.push(format!(
            "drifted from: PSI {}, Kolmogorov-Smirnov {}, embedding {}, sudden change {}; p-value at most {}",
            rules.psi, rules.ks, rules.embedding, rules.change, rules.p_value
        ));
        match self {
            Self::Unreadable { error } => leaves.push(format!("the baseline: {error}")),
            Self::Readable { samples, sources } => {
                leaves.push(format!("the baseline: {samples} samples"));
                leaves.extend(sources.iter().map(|it| {
                    let rest = if it.watched { "" } else { ", not watched" };
                    format!("{}: {} values{rest}", it.source, it.values)
                }));
            }
        }
        let action = match (rules.action, &rules.mode) {
            (DriftAction::Alert, _) => "an alert".to_owned(),
            (DriftAction::Previous, _) => "an alert, and the previous release".to_owned(),
            (DriftAction::Mode, mode) => {
                let mode = mode.as_deref().unwrap_or_default();
                format!("an alert, and mode {mode}")
            }
        };
        Tree::new(format!("drift: {action}")).with_leaves(leaves.into_iter().map(Tree::new))
    }
}

fn sources(baseline: &Baseline, drift: &Drift) -> Vec<MeasuredSource> {
    let series = baseline.series().iter().map(|series| {
        let source = series.source.to_string();
        MeasuredSource {
            watched: drift.watch.is_empty() || drift.watch.contains(&source),
            values: series.count(),
            source,
        }
    });
    series.collect()
}
