//! Choice of the backend for a model that both can run: the faster one of those that pass the release's self-tests.

mod compare;
mod machine;
mod race;
mod remembered;
mod settled;
pub(super) mod synthetic;
mod timing;

use std::error::Error;
use std::sync::Arc;

use hotshoe_base::chain;
use hotshoe_infer::{Backend, Model, NamedModel, Tensor};
use hotshoe_trust::{Blob, Device};

use self::compare::Comparison;
use self::timing::{Timing, time_both};
use super::{Pipeline, Reason};

pub(super) use race::Races;
pub use remembered::{BACKENDS_FILE, Backends, MAX_CHOICES};
pub use settled::Undecided;
pub(super) use settled::switch_text;

/// Most recorded runs of one model in the self-tests, whose inputs are used to time it.
const RECORDED_RUNS: usize = 4;

/// The inputs of one run.
type Inputs = Vec<(String, Tensor)>;

/// A model that both backends have loaded.
struct TwoBackendModel<'a> {
    named: &'a Arc<NamedModel>,
    variant: &'a str,
    model: &'a Arc<Model>,
    /// Threads of one run.
    threads: usize,
    /// Whether this variant serves.
    serves: bool,
    /// Its inputs in the self-tests.
    recorded: Vec<Inputs>,
}

impl TwoBackendModel<'_> {
    /// The names of the model and of the variant.
    fn which(&self) -> (String, String) {
        (self.named.name().to_owned(), self.variant.to_owned())
    }
}

/// A chosen backend with the reason.
#[derive(Debug)]
struct BackendDecision {
    backend: Backend,
    reason: String,
    /// Whether it is about the model, and not only about this release.
    lasting: bool,
    /// Whether the other backend may replace a failed one: its outputs are the same, or nothing is known against it.
    alike: bool,
    /// Whether the backends disagree, and no test decides.
    undecided: bool,
}

impl BackendDecision {
    fn new(backend: Backend, reason: impl Into<String>) -> Self {
        Self {
            backend,
            reason: reason.into(),
            lasting: true,
            alike: false,
            undecided: false,
        }
    }

    fn passing(backend: Backend, reason: impl Into<String>) -> Self {
        Self {
            lasting: false,
            ..Self::new(backend, reason)
        }
    }

    /// Why a variant runs on it.
    fn reason(&self, serves: bool) -> Reason {
        Reason {
            text: self.reason.clone(),
            alike: self.alike,
            // Samples run on another variant.
            undecided: self.undecided && serves,
        }
    }
}

impl Pipeline {
    /// Chooses a backend for each model that both can run: the remembered choice of this machine, or by self-tests and timing.
    /// Returns the number of remembered choices. Both backends stay loaded until [`Self::settle`].
    pub fn decide<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> usize {
        let (known, unknown) = self.remembered(backends);
        self.choose(unknown, read, device, backends);
        known
    }

    /// Applies the remembered choices of this machine without measuring. Without a remembered choice, tract runs the model.
    pub fn recall(&self, backends: &Backends) {
        self.remembered(backends);
    }

    /// Applies the remembered choices. Returns their number, and the models without one.
    fn remembered(&self, backends: &Backends) -> (usize, Vec<TwoBackendModel<'_>>) {
        let (known, unknown): (Vec<_>, Vec<_>) = self.open().into_iter().partition(|open| {
            let found = backends.get(open.model.served_digest(), open.threads);
            found.is_some_and(|chosen| {
                let serves = open.model.use_backend(chosen.backend);
                let reason = format!("remembered: {}", chosen.reason);
                let chosen = BackendDecision { reason, ..chosen };
                self.note(open.which(), chosen.reason(open.serves));
                serves
            })
        });
        (known.len(), unknown)
    }

