//! Watches the samples of one release for drift from its own baseline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hotshoe_base::Clock;
use hotshoe_drift::{Baseline, Measured, Monitor, MonitorError, Source, StateChange, Verdict};
use hotshoe_protocol::alert::AlertSeverity;
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};
use hotshoe_protocol::status::{DriftStatistic, DriftStatus, DriftValue};
use hotshoe_trust::{Drift, DriftAction, Release, Time, Verified, time_of};
use parking_lot::Mutex;

use crate::in_force::InForce;
use crate::serving::PublishedStatus;
use crate::serving::observed::mode_of;

/// The least rarity of a sample that recordings of drift take: on either side, a twentieth of the baseline.
const RARE: f64 = 0.9;
/// Most findings in the text of an event.
const SHOWN_FINDINGS: usize = 3;

/// The monitor of one release, and what follows from its verdicts.
pub(crate) struct DriftWatch {
    release: Verified<Release>,
    rules: Drift<()>,
    sources: Vec<Source>,
    clock: Clock,
    started: Instant,
    /// Samples that ran in a way that is measured.
    seen: AtomicU64,
    dropped: AtomicU64,
    state: Mutex<State>,
}

struct State {
    monitor: Monitor,
    /// Whether the release serves. What is still measured of one that does not has no effect.
    serves: bool,
    measured: u64,
    windows: u64,
    since: Option<Time>,
    last: Option<Verdict>,
    /// Why the previous release should serve, until the deploy thread has taken it.
    fallback: Option<String>,
}

impl DriftWatch {
    /// A watch of a release that does not serve yet.
    ///
    /// # Errors
    /// [`MonitorError`] if the baseline does not fit the rules.
    pub(crate) fn new(
        release: &Verified<Release>,
        baseline: &Baseline,
        rules: &Drift,
        clock: Clock,
    ) -> Result<Arc<Self>, MonitorError> {
        let monitor = Monitor::new(baseline, rules)?;
        Ok(Arc::new(Self {
            release: release.clone(),
            rules: rules.with_baseline(()),
            sources: monitor.sources().to_vec(),
            started: clock.now(),
            clock,
            seen: AtomicU64::default(),
            dropped: AtomicU64::default(),
            state: Mutex::new(State {
                monitor,
                serves: false,
                measured: 0,
                windows: 0,
                since: None,
                last: None,
                fallback: None,
            }),
        }))
    }

