//! Figures of the modes of a release on this device: agreement with the full mode, latency and memory.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotshoe_base::{chain, nearest_rank};
use hotshoe_engine::{Insight, Sample, agreement};
use hotshoe_infer::NamedModel;
use hotshoe_trust::{Access, Blob, Component, Device, Grant, Mode};

use super::self_test::timed;
use super::{Pipeline, RunMode};

/// Measured samples of one mode after which no further round begins.
const SAMPLES: usize = 50;
/// Time after which no further round begins, in microseconds of samples: 5 s.
const BUDGET_US: u64 = 5_000_000;

/// A mode of the release with its figures on this device.
#[derive(Debug, Clone, PartialEq)]
pub struct ModeFigures {
    /// Its name.
    pub name: String,
    /// Its place in the order of modes.
    pub level: u32,
    /// As the release signs it.
    pub mode: Mode,
    /// The mean agreement of its insights with those of the full mode on the self-tests, 0 to 1. `None` until it is judged, and without
    /// self-tests.
    pub agreement_ratio: Option<f64>,
    /// What 95 of 100 samples kept, in milliseconds. `None` until it is measured, and without self-tests.
    pub p95_ms: Option<f64>,
    /// Peak memory of the instances of one worker, and the sizes of the files of its variants. `None` as above.
    pub memory_bytes: Option<u64>,
}

/// By the names of the modes.
pub(super) type Measured = BTreeMap<String, MeasuredFigures>;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MeasuredFigures {
    agreement_ratio: Option<f64>,
    /// With the memory in bytes.
    p95_ms: Option<(f64, u64)>,
}

impl Pipeline {
    /// The modes in order of their levels, the full one first, with what is known of them.
    pub fn mode_figures(&self) -> Vec<ModeFigures> {
        let measured = self.measured.lock().clone();
        let mut all: Vec<ModeFigures> = (self.release.modes.iter())
            .map(|(name, mode)| {
                let known = measured.get(name).copied().unwrap_or_default();
                ModeFigures {
                    name: name.clone(),
                    level: mode.level,
                    mode: mode.clone(),
                    agreement_ratio: known.agreement_ratio,
                    p95_ms: known.p95_ms.map(|(p95_ms, _)| p95_ms),
                    memory_bytes: known.p95_ms.map(|(_, bytes)| bytes),
                }
            })
            .collect();
        all.sort_by_key(|it| it.level);
        all
    }

