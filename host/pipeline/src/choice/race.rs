//! A choice that delays no sample: tract serves once the self-tests have proven it, and the other backend is tested and timed beside it.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotshoe_base::chain;
use hotshoe_engine::Fault;
use hotshoe_infer::{Backend, Model};
use hotshoe_trust::{Blob, Device, Digest};

use super::{BackendDecision, Backends, Inputs, TwoBackendModel, disagrees, faster, on, timing};
use crate::{Pipeline, SelfTestError, SelfTestReport};

/// The choices that are made while the release serves.
#[derive(Debug, Default)]
pub(crate) struct Races {
    open: Vec<OpenRace>,
    /// Choices that are not remembered yet.
    ended: Vec<EndedRace>,
}

/// A model that tract serves, and whose other backend is still to be tested and timed.
#[derive(Debug, Clone)]
struct OpenRace {
    name: String,
    variant: String,
    model: Arc<Model>,
    threads: usize,
    /// Whether a self-test runs it. The outputs of the others are known to be the same on both.
    is_tested: bool,
    runs: Vec<Inputs>,
}

#[derive(Debug)]
struct EndedRace {
    model: Digest,
    threads: usize,
    chosen: BackendDecision,
}

/// What is known before the first sample.
pub(crate) struct Begun {
    /// Number of remembered choices.
    pub(crate) remembered: usize,
    /// The self-tests, if they have passed with what serves now.
    pub(crate) passed: Option<Vec<SelfTestReport>>,
}

/// Why the self-tests do not pass on the other backend.
struct TestFailure {
    text: String,
    /// Whether a deadline passed, which says little on a thread of low priority.
    is_late: bool,
}

impl Pipeline {
    /// As [`Self::decide`], but a model without a remembered choice runs on tract if the self-tests pass with it, and its other backend is
    /// left to [`Self::race_backends`]. What no self-test runs is compared on both first.
    pub fn decide_first<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) {
        self.begin(read, device, backends);
    }

    pub(crate) fn begin<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> Begun {
        let (remembered, mut unknown) = self.remembered(backends);
        self.races.lock().open.clear();
        let mut passed = None;
        if !unknown.is_empty() && !self.release.tests.is_empty() {
            let ended = self.recording(&mut unknown, || self.self_test(&read, device));
            match ended {
                Ok(reports) => passed = Some(reports),
                Err(_) => {
                    self.models.values().for_each(|named| named.restart());
                    self.choose(unknown, read, device, backends);
                    return Begun { remembered, passed };
                }
            }
        }
        for this in &unknown {
            let is_tested = this.serves && !this.recorded.is_empty();
            let alike = if is_tested {
                Ok(this.recorded.clone())
            } else {
                super::same_outputs(this, &unknown)
            };
            let chosen = match alike {
                Ok(runs) => {
                    self.races.lock().open.push(OpenRace {
                        name: this.named.name().to_owned(),
                        variant: this.variant.to_owned(),
                        model: Arc::clone(this.model),
                        threads: this.threads,
                        is_tested,
                        runs,
                    });
                    let reason = "it serves first; ort is measured in the background";
                    BackendDecision {
                        alike: true,
                        ..BackendDecision::passing(Backend::Tract, reason)
                    }
                }
                Err(chosen) => chosen,
            };
            this.model.use_backend(chosen.backend);
            self.conclude(this, chosen, backends);
        }
        Begun { remembered, passed }
    }

    /// Runs `test` with these models on tract, and keeps their inputs.
    pub(super) fn recording<T>(
        &self,
        open: &mut [TwoBackendModel<'_>],
        test: impl FnOnce() -> T,
    ) -> T {
        let most = super::RECORDED_RUNS;
        open.iter().for_each(|open| open.model.record(most));
        let ended = on(open, Backend::Tract, test);
        for open in open {
            open.recorded = open.model.take_recorded();
        }
        ended
    }

    /// Whether backends are still to be measured, by [`Self::race_backends`].
    pub fn has_races(&self) -> bool {
        !self.races.lock().open.is_empty()
    }

    /// Whether the other backend of this model is still to be measured.
    pub(super) fn is_racing(&self, name: &str, variant: &str) -> bool {
        let races = self.races.lock();
        let mut open = races.open.iter();
        open.any(|race| race.name == name && race.variant == variant)
    }

    /// Tests and times the backends that [`Self::decide_first`] or [`Self::prove_first`] left, on the calling thread, which should have low
    /// priority. Samples run as before meanwhile. A faster one that passes the self-tests takes over by one write, for the runs that begin
    /// after it; any other one is unloaded. It ends before the next run once `cancel` is set; what is open then stays open. Call it after
    /// [`Self::settle_with_standbys`].
    pub fn race_backends<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        cancel: &AtomicBool,
    ) {
        let open = self.races.lock().open.clone();
        let test = |names: &BTreeSet<String>| self.test_on_other(&read, device, names, cancel);
        let Some(chosen) = verdicts(&open, test, cancel) else {
            return;
        };
        for (race, chosen) in open.into_iter().zip(chosen) {
            if chosen.backend == Backend::Ort {
                race.model.prepare_other();
            }
            if cancel.load(Ordering::Acquire) {
                return;
            }
            self.end(race, chosen);
        }
    }

    fn end(&self, race: OpenRace, chosen: BackendDecision) {
        let OpenRace { name, variant, .. } = race;
        let is_same = |it: &OpenRace| it.name == name && it.variant == variant;
        // Held over both, so that no status has the new backend with the old reason.
        let mut reasons = self.reasons();
        // It may have failed, or be avoided, since.
        let has_taken = race.model.end_race(chosen.backend, chosen.alike);
        if has_taken {
            reasons.insert((name.clone(), variant.clone()), chosen.reason(false));
        }
        drop(reasons);
        if has_taken {
            super::log(&name, &variant, &chosen);
            if chosen.lasting {
                self.races.lock().ended.push(EndedRace {
                    model: race.model.served_digest(),
                    threads: race.threads,
                    chosen,
                });
            }
        }
        self.races.lock().open.retain(|it| !is_same(it));
    }

    /// Runs the self-tests with these models on the backend that does not serve. `None` if it is cancelled.
    fn test_on_other<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        names: &BTreeSet<String>,
        cancel: &AtomicBool,
    ) -> Option<Result<(), TestFailure>> {
        let mode = self.run_mode(None, 0).on_other(names.clone());
        match self.self_test_in(read, device, &mode, cancel) {
            Ok(passed) => passed.map(|_| Ok(())),
            Err(error) => Some(Err(TestFailure {
                is_late: matches!(&error, SelfTestError::Sample { source, .. } if source.fault == Fault::Deadline),
                text: chain(&error),
            })),
        }
    }

    pub(super) fn has_ended_races(&self) -> bool {
        !self.races.lock().ended.is_empty()
    }

    pub(super) fn remember_races(&self, backends: &mut Backends) {
        let ended = std::mem::take(&mut self.races.lock().ended);
        for race in ended {
            backends.remember(race.model, race.threads, &race.chosen);
        }
    }
}