    /// Begins, since the release serves from now on.
    pub(super) fn enter(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.dropped.store(0, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.monitor.restart();
        state.serves = true;
        (state.measured, state.windows) = (0, 0);
        (state.since, state.last, state.fallback) = (None, None, None);
        gauge_drifting(false);
    }

    /// Ends, since another release serves.
    pub(super) fn leave(&self, published_status: &PublishedStatus) {
        let mut state = self.state.lock();
        state.serves = false;
        state.fallback = None;
        published_status.forget_drift();
        gauge_drifting(false);
        for (value, finding) in state.last.iter().flat_map(findings) {
            gauge(value, finding.test.name(), 0.0);
        }
    }

    /// Whether a sample that runs like this is measured: each `every`th, in full or in the mode of `[drift]`. Other modes may have other
    /// models, whose values differ from the baseline without drift.
    pub(super) fn wants(&self, in_force: &InForce) -> bool {
        let mode = mode_of(&self.release, in_force.mode.as_deref());
        let is_alike = mode.is_none() || mode == self.rules.mode.as_deref();
        if !is_alike || in_force.skip_variants > 0 {
            return false;
        }
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        before.is_multiple_of(self.rules.every.max(1).into())
    }

    /// Whether more than the insight is measured.
    pub(super) fn needs_trace(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source, Source::Tensor { .. }))
    }

    /// What each sample is measured by.
    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Counts a sample that is not measured, since others wait.
    pub(super) fn drop_sample(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a measured sample that ended at `at`. A window that ends with it changes alerts, gauges and what the other threads ask for. True
    /// if the device drifts and the sample is rare in the baseline: whether the model was sure of it or not, it is worth a label.
    pub(super) fn add(
        &self,
        measured: &Measured,
        at: Instant,
        published_status: &PublishedStatus,
    ) -> bool {
        let mut state = self.state.lock();
        if !state.serves {
            return false;
        }
        state.measured += 1;
        let at = at.saturating_duration_since(self.started);
        if let Some(verdict) = state.monitor.add(measured, at) {
            self.follow(&mut state, verdict, published_status);
        }
        let rarity = state.monitor.rarity(measured);
        state.monitor.is_drifting() && rarity.is_some_and(|rarity| rarity >= RARE)
    }

    fn follow(&self, state: &mut State, verdict: Verdict, published_status: &PublishedStatus) {
        state.windows += 1;
        for (value, finding) in findings(&verdict) {
            gauge(value, finding.test.name(), finding.value);
        }
        match verdict.change {
            Some(StateChange::Began) => {
                state.since = Some(time_of(self.clock.wall()));
                let text = reasons(&verdict);
                if self.rules.action == DriftAction::Previous {
                    state.fallback = Some(text.clone());
                }
                self.tell(KnownKind::DriftBegan, text, published_status);
            }
            Some(StateChange::Ended) => {
                state.since = None;
                state.fallback = None;
                let text = format!("no value of the last {} samples drifted", verdict.samples);
                self.tell(KnownKind::DriftEnded, text, published_status);
            }
            None => {}
        }
        let is_drifting = state.monitor.is_drifting();
        gauge_drifting(is_drifting);
        // While drift goes on, a window without it alone ends no alert.
        if !is_drifting || verdict.drifted {
            for series in &verdict.series {
                let found = (is_drifting && series.drifted).then(|| {
                    let text = format!("{} samples differ from the baseline: ", verdict.samples);
                    let of_series = verdict.reasons().filter(|it| it.0 == series.source);
                    let found: Vec<String> = of_series.map(|(_, it)| finding_text(it)).collect();
                    (AlertSeverity::Warning, text + &found.join(", "))
                });
                published_status.drift(&series.source, found);
            }
        }
        state.last = Some(verdict);
    }

    fn tell(&self, kind: KnownKind, text: String, published_status: &PublishedStatus) {
        let subject = Subject::Release {
            name: self.release.name.clone(),
            generation: self.release.generation,
            digest: self.release.digest(),
        };
        let cause = EventCause::new("drift", text);
        let details = [("action", action(self.rules.action).into())];
        let events = published_status.events();
        events.record(kind, subject, Some(cause), &details);
    }

    /// Why the previous release should serve, once for each time that drift begins.
    pub(crate) fn take_fallback(&self) -> Option<String> {
        self.state.lock().fallback.take()
    }

    /// The mode that the release should run in, with the reason.
    pub(crate) fn wished_mode(&self) -> Option<(&str, String)> {
        let mode = self.rules.mode.as_deref()?;
        let state = self.state.lock();
        state.since.filter(|_| state.serves)?;
        Some((mode, "samples differ from the baseline".to_owned()))
    }

    /// Its part of the status.
    pub(crate) fn status(&self) -> DriftStatus {
        let state = self.state.lock();
        let last = state.last.as_ref();
        let ratios = last
            .into_iter()
            .flat_map(findings)
            .filter(|(_, it)| it.threshold > 0.0)
            .map(|(_, it)| it.value / it.threshold);
        DriftStatus {
            drifting: state.monitor.is_drifting(),
            since: state.since,
            action: action(self.rules.action).to_owned(),
            windows: state.windows,
            samples: state.monitor.samples() as u64,
            window: self.rules.window.into(),
            measured: state.measured,
            dropped: self.dropped.load(Ordering::Relaxed),
            ratio: ratios.reduce(f64::max),
            values: last.map(values).unwrap_or_default(),
        }
    }
}

fn values(verdict: &Verdict) -> Vec<DriftValue> {
    let series = verdict.series.iter().map(|series| {
        let statistics = series.findings.iter().map(|it| DriftStatistic {
            statistic: it.test.name().to_owned(),
            value: it.value,
            threshold: it.threshold,
            p_value: it.p_value,
            drifted: it.drifted,
        });
        DriftValue {
            value: series.source.clone(),
            samples: series.values as u64,
            drifted: series.drifted,
            statistics: statistics.collect(),
        }
    });
    series.collect()
}

fn findings(verdict: &Verdict) -> impl Iterator<Item = (&str, &hotshoe_drift::Finding)> {
    let series = verdict.series.iter();
    series.flat_map(|it| it.findings.iter().map(|found| (it.source.as_str(), found)))
}

/// `brightness(@sample) psi 3.10 of 0.25, ...`
fn reasons(verdict: &Verdict) -> String {
    let shown = verdict
        .reasons()
        .take(SHOWN_FINDINGS)
        .map(|(source, finding)| format!("{source} {}", finding_text(finding)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    let more = verdict.reasons().count().saturating_sub(SHOWN_FINDINGS);
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

fn finding_text(finding: &hotshoe_drift::Finding) -> String {
    let name = finding.test.name();
    format!("{name} {:.2} of {:.2}", finding.value, finding.threshold)
}

const fn action(action: DriftAction) -> &'static str {
    match action {
        DriftAction::Alert => "alert",
        DriftAction::Previous => "previous",
        DriftAction::Mode => "mode",
    }
}

fn gauge(value: &str, statistic: &'static str, number: f64) {
    let labels = [
        ("value", value.to_owned()),
        ("statistic", statistic.to_owned()),
    ];
    metrics::gauge!("hotshoe_drift", &labels).set(number);
}

fn gauge_drifting(is_drifting: bool) {
    metrics::gauge!("hotshoe_drifting").set(f64::from(u8::from(is_drifting)));
}
