use std::path::PathBuf;

use hotshoe_infer::{LoadError, RunError};
use thiserror::Error;

/// What is wrong with models and samples that a `model` command was given.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file is larger than a release's model may be.
    #[error("{} has {bytes} bytes, over the limit of {limit}; use a smaller model", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The highest number of bytes.
        limit: u64,
    },
    /// A backend does not take it.
    #[error("{backend} cannot run {}; `hotshoe model inspect` says which backends can", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The backend.
        backend: String,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// It fails on a sample.
    #[error("{} failed on {sample}", path.display())]
    Run {
        /// The model.
        path: PathBuf,
        /// The sample.
        sample: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// Two models that do not do the same.
    #[error(
        "the two models differ in their {what}: {first}, and {second}; only models with the same can be compared"
    )]
    Different {
        /// `inputs`, for example.
        what: &'static str,
        /// Of the first.
        first: String,
        /// Of the second.
        second: String,
    },
    /// A folder without samples.
    #[error("{} holds no samples; a sample is a .npz with an array for each input, a .npy for a model with one input, or a folder with input_0.pb", folder.display())]
    NoSamples {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder of folders, as `hotshoe exec --save-inputs` makes it.
    #[error("{} holds no samples, but folders in it do; give the one of this model: {}", folder.display(), listed(deeper))]
    DeeperSamples {
        /// The folder.
        folder: PathBuf,
        /// Those in it.
        deeper: Vec<PathBuf>,
    },
    /// A file in place of a folder.
    #[error("{} is a file; --inputs takes a folder of samples", path.display())]
    SamplesFile {
        /// The file.
        path: PathBuf,
    },
    /// A sample that cannot be read.
    #[error("{} cannot be used: {reason}", path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A shape that was given more than once.
    #[error("--shape is given more than once for the input \"{input}\"; give it once")]
    RepeatedShape {
        /// Its name.
        input: String,
    },
    /// An output that the models do not have.
    #[error("the model has no output \"{name}\"; it has {}", known.join(", "))]
    UnknownOutput {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An input whose shape nobody can guess.
    #[error(
        "the model's input \"{input}\" has open dimensions; give --shape {input}=SIZES, or --inputs"
    )]
    Shape {
        /// Its name.
        input: String,
    },
    /// Python lacks what quantises.
    #[error("{} cannot quantise: {reason}", python.display())]
    Python {
        /// The interpreter.
        python: PathBuf,
        /// What it said, and the way out.
        reason: String,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
    paths.join(", ")
}

impl ModelError {
    /// A stable word for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Load { .. } => "not_loadable",
            Self::Run { .. } => "run_failed",
            Self::Different { .. } => "different_models",
            Self::NoSamples { .. } | Self::DeeperSamples { .. } => "no_samples",
            Self::SamplesFile { .. } => "no_folder",
            Self::RepeatedShape { .. } => "repeated_shape",
            Self::UnknownOutput { .. } => "unknown_output",
            Self::Sample { .. } => "bad_sample",
            Self::Shape { .. } => "open_shape",
            Self::Python { .. } => "no_quantiser",
        }
    }
}
