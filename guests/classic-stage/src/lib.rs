//! Makes a plain program for `wasi:nn` a stage: its input comes from the sample, and its answer becomes an insight.

use hotshoe_sdk::prelude::*;
use wasi_nn_classic::{ClassifyError, classify};

/// The model's name in the release.
const MODEL: &str = "classify-angle";

struct ClassicStage;

impl Stage for ClassicStage {
    // It imports `wasi:nn` and nothing more.
    const REPORTS_PANICS: bool = false;

    fn process(sample: &Sample) -> Result<Insight> {
        let classes = classify(MODEL, &sample.read()).map_err(|error| match error {
            ClassifyError::Picture(_) => Error::invalid_input(error),
            ClassifyError::Nn { .. } | ClassifyError::Scores { .. } => Error::internal(error),
        })?;
        let class = |(label, score): (&str, f32)| Class {
            label: label.into(),
            index: u32::from(label != "0"),
            score,
        };
        Ok(Insight::Classes(classes.into_iter().map(class).collect()))
    }
}

hotshoe_sdk::stage!(ClassicStage);