    /// Chooses again for all models that both backends have loaded, ignoring remembered choices.
    pub fn decide_again<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) {
        self.choose(self.open(), read, device, backends);
    }

    fn open(&self) -> Vec<TwoBackendModel<'_>> {
        let all = self.models.iter().flat_map(|(name, named)| {
            let threads = self.threads(name);
            named
                .variants()
                .map(move |(variant, model)| TwoBackendModel {
                    named,
                    variant,
                    model,
                    threads,
                    serves: variant == named.variant(),
                    recorded: Vec::new(),
                })
        });
        all.filter(|open| open.model.backends().len() > 1).collect()
    }

    fn note(&self, which: (String, String), reason: Reason) {
        self.reasons().insert(which, reason);
    }

    /// Logs a choice, and keeps it with its reason.
    fn conclude(
        &self,
        open: &TwoBackendModel<'_>,
        chosen: BackendDecision,
        backends: &mut Backends,
    ) {
        log(open.named.name(), open.variant, &chosen);
        if chosen.lasting {
            backends.remember(open.model.served_digest(), open.threads, &chosen);
        }
        self.note(open.which(), chosen.reason(open.serves));
    }

    fn choose<E: Error + Send + Sync + 'static>(
        &self,
        mut open: Vec<TwoBackendModel<'_>>,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) {
        if open.is_empty() {
            return;
        }
        let run = || {
            let ended = self.self_test(&read, device);
            // A failed run of a backend must not disable the variant.
            self.models.values().for_each(|named| named.restart());
            ended.map(drop).map_err(|error| chain(&error))
        };
        let verdicts = (!self.release.tests.is_empty()).then(|| {
            let tract = self.recording(&mut open, run);
            (tract, on(&open, Backend::Ort, run))
        });
        let chosen: Vec<BackendDecision> = (0..open.len())
            .filter_map(|at| {
                let this = open.get(at)?;
                Some(match &verdicts {
                    Some((tract, ort)) if this.serves && !this.recorded.is_empty() => {
                        let alone = || {
                            on(&open, Backend::Tract, || {
                                this.model.use_backend(Backend::Ort);
                                run()
                            })
                        };
                        let mut chosen = by_tests(this, tract, ort, alone);
                        // With several models on tract, it is unknown which one fails the test.
                        chosen.lasting &= tract.is_ok() || open.len() == 1;
                        chosen
                    }
                    _ => by_comparison(this, &open),
                })
            })
            .collect();
        let mixed = verdicts.is_some() && !uniform(&chosen);
        apply(&open, &chosen);
        let joint = if mixed { run() } else { Ok(()) };
        for (open, chosen) in open.iter().zip(chosen) {
            let chosen = match &joint {
                Ok(()) => chosen,
                Err(error) => BackendDecision::passing(Backend::Tract, mix_fails(error)),
            };
            open.model.use_backend(chosen.backend);
            self.conclude(open, chosen, backends);
        }
    }
}

fn log(model: &str, variant: &str, chosen: &BackendDecision) {
    let BackendDecision {
        backend, reason, ..
    } = chosen;
    tracing::info!(model, variant, %backend, reason, "backend chosen");
    if chosen.undecided {
        tracing::error!(
            model,
            variant,
            difference = reason,
            "the backends disagree, and no self-test decides which is right"
        );
    }
}

fn mix_fails(error: &str) -> String {
    format!("the self-test fails with a mix of backends: {error}")
}

fn disagrees(backend: Backend, error: &str) -> String {
    format!("{backend} disagrees with the self-test: {error}")
}

