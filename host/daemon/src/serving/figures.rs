//! What the daemon knows of itself: the figures of the last window, and a short history of windows. Pure; the governor's thread owns it.
//!
//! Windows end with the slots of [`Latencies`]: a window of figures is the present slot and four before it, and each slot is a window of
//! the history. What is not known is `None`, never zero.

mod counts;
mod energy;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hotshoe_engine::{Queue, Window};
use hotshoe_senses::{Meter, Reading, Summary, Work, per_inference};
use hotshoe_trust::Digest;

use crate::serving::latency::{Latencies, SLOTS_OF_WINDOW};

use energy::{EnergySum, ModeEnergy};

pub use counts::Counts;
pub use energy::PowerFigures;
pub use hotshoe_pipeline::ModelRunCounts as RunCounts;

/// Most windows of the history, with the present one.
pub const MAX_WINDOWS: usize = 20;

/// What the parts of the daemon say at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Raw {
    /// The serving release.
    pub release: Option<Digest>,
    /// The queue of samples.
    pub queue: Queue,
    /// Since the start of the daemon.
    pub counts: Counts,
    /// Runs of the models of the serving release.
    pub runs: Vec<RunCounts>,
    /// Latencies of samples.
    pub latencies: Latencies,
    /// Whether another member of the site is reachable.
    pub site_reachable: Option<bool>,
    /// Since the last statement was heard.
    pub statement_age: Option<Duration>,
    /// Whether the release is on trial.
    pub on_trial: bool,
}

/// Runs of a variant on a backend in the window.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFigures {
    /// The counts of the window; faults in a row may have begun before it.
    pub counts: RunCounts,
    /// Energy of one run.
    pub joules_per_run: Option<f64>,
}

/// The figures of the last window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FiguresWindow {
    /// How long the window is, in seconds.
    pub seconds: f64,
    /// The queue of samples now.
    pub queue: Queue,
    /// Counts of the window.
    pub counts: Counts,
    /// Each stage and `total` over the window, in microseconds.
    pub stages: Vec<(String, Summary)>,
    /// Whole samples in the slot that has ended since the last reading. Each slot is given once.
    pub ended: Option<Summary>,
    /// Models of the serving release.
    pub runs: Vec<RunFigures>,
    /// What the device took since the last reading, the mean.
    pub watts: Option<f64>,
    /// By mode, while it was in force under the serving release. The key of no mode is empty.
    pub modes: BTreeMap<String, PowerFigures>,
    /// The last windows, oldest first. The last one ends now.
    pub history: Vec<Window>,
    /// Whether another member of the site is reachable.
    pub site_reachable: Option<bool>,
    /// Since the last statement was heard.
    pub statement_age: Option<Duration>,
    /// Whether the release is on trial.
    pub on_trial: bool,
}

impl FiguresWindow {
    /// What the device took in a mode (`None` is no mode).
    pub fn power(&self, mode: Option<&str>) -> PowerFigures {
        let known = self.modes.get(mode.unwrap_or_default());
        known.copied().unwrap_or_default()
    }
}

/// Makes the figures of windows from what the parts of the daemon say now and then.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    meter: Meter,
    /// Since the first reading.
    energy: EnergySum,
    modes: ModeEnergy,
    models: BTreeMap<RunKey, RunSum>,
    backend_faults: u64,
    last: Option<Counts>,
    /// The start of each slot of the window, oldest first.
    starts: VecDeque<Start>,
    /// The present window of the history, and those that have ended, oldest first.
    open: Option<Open>,
    closed: VecDeque<Window>,
}

/// Model, variant and backend.
type RunKey = (String, String, String);

/// Runs and faults.
#[derive(Debug, Clone, Copy, Default)]
struct RunSum {
    /// As the model says.
    said: (u64, u64),
    /// Since the first reading. A model that is loaded again counts from zero, and this goes on.
    sum: (u64, u64),
}

/// The sums at the start of a slot.
#[derive(Debug, Clone)]
struct Start {
    slot: u64,
    at: Duration,
    counts: Counts,
    runs: BTreeMap<RunKey, (u64, u64)>,
    energy: EnergySum,
}

/// A window of the history that has not ended.
#[derive(Debug, Clone)]
struct Open {
    slot: u64,
    at: Duration,
    counts: Counts,
    energy: EnergySum,
    hottest_celsius: Option<f64>,
    charge_ratio: Option<f64>,
    mode: Option<String>,
}

impl Figures {
    /// The figures now. `reading` is of the sensors, and `mode` was in force since the last call; it has the name that governors know.
    pub fn next(&mut self, raw: Raw, reading: &Reading, mode: Option<&str>) -> FiguresWindow {
        let (at, slot) = (raw.latencies.at, raw.latencies.slot);
        self.add_runs(&raw.runs);
        let counts = Counts {
            backend_faults: self.backend_faults,
            ..raw.counts
        };
        let before = self.last.replace(counts);
        self.modes.follow(raw.release);
        self.meter.add(reading, at);
        let energy = self.meter.end_window();
        let watts = energy.map(|energy| energy.watts());
        if let Some(energy) = energy {
            let done = before.map_or_else(Counts::default, |before| counts.since(&before));
            let samples = done.results + done.failed;
            self.energy.add(&energy, samples);
            self.modes.add(mode, &energy, samples);
        }
        let ended = self.end_slot(&raw.latencies, &counts);
        self.observe(reading, mode);
        let start = self.window_start(at, slot, counts);
        let seconds = at.saturating_sub(start.at);
        FiguresWindow {
            seconds: seconds.as_secs_f64(),
            queue: raw.queue,
            counts: counts.since(&start.counts),
            runs: self.runs(&raw.runs, &start, seconds),
            stages: raw.latencies.stages,
            ended,
            watts,
            modes: self.modes.read(),
            history: self.history(at, &counts, raw.latencies.total_of_slot),
            site_reachable: raw.site_reachable,
            statement_age: raw.statement_age,
            on_trial: raw.on_trial,
        }
    }

