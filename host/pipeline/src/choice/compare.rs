//! Comparison of the outputs of two backends for the same inputs.

use hotshoe_infer::inspect::{OutputComparison, compare_outputs};
use hotshoe_infer::{Backend, Model};

use super::Inputs;
use super::timing::in_turn;

/// Result of the comparison.
pub(super) enum Comparison {
    /// The outputs are the same.
    Equal,
    /// The outputs differ: in which output, and how.
    Differ(String),
    /// This backend fails with this error, and the other one runs.
    Fails(Backend, String),
    /// Both fail, or the outputs have no numbers: inconclusive.
    Nothing,
}

/// Runs both backends on the same inputs.
pub(super) fn compare(model: &Model, runs: &[Inputs]) -> Comparison {
    let of = |backend| {
        let all = runs.iter().map(|inputs| in_turn(model, backend, inputs));
        all.collect::<Result<Vec<Inputs>, String>>()
    };
    let (tract, ort) = match (of(Backend::Tract), of(Backend::Ort)) {
        (Ok(tract), Ok(ort)) => (tract, ort),
        (Err(error), Ok(_)) => return Comparison::Fails(Backend::Tract, error),
        (Ok(_), Err(error)) => return Comparison::Fails(Backend::Ort, error),
        (Err(_), Err(_)) => return Comparison::Nothing,
    };
    let mut compared = false;
    for (ours, theirs) in tract.iter().zip(&ort) {
        if ours.len() != theirs.len() {
            let (ours, theirs) = (ours.len(), theirs.len());
            return Comparison::Differ(format!("tract gives {ours} outputs, and ort {theirs}"));
        }
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            match compare_outputs(ours, theirs) {
                OutputComparison::Yes => compared = true,
                OutputComparison::NoNumbers => {}
                OutputComparison::No(how) => {
                    return Comparison::Differ(format!(
                        "tract and ort disagree in output `{name}`: {how}"
                    ));
                }
            }
        }
    }
    if compared {
        Comparison::Equal
    } else {
        Comparison::Nothing
    }
}
