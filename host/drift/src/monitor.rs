//! Windows of samples, compared with a baseline.

use std::time::Duration;

use hotshoe_trust::Drift;

use super::baseline::{Baseline, BaselineSeries};
use super::error::MonitorError;
use super::measure::Measured;
use super::source::Source;
use super::verdict::{Finding, SeriesVerdict, StateChange, Test, Verdict};
use super::watched::{Measurement, Watched};

/// Compares windows of samples with a baseline, by the rules of a release.
///
/// It keeps the values of one window: `window` numbers at most for each source of numbers. It has no clock: each sample brings the time since
/// a start that the caller chooses, by the monotonic clock.
#[derive(Debug, Clone)]
pub struct Monitor {
    rules: Rules,
    sources: Vec<Source>,
    watched: Vec<Watched>,
    samples: usize,
    /// When the first sample of the window came.
    start: Option<Duration>,
    is_drifting: bool,
    /// How many windows in a row said the opposite of `is_drifting`.
    in_a_row: u32,
}

/// What a monitor needs of `[drift]`.
#[derive(Debug, Clone, Copy)]
struct Rules {
    at_least: usize,
    window: usize,
    longest: Duration,
    windows: u32,
    psi: f64,
    ks: f64,
    embedding: f64,
    change: f64,
    p_value: f64,
}

impl Monitor {
    /// A monitor at the start of its first window.
    ///
    /// # Errors
    /// The release watches what the baseline does not have, or a covariance is not valid.
    pub fn new<B>(baseline: &Baseline, drift: &Drift<B>) -> Result<Self, MonitorError> {
        let is_of = |series: &BaselineSeries, text: &str| series.source.to_string() == text;
        let series = baseline.series();
        let unknown = drift
            .watch
            .iter()
            .find(|text| !series.iter().any(|it| is_of(it, text)));
        if let Some(watched) = unknown {
            return Err(MonitorError::NotInBaseline {
                watched: watched.clone(),
                known: baseline.sources().map(ToString::to_string).collect(),
            });
        }
        let is_watched = |it: &&BaselineSeries| {
            drift.watch.is_empty() || drift.watch.iter().any(|text| is_of(it, text))
        };
        let series: Vec<_> = series.iter().filter(is_watched).collect();
        let watched = series.iter().map(|it| Watched::new(it));
        Ok(Self {
            watched: watched.collect::<Result<_, _>>()?,
            sources: series.iter().map(|it| it.source.clone()).collect(),
            rules: Rules {
                at_least: drift.at_least as usize,
                window: drift.window as usize,
                longest: Duration::from_secs(drift.window_seconds.into()),
                windows: drift.windows,
                psi: drift.psi,
                ks: drift.ks,
                embedding: drift.embedding,
                change: drift.change,
                p_value: drift.p_value,
            },
            samples: 0,
            start: None,
            is_drifting: false,
            in_a_row: 0,
        })
    }

    /// What each sample is measured by, for [`measure`](super::measure()).
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Whether drift began and has not ended.
    pub const fn is_drifting(&self) -> bool {
        self.is_drifting
    }

    /// How many samples the window has so far.
    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// Adds a sample that came at `now`, as [`measure`](super::measure()) has it for [`Self::sources`]. A window ends, with a verdict:
    ///
    /// - with its `window`th sample;
    /// - after `window-seconds`, with `at-least` samples;
    /// - at a sudden change, with `at-least` samples, unless the device drifts already.
    pub fn add(&mut self, measured: &Measured, now: Duration) -> Option<Verdict> {
        let start = *self.start.get_or_insert(now);
        self.samples += 1;
        for (watched, value) in self.watched.iter_mut().zip(&measured.0) {
            if let Some(value) = value {
                watched.add(value);
            }
        }
        let lasted = now.saturating_sub(start);
        let has_enough = self.samples >= self.rules.at_least;
        let is_over = self.samples >= self.rules.window
            || has_enough && lasted >= self.rules.longest
            || has_enough && !self.is_drifting && self.has_changed();
        is_over.then(|| self.end_window(lasted))
    }

