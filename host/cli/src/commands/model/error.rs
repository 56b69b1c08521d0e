use std::path::PathBuf;

use hotshoe_infer::{LoadError, RunError};
use thiserror::Error;

/// Errors of the `model` commands.
#[derive(Debug, Error)]
pub(crate) enum ModelError {
    /// The file is larger than a model of a release may be.
    #[error("{} has {bytes} bytes, over the limit of {limit}; use a smaller model", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The backend cannot load the model.
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
    /// The model failed on a sample.
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
    /// The two models have different inputs or outputs.
    #[error(
        "the two models have different {what}: {first}, and {second}; only models with the same {what} can be compared"
    )]
    Different {
        /// `inputs`, for example.
        what: &'static str,
        /// Those of the first model.
        first: String,
        /// Those of the second model.
        second: String,
    },
    /// The folder has no samples.
    #[error("{} contains no samples; a sample is a .npz with an array for each input, a .npy for a model with one input, or a folder with input_0.pb", folder.display())]
    NoSamples {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has subfolders of samples, as from `hotshoe exec --save-inputs`.
    #[error("{} contains no samples, but its subfolders do; give the one of this model: {}", folder.display(), listed(deeper))]
    DeeperSamples {
        /// The folder.
        folder: PathBuf,
        /// The subfolders with samples.
        deeper: Vec<PathBuf>,
    },
    /// The path is a file instead of a folder.
    #[error("{} is a file; --inputs takes a folder of samples", path.display())]
    SamplesFile {
        /// The file.
        path: PathBuf,
    },
    /// The sample cannot be read.
    #[error("{} cannot be used: {reason}", path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The shape of an input is given more than once.
    #[error("--shape is given more than once for the input \"{input}\"; give it once")]
    RepeatedShape {
        /// The name of the input.
        input: String,
    },
    /// The models do not have this output.
    #[error("the model has no output \"{name}\"; it has {}", known.join(", "))]
    UnknownOutput {
        /// The given name.
        name: String,
        /// The names of the model's outputs.
        known: Vec<String>,
    },
    /// The shape of an input is unknown.
    #[error(
        "the model's input \"{input}\" has open dimensions; give --shape {input}=SIZES, or --inputs"
    )]
    Shape {
        /// The name of the input.
        input: String,
    },
    /// There are no samples to calibrate a model on.
    #[error(
        "INT8 needs samples to calibrate on; give real ones with --inputs, or noise with --synthetic"
    )]
    NoCalibration,
    /// The new model is slower than the one that it would replace.
    #[error(
        "{} is not written: on {backend} it takes {after_ms:.3} ms, and {} takes {before_ms:.3} ms; give --allow-slower to write it anyway, or --backend to measure only one backend",
        out.display(),
        original.display()
    )]
    Slower {
        /// The file to write.
        out: PathBuf,
        /// The original model.
        original: PathBuf,
        /// The backend with the largest ratio.
        backend: String,
        /// Median time of the original, in milliseconds.
        before_ms: f64,
        /// Median time of the new model, in milliseconds.
        after_ms: f64,
    },
    /// Python cannot quantise the model.
    #[error("{} cannot quantise: {reason}", python.display())]
    Python {
        /// The interpreter.
        python: PathBuf,
        /// What it said, and what to do.
        reason: String,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
    paths.join(", ")
}

impl ModelError {
    /// A stable error code.
    pub(crate) fn name(&self) -> &'static str {
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
            Self::NoCalibration => "no_calibration",
            Self::Slower { .. } => "slower_model",
            Self::Python { .. } => "no_quantiser",
        }
    }
}
