//! Timing of both backends on the same inputs.

use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_infer::{Backend, Model, Tensor};

use super::Inputs;

/// Most rounds. The fastest round of each backend counts, since other load only slows a round down.
const ROUNDS: usize = 7;
/// No round begins after this time.
const BUDGET: Duration = Duration::from_secs(2);
/// Deadline of one run.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// Result of the timing.
pub(super) enum Timing {
    /// The time of one run on each.
    Ended {
        /// Time on tract.
        tract: Duration,
        /// Time on ONNX Runtime.
        ort: Duration,
    },
    /// This backend could not run the inputs.
    Failed(Backend, String),
}

/// Runs a backend on one run's inputs.
pub(super) type Run<'a> = dyn Fn(Backend, &Inputs) -> Result<Inputs, String> + 'a;

/// Times both backends on `runs`, after a warm-up round.
pub(super) fn time_both(runs: &[Inputs], run: &Run<'_>) -> Timing {
    const BACKENDS: [Backend; 2] = [Backend::Tract, Backend::Ort];
    let mut fastest = [Duration::MAX; 2];
    let started = Instant::now();
    for round in 0..=ROUNDS {
        for (backend, fastest) in BACKENDS.into_iter().zip(&mut fastest) {
            let time = match run_all(runs, backend, run) {
                Ok(time) => time,
                Err(error) => return Timing::Failed(backend, error),
            };
            if round > 0 {
                *fastest = time.min(*fastest);
            }
        }
        if round > 0 && started.elapsed() > BUDGET {
            break;
        }
    }
    let one = u32::try_from(runs.len()).unwrap_or(1).max(1);
    let [tract, ort] = fastest.map(|all| all / one);
    Timing::Ended { tract, ort }
}

/// Whether this backend can run all inputs.
pub(super) fn runs(runs: &[Inputs], backend: Backend, run: &Run<'_>) -> bool {
    run_all(runs, backend, run).is_ok()
}

fn run_all(runs: &[Inputs], backend: Backend, run: &Run<'_>) -> Result<Duration, String> {
    let started = Instant::now();
    for inputs in runs {
        run(backend, inputs)?;
    }
    Ok(started.elapsed())
}

/// The outputs of this backend, which serves from then on.
pub(super) fn in_turn(model: &Model, backend: Backend, inputs: &Inputs) -> Result<Inputs, String> {
    model.use_backend(backend);
    let deadline = Instant::now() + RUN_DEADLINE;
    let ended = model.run_by(&named(inputs), Some(deadline));
    ended.map_err(|error| chain(&error))
}

/// The outputs of this backend, on this thread, while another one may serve.
pub(super) fn aside(model: &Model, backend: Backend, inputs: &Inputs) -> Result<Inputs, String> {
    match model.run_aside(backend, &named(inputs)) {
        Some(ended) => ended.map_err(|error| chain(&error)),
        None => Err("it is no longer loaded".to_owned()),
    }
}

fn named(inputs: &Inputs) -> Vec<(&str, &Tensor)> {
    let named = inputs.iter();
    named
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect()
}
