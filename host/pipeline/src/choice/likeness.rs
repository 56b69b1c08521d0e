//! Whether two backends make the same of the same inputs.

use hotshoe_infer::inspect::{Alike, alike};
use hotshoe_infer::{Backend, Model};

use super::Inputs;
use super::race::outputs;

/// What came of it.
pub(super) enum Verdict {
    /// Both make the same.
    Alike,
    /// Both run, and make something else: in which output, and how.
    Differ(String),
    /// This one fails, for this reason, and the other one runs.
    Fails(Backend, String),
    /// Both fail, or neither gives a number: the inputs say nothing.
    Nothing,
}

/// Runs both backends on the same inputs.
pub(super) fn compare(model: &Model, runs: &[Inputs]) -> Verdict {
    let of = |backend| {
        model.use_backend(backend);
        let all = runs.iter().map(|inputs| outputs(model, inputs));
        all.collect::<Result<Vec<Inputs>, String>>()
    };
    let (tract, ort) = match (of(Backend::Tract), of(Backend::Ort)) {
        (Ok(tract), Ok(ort)) => (tract, ort),
        (Err(error), Ok(_)) => return Verdict::Fails(Backend::Tract, error),
        (Ok(_), Err(error)) => return Verdict::Fails(Backend::Ort, error),
        (Err(_), Err(_)) => return Verdict::Nothing,
    };
    let mut compared = false;
    for (ours, theirs) in tract.iter().zip(&ort) {
        if ours.len() != theirs.len() {
            let (ours, theirs) = (ours.len(), theirs.len());
            return Verdict::Differ(format!("tract gives {ours} outputs, and ort {theirs}"));
        }
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            match alike(ours, theirs) {
                Alike::Yes => compared = true,
                Alike::NoNumbers => {}
                Alike::No(how) => {
                    return Verdict::Differ(format!(
                        "tract and ort disagree in output `{name}`: {how}"
                    ));
                }
            }
        }
    }
    if compared {
        Verdict::Alike
    } else {
        Verdict::Nothing
    }
}
