#![forbid(unsafe_code)]
//! The label reader without WebAssembly: the same algorithms, pixels and models as the components, linked into one program. The benches
//! measure the components against it.

mod line;
mod reader;

use hotshoe_infer::{Model, RunError, Tensor, TensorError};
use hotshoe_vision::{Channels, DecodeError, Layout, Normalisation, VisionError};
use label_reader::{ModelOutputError, ctc};

pub use line::{AngleClass, Line, NativeClassifier, NativeRecogniser};
pub use reader::{ModelTimes, NativeReader};

/// How pixels become elements: BGR values from -1 to 1.
pub const NORMALISATION: Normalisation = Normalisation {
    layout: Layout::Nchw,
    channels: Channels::Bgr,
    scale: 1.0 / 255.0,
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Name of the one input that each of the three models has.
const INPUT: &str = "x";

/// A picture that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The bytes are not a picture.
    #[error("the picture cannot be decoded")]
    Decode(#[from] DecodeError),
    /// An operation on pixels failed.
    #[error("the picture cannot be prepared")]
    Vision(#[from] VisionError),
    /// Pixels and shape do not fit.
    #[error("the model's input or output cannot be handled")]
    Tensor(#[from] TensorError),
    /// A model failed.
    #[error("the model cannot be run")]
    Run(#[from] RunError),
    /// A model is another one than expected.
    #[error(transparent)]
    Output(#[from] ModelOutputError),
    /// The recogniser's file has no character list.
    #[error(
        "the recogniser has no entry `{}` in its metadata; use the model that this code is made for",
        ctc::CHARACTERS_KEY
    )]
    NoCharacters,
    /// A model without outputs.
    #[error("the model has no output")]
    NoOutput,
}

/// Runs a model that has one input, and takes its first output.
fn run_model(model: &Model, input: &Tensor) -> Result<Tensor, NativeError> {
    let outputs = model.run(&[(INPUT, input)])?;
    let first = outputs.into_iter().next();
    first.map(|(_, output)| output).ok_or(NativeError::NoOutput)
}

/// The recogniser's character list.
fn alphabet(recogniser: &Model) -> Result<ctc::Alphabet, NativeError> {
    recogniser
        .metadata(ctc::CHARACTERS_KEY)
        .map(ctc::Alphabet::parse)
        .ok_or(NativeError::NoCharacters)
}
