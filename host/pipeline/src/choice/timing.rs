//! Both backends by turns on the same inputs, against the clock.

use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_infer::{Backend, Model, Tensor};

use super::Inputs;

/// Rounds, at most. The fastest of each backend counts: whatever else the machine does only slows a round down.
const ROUNDS: usize = 7;
/// No round begins after this.
const BUDGET: Duration = Duration::from_secs(2);
/// One run may take this long.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// How it ended.
pub(super) enum Timing {
    /// The time of one run on each.
    Ended {
        /// On tract.
        tract: Duration,
        /// On ONNX Runtime.
        ort: Duration,
    },
    /// This backend could not run them.
    Failed(Backend, String),
}

/// Times both backends on `runs`, after a first round that does not count.
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

/// Whether this backend can run them.
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

/// What the backend that serves now makes of one run's inputs.
pub(super) fn outputs(model: &Model, inputs: &Inputs) -> Result<Inputs, String> {
    let named: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let ended = model.run_by(&named, Some(Instant::now() + RUN_DEADLINE));
    ended.map_err(|error| chain(&error))
}
