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

/// Times both backends on `runs`, after a warm-up round.
pub(super) fn time_both(model: &Model, runs: &[Inputs]) -> Timing {
    const BACKENDS: [Backend; 2] = [Backend::Tract, Backend::Ort];
    let mut fastest = [Duration::MAX; 2];
    let started = Instant::now();
    for round in 0..=ROUNDS {
        for (backend, fastest) in BACKENDS.into_iter().zip(&mut fastest) {
            model.use_backend(backend);
            let time = match run_all(model, runs) {
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
pub(super) fn runs(model: &Model, backend: Backend, runs: &[Inputs]) -> bool {
    model.use_backend(backend);
    run_all(model, runs).is_ok()
}

fn run_all(model: &Model, runs: &[Inputs]) -> Result<Duration, String> {
    let started = Instant::now();
    for inputs in runs {
        outputs(model, inputs)?;
    }
    Ok(started.elapsed())
}

/// The outputs of the active backend for one run's inputs.
pub(super) fn outputs(model: &Model, inputs: &Inputs) -> Result<Inputs, String> {
    let named: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let ended = model.run_by(&named, Some(Instant::now() + RUN_DEADLINE));
    ended.map_err(|error| chain(&error))
}