    /// Adds what the models say. Those of another release are forgotten.
    fn add_runs(&mut self, runs: &[RunCounts]) {
        let mut models = BTreeMap::new();
        for run in runs {
            let said = (run.runs, run.faults);
            let key = key(run);
            let mut sum = match self.models.get(&key) {
                Some(before) => *before,
                None => RunSum { said, sum: (0, 0) },
            };
            if said.0 < sum.said.0 {
                // The model was loaded again.
                sum.said = (0, 0);
            }
            let faults = said.1.saturating_sub(sum.said.1);
            sum.sum.0 += said.0.saturating_sub(sum.said.0);
            sum.sum.1 += faults;
            sum.said = said;
            self.backend_faults += faults;
            models.insert(key, sum);
        }
        self.models = models;
    }

    fn runs(&self, raw: &[RunCounts], start: &Start, window: Duration) -> Vec<RunFigures> {
        let counts: Vec<RunCounts> = raw
            .iter()
            .map(|run| {
                let key = key(run);
                let now = self.models.get(&key).map_or((0, 0), |it| it.sum);
                let before = start.runs.get(&key).copied().unwrap_or_default();
                RunCounts {
                    runs: now.0.saturating_sub(before.0),
                    faults: now.1.saturating_sub(before.1),
                    ..run.clone()
                }
            })
            .collect();
        let works: Vec<Work> = counts
            .iter()
            // Without the times of runs, their number is their share.
            .map(|it| Work {
                runs: it.runs,
                busy_us: 0,
            })
            .collect();
        let energy = self.energy.since(&start.energy).energy();
        let joules = per_inference(energy.as_ref(), window, &works);
        let runs = counts.into_iter().zip(joules);
        runs.map(|(counts, joules_per_run)| RunFigures {
            counts,
            joules_per_run,
        })
        .collect()
    }

    /// The start of the window that ends now.
    fn window_start(&mut self, at: Duration, slot: u64, counts: Counts) -> Start {
        let first = slot.saturating_sub(SLOTS_OF_WINDOW.into());
        self.starts.retain(|start| start.slot >= first);
        if self.starts.back().is_none_or(|start| start.slot < slot) {
            let runs = self.models.iter();
            self.starts.push_back(Start {
                slot,
                at,
                counts,
                runs: runs.map(|(key, it)| (key.clone(), it.sum)).collect(),
                energy: self.energy,
            });
        }
        let oldest = self.starts.front().cloned();
        oldest.unwrap_or_else(|| Start {
            slot,
            at,
            counts,
            runs: BTreeMap::new(),
            energy: self.energy,
        })
    }

    /// Ends the present window of the history if its slot has ended. Returns the latency of that slot.
    fn end_slot(&mut self, latencies: &Latencies, counts: &Counts) -> Option<Summary> {
        let (at, slot) = (latencies.at, latencies.slot);
        let before = self.open.take_if(|open| open.slot < slot);
        let mut ended = None;
        if let Some(open) = before {
            // After a pause of several slots, the last one is not the one of this window.
            let is_last = open.slot + 1 == slot;
            ended = latencies.total_of_last_slot.filter(|_| is_last);
            let window = open.until(at, counts, &self.energy, ended);
            self.closed.push_back(window);
            while self.closed.len() >= MAX_WINDOWS {
                self.closed.pop_front();
            }
        }
        if self.open.is_none() {
            self.open = Some(Open {
                slot,
                at,
                counts: *counts,
                energy: self.energy,
                hottest_celsius: None,
                charge_ratio: None,
                mode: None,
            });
        }
        ended
    }

    fn observe(&mut self, reading: &Reading, mode: Option<&str>) {
        let Some(open) = &mut self.open else {
            return;
        };
        let hottest = reading.hottest().map(|zone| zone.celsius);
        open.hottest_celsius = [open.hottest_celsius, hottest]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        open.charge_ratio = reading.charge_percent().map(|percent| percent / 100.0);
        open.mode = mode.map(str::to_owned);
    }

    fn history(&self, at: Duration, counts: &Counts, latency: Option<Summary>) -> Vec<Window> {
        let open = self.open.as_ref();
        let present = open.map(|open| open.until(at, counts, &self.energy, latency));
        self.closed.iter().cloned().chain(present).collect()
    }
}

fn key(run: &RunCounts) -> RunKey {
    let (model, variant, backend) = (&run.model, &run.variant, &run.backend);
    (model.clone(), variant.clone(), backend.clone())
}

impl Open {
    /// This window, as if it ended now.
    fn until(
        &self,
        at: Duration,
        counts: &Counts,
        energy: &EnergySum,
        latency: Option<Summary>,
    ) -> Window {
        let counts = counts.since(&self.counts);
        let energy = energy.since(&self.energy).energy();
        Window {
            seconds: at.saturating_sub(self.at).as_secs_f64(),
            mode: self.mode.clone(),
            hottest_celsius: self.hottest_celsius,
            charge_ratio: self.charge_ratio,
            watts: energy.map(|energy| energy.watts()),
            accepted: counts.accepted,
            results: counts.results,
            skipped: counts.skipped,
            dropped: counts.dropped,
            failed: counts.failed,
            deadline_misses: counts.deadline_misses,
            traps: counts.traps,
            backend_faults: counts.backend_faults,
            p95_ms: latency.map(|latency| latency.p95 / 1e3),
        }
    }
}