    /// Measures latency and memory of each mode on the samples of the self-tests, with a worker of its own and a copy of the state, and
    /// judges the agreement where [`Self::prove`] did not. It also compiles the plans that the variants need. It is long: the caller's
    /// thread should have low priority. It ends before the next sample once `cancel` is set. What is unknown then stays unknown, as it does
    /// where a component may count, write or send what a sample of a source would: grants `metrics`, `wasi-sockets` and `wasi-http`, and
    /// folders that it may write.
    pub fn measure_modes<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        cancel: &AtomicBool,
    ) {
        if self.release.modes.is_empty() || self.release.tests.is_empty() {
            return;
        }
        let mut components = self.release.components.iter();
        if let Some((component, _)) = components.find(|(_, spec)| acts_outside(spec)) {
            tracing::info!(
                component,
                "modes are not measured: the component acts outside of the pipeline"
            );
            return;
        }
        let samples = match self.test_samples(&read) {
            Ok(samples) => samples,
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(cause, "the modes cannot be measured");
                return;
            }
        };
        let is_judged = |name: &String| self.figures_of(name).agreement_ratio.is_some();
        if !self.release.modes.keys().all(is_judged) {
            self.judge_modes(&samples, device, cancel);
        }
        for figures in self.mode_figures() {
            let mode = self.run_mode(Some(&figures.name), 0);
            let found = self.measure(&mode, &samples, device, cancel);
            if cancel.load(Ordering::Acquire) {
                return;
            }
            if let Some((p95_ms, memory_bytes)) = found {
                let name = &figures.name;
                tracing::info!(mode = name, p95_ms, memory_bytes, "mode measured");
                let mut measured = self.measured.lock();
                measured.entry(name.clone()).or_default().p95_ms = found;
            }
        }
    }

    fn figures_of(&self, mode: &str) -> MeasuredFigures {
        self.measured.lock().get(mode).copied().unwrap_or_default()
    }

    /// Compares the insights of each mode with those of the full one. A mode is signed: a low agreement is reported, and refuses nothing.
    pub(super) fn judge_modes(&self, samples: &[Sample], device: &Device, cancel: &AtomicBool) {
        let Some(full) = self.insights(&self.run_mode(None, 0), samples, device, cancel) else {
            return;
        };
        for name in self.release.modes.keys() {
            let mode = self.run_mode(Some(name), 0);
            let Some(found) = self.insights(&mode, samples, device, cancel) else {
                return;
            };
            let Some(agreement_ratio) = mean_agreement(&full, &found) else {
                continue;
            };
            tracing::info!(mode = name, agreement_ratio, "mode judged");
            let mut measured = self.measured.lock();
            measured.entry(name.clone()).or_default().agreement_ratio = Some(agreement_ratio);
        }
    }

    /// The insight of each sample in this mode, `None` for those that fail. `None` if it is cancelled.
    fn insights(
        &self,
        mode: &RunMode,
        samples: &[Sample],
        device: &Device,
        cancel: &AtomicBool,
    ) -> Option<Vec<Option<Insight>>> {
        let mut worker = self.fork().worker();
        let run = |sample: &Sample| {
            if cancel.load(Ordering::Acquire) {
                return None;
            }
            let ended = worker.process(sample, device, mode).result;
            let ended = ended.inspect_err(|error| {
                let mode = mode.name().unwrap_or_default();
                tracing::warn!(mode, sample = sample.id, %error, "a self-test fails in this mode");
            });
            Some(ended.ok().map(|decision| decision.insight))
        };
        samples.iter().map(run).collect()
    }

    /// The p95 in milliseconds and the memory in bytes; `None` if it is cancelled, or if no sample has a result.
    fn measure(
        &self,
        mode: &RunMode,
        samples: &[Sample],
        device: &Device,
        cancel: &AtomicBool,
    ) -> Option<(f64, u64)> {
        let mut worker = self.fork().worker();
        let (mut times, mut spent) = (Vec::new(), 0_u64);
        // The first round makes instances and plans.
        let mut is_warm = false;
        while times.len() < SAMPLES && spent < BUDGET_US {
            let known = times.len();
            for sample in samples {
                if cancel.load(Ordering::Acquire) {
                    return None;
                }
                let (outcome, micros) = timed(&mut worker, sample, device, mode);
                spent = spent.saturating_add(micros);
                if is_warm && outcome.result.is_ok() {
                    times.push(micros);
                }
            }
            if is_warm && times.len() == known {
                break;
            }
            is_warm = true;
        }
        times.sort_unstable();
        let p95_us = nearest_rank(&times, 95)?;
        let usage = worker.usage().into_iter();
        let instances = usage.map(|it| it.memory_bytes.saturating_add(it.tensor_bytes));
        let instances = instances.fold(0, u64::saturating_add);
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 microseconds are 285 years"
        )]
        let p95_ms = p95_us as f64 / 1e3;
        Some((p95_ms, instances.saturating_add(self.file_bytes(mode))))
    }

    /// Bytes of the files of the variants that a mode begins with.
    fn file_bytes(&self, mode: &RunMode) -> u64 {
        let of = |(name, named): (&String, &Arc<NamedModel>)| {
            let (variant, _) = named.variants().nth(mode.variants().of(name))?;
            let spec = self.release.models.get(name)?;
            let mut variants = spec.variants.iter();
            Some(variants.find(|it| it.name == variant)?.blob.size)
        };
        let sizes = self.models.iter().filter_map(of);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Whether a component may count, write or send something.
fn acts_outside(component: &Component) -> bool {
    let grants = [Grant::Metrics, Grant::WasiSockets, Grant::WasiHttp];
    grants.iter().any(|grant| component.grants.contains(grant))
        || component.folders.values().any(|it| *it != Access::Read)
}

/// The mean agreement over the samples that have an insight in the full mode; a sample that fails in the other one has none.
fn mean_agreement(full: &[Option<Insight>], found: &[Option<Insight>]) -> Option<f64> {
    let both = full.iter().zip(found);
    let each: Vec<f64> = both
        .filter_map(|(full, found)| {
            let full = full.as_ref()?;
            Some(found.as_ref().map_or(0.0, |found| agreement(found, full)))
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "there are at most 64 tests")]
    let count = each.len() as f64;
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / count)
}