/// The result of `run` while this backend runs all models.
fn on<T>(open: &[TwoBackendModel<'_>], backend: Backend, run: impl FnOnce() -> T) -> T {
    for open in open {
        open.model.use_backend(backend);
    }
    run()
}

fn apply(open: &[TwoBackendModel<'_>], chosen: &[BackendDecision]) {
    for (open, chosen) in open.iter().zip(chosen) {
        open.model.use_backend(chosen.backend);
    }
}

fn uniform(chosen: &[BackendDecision]) -> bool {
    let mut backends = chosen.iter().map(|chosen| chosen.backend);
    let first = backends.next();
    backends.all(|backend| Some(backend) == first)
}

/// Chooses by the self-tests, which ran with all models on one backend, then on the other; `alone` runs them with only this model on ONNX
/// Runtime.
fn by_tests(
    this: &TwoBackendModel<'_>,
    tract: &Result<(), String>,
    ort: &Result<(), String>,
    alone: impl FnOnce() -> Result<(), String>,
) -> BackendDecision {
    match (tract, ort) {
        (Ok(()), Ok(())) => faster_in_turn(this, &this.recorded),
        (Ok(()), Err(_)) => match alone() {
            Ok(()) => faster_in_turn(this, &this.recorded),
            Err(error) => BackendDecision::new(Backend::Tract, disagrees(Backend::Ort, &error)),
        },
        (Err(error), Ok(())) => {
            BackendDecision::new(Backend::Ort, disagrees(Backend::Tract, error))
        }
        (Err(error), Err(_)) => {
            let reason = format!("neither backend passes the self-test: {error}");
            tracing::warn!(model = this.named.name(), variant = this.variant, reason);
            BackendDecision::passing(Backend::Tract, reason)
        }
    }
}

/// Chooses without a self-test of the model: the outputs of both backends must agree.
fn by_comparison(this: &TwoBackendModel<'_>, open: &[TwoBackendModel<'_>]) -> BackendDecision {
    same_outputs(this, open).map_or_else(|chosen| chosen, |runs| faster_in_turn(this, &runs))
}

/// Inputs for which both backends give the same, or the choice if there are none.
fn same_outputs(
    this: &TwoBackendModel<'_>,
    open: &[TwoBackendModel<'_>],
) -> Result<Vec<Inputs>, BackendDecision> {
    // All variants of a model take the same inputs.
    let twin = open
        .iter()
        .find(|other| other.named.name() == this.named.name() && !other.recorded.is_empty());
    let recorded = twin.map(|twin| twin.recorded.clone());
    let made_up = synthetic::inputs(this.model.inputs()).into_iter();
    let all = recorded
        .into_iter()
        .chain(made_up.map(|inputs| vec![inputs]));
    for runs in all {
        match compare::compare(this.model, &runs) {
            Comparison::Equal => return Ok(runs),
            Comparison::Differ(difference) => {
                return Err(BackendDecision {
                    undecided: true,
                    ..BackendDecision::passing(Backend::Tract, difference)
                });
            }
            Comparison::Fails(backend, error) => return Err(fails(backend, &error)),
            Comparison::Nothing => {}
        }
    }
    let reason = "no self-test runs the model, and synthetic inputs do not fit it";
    Err(BackendDecision {
        alike: true,
        ..BackendDecision::passing(Backend::Tract, reason)
    })
}

/// Chooses the other backend, since this one fails.
fn fails(backend: Backend, error: &str) -> BackendDecision {
    BackendDecision::new(other(backend), format!("{backend} fails: {error}"))
}

fn other(backend: Backend) -> Backend {
    match backend {
        Backend::Tract => Backend::Ort,
        Backend::Ort => Backend::Tract,
    }
}

/// Chooses the faster one of two equivalent backends, of which each serves in its turn.
fn faster_in_turn(this: &TwoBackendModel<'_>, runs: &[Inputs]) -> BackendDecision {
    faster(runs, &|backend, inputs| {
        timing::in_turn(this.model, backend, inputs)
    })
}

/// Chooses the faster one of two equivalent backends; `run` runs one of them.
fn faster(runs: &[Inputs], run: &timing::Run<'_>) -> BackendDecision {
    match time_both(runs, run) {
        Timing::Ended { tract, ort } => {
            let (backend, won, lost) = if ort < tract {
                (Backend::Ort, ort, tract)
            } else {
                (Backend::Tract, tract, ort)
            };
            let ms = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
            let slower = other(backend);
            let reason = format!("measured {:.2} ms, {slower} {:.2} ms", ms(won), ms(lost));
            BackendDecision {
                alike: true,
                ..BackendDecision::new(backend, reason)
            }
        }
        Timing::Failed(backend, error) if timing::runs(runs, other(backend), run) => {
            fails(backend, &error)
        }
        Timing::Failed(backend, error) => {
            let reason = format!("both backends fail; {backend}: {error}");
            BackendDecision::passing(Backend::Tract, reason)
        }
    }
}