/// The choice for each race; `test` runs the self-tests with the named models on ONNX Runtime. `None` if it is cancelled.
fn verdicts(
    open: &[OpenRace],
    test: impl Fn(&BTreeSet<String>) -> Option<Result<(), TestFailure>>,
    cancel: &AtomicBool,
) -> Option<Vec<BackendDecision>> {
    let named = |race: &OpenRace| race.name.clone();
    let tested: BTreeSet<String> = open.iter().filter(|it| it.is_tested).map(named).collect();
    let all_pass = tested.is_empty() || test(&tested)?.is_ok();
    let mut chosen = Vec::with_capacity(open.len());
    for race in open {
        // If all fail together, it is unknown which one does.
        let alone = if all_pass || !race.is_tested {
            Ok(())
        } else {
            test(&BTreeSet::from([race.name.clone()]))?
        };
        chosen.push(match alone {
            Ok(()) => faster(&race.runs, &|backend, inputs| {
                if cancel.load(Ordering::Acquire) {
                    return Err("cancelled".to_owned());
                }
                timing::aside(&race.model, backend, inputs)
            }),
            Err(failure) => BackendDecision {
                lasting: !failure.is_late,
                ..BackendDecision::new(Backend::Tract, disagrees(Backend::Ort, &failure.text))
            },
        });
        if cancel.load(Ordering::Acquire) {
            return None;
        }
    }
    let won = open
        .iter()
        .zip(&chosen)
        .filter(|(race, chosen)| race.is_tested && chosen.backend == Backend::Ort);
    let won: BTreeSet<String> = won.map(|(race, _)| race.name.clone()).collect();
    // All together on ONNX Runtime have passed, as has each on its own.
    let is_known = won.is_empty() || (won.len() == 1 && !all_pass) || (all_pass && won == tested);
    if !is_known && let Err(failure) = test(&won)? {
        let reason = super::mix_fails(&failure.text);
        for (race, chosen) in open.iter().zip(&mut chosen) {
            if race.is_tested && chosen.backend == Backend::Ort {
                *chosen = BackendDecision::passing(Backend::Tract, reason.clone());
            }
        }
    }
    Some(chosen)
}
