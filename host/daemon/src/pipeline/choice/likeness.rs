//! Whether two backends make the same of the same inputs.

use hotshoe_infer::inspect::likeness;
use hotshoe_infer::{Backend, Model};

use super::Inputs;
use super::race::outputs;

/// Outputs whose directions agree less than this are not the same: the cosine of the angle between them.
const LEAST_COSINE: f64 = 0.999;

/// Runs both backends on the same inputs.
///
/// # Errors
/// In which output they differ, and how much; or that one of them fails.
pub(super) fn compare(model: &Model, runs: &[Inputs]) -> Result<(), String> {
    for inputs in runs {
        let of = |backend| {
            model.use_backend(backend);
            outputs(model, inputs).map_err(|error| format!("{backend} fails: {error}"))
        };
        for ((name, ours), (_, theirs)) in of(Backend::Tract)?.iter().zip(&of(Backend::Ort)?) {
            let alike = likeness(ours, theirs);
            if alike < LEAST_COSINE {
                return Err(format!(
                    "tract and ort disagree in output `{name}`: cosine {alike:.4}"
                ));
            }
        }
    }
    Ok(())
}