    /// Begins its first window again, without drift.
    pub fn restart(&mut self) {
        (self.samples, self.start) = (0, None);
        (self.is_drifting, self.in_a_row) = (false, 0);
        for watched in &mut self.watched {
            watched.clear(true);
        }
    }

    /// How rare a sample is in the baseline, by its rarest value: 0 for the most usual sample, near 1 for one beyond all of them. `None` for a
    /// sample without a value. What is rare is worth a label, whether the model was sure of it or not.
    pub fn rarity(&self, measured: &Measured) -> Option<f64> {
        let values = self.watched.iter().zip(&measured.0);
        let rarities = values.filter_map(|(watched, value)| watched.rarity(value.as_ref()?));
        rarities.reduce(f64::max)
    }

    /// How rare each value of a sample is, by its source; see [`Self::rarity`].
    pub fn rarities(&self, measured: &Measured) -> Vec<(&Source, f64)> {
        let values = self.sources.iter().zip(&self.watched).zip(&measured.0);
        values
            .filter_map(|((source, watched), value)| {
                Some((source, watched.rarity(value.as_ref()?)?))
            })
            .collect()
    }

    fn has_changed(&self) -> bool {
        let mut sums = self.watched.iter().filter_map(Watched::largest_sum);
        sums.any(|sum| sum >= self.rules.change)
    }

    fn end_window(&mut self, lasted: Duration) -> Verdict {
        let measured = self.watched.iter().map(|watched| {
            if watched.values() < self.rules.at_least {
                return Vec::new();
            }
            watched.measurements()
        });
        let measured: Vec<Vec<Measurement>> = measured.collect();
        let tests = measured.iter().map(Vec::len).sum::<usize>().max(1);
        let p_value = self.rules.p_value / tests as f64;
        let series = self.sources.iter().zip(&self.watched).zip(measured);
        let series = series.map(|((source, watched), measured)| {
            let rules = &self.rules;
            let judged = measured
                .into_iter()
                .map(|it| it.judge(rules.threshold(it.test()), p_value));
            let change = watched.largest_sum().map(|value| Finding {
                test: Test::Change,
                value,
                threshold: rules.change,
                p_value: None,
                drifted: value >= rules.change,
            });
            let findings: Vec<Finding> = judged.chain(change).collect();
            SeriesVerdict {
                source: source.to_string(),
                values: watched.values(),
                drifted: findings.iter().any(|it| it.drifted),
                findings,
            }
        });
        let series: Vec<SeriesVerdict> = series.collect();
        let drifted = series.iter().any(|it| it.drifted);
        let verdict = Verdict {
            samples: self.samples,
            seconds: lasted.as_secs_f64(),
            p_value,
            series,
            drifted,
            change: self.follow(drifted),
        };
        (self.samples, self.start) = (0, None);
        for watched in &mut self.watched {
            let has_changed = watched
                .largest_sum()
                .is_some_and(|sum| sum >= self.rules.change);
            watched.clear(has_changed);
        }
        verdict
    }

    /// Counts the windows that say something else than the state, which so many in a row change.
    fn follow(&mut self, drifted: bool) -> Option<StateChange> {
        if drifted == self.is_drifting {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row += 1;
        if self.in_a_row < self.rules.windows {
            return None;
        }
        (self.is_drifting, self.in_a_row) = (drifted, 0);
        Some(if drifted {
            StateChange::Began
        } else {
            StateChange::Ended
        })
    }
}

impl Rules {
    const fn threshold(&self, test: Test) -> f64 {
        match test {
            Test::Psi => self.psi,
            Test::Ks => self.ks,
            Test::Embedding => self.embedding,
            Test::Change => self.change,
        }
    }
}
