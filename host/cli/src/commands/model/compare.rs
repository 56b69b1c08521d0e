use std::path::PathBuf;
use std::process::ExitCode;

use super::measure::{Comparison, Settings, Side, compare, load};
use super::samples::{self, Sample};
use super::{BackendArg, OrtArgs, ShapeArgs, report};
use crate::terminal::Terminal;
use hotshoe_infer::Model;

/// Timed runs of each model where nothing else is said.
const RUNS: usize = 50;

/// Compare two models, or one model on two backends
///
/// Both run on the same samples. Of an output of probabilities it shows in how many rows both have the same class first, of
/// others the cosine between both; then the sizes, the memory and the times. The drop is what the output that agrees least
/// lacks to 100 %. Memory is by how much a fresh process, whose backend had run another model, grew from before the file was
/// read to after its first run. Times are taken by turns, after both ran every sample once.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").args(["inputs", "synthetic"]).required(true)))]
#[command(after_help = "\
Example: gate a release
  hotshoe exec my-release pages/*.png --trust trust.toml --save-inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples/detect --max-drop 2%

Example: the two backends
  hotshoe model compare detect.onnx detect.onnx --backend-a tract --backend-b ort --synthetic 4 --shape x=1,3,640,640

A sample is a .npz with an array for each input, a .npy for a model with one input, or a folder with input_0.pb as ONNX's test
sets have. Exit code 1 past --max-drop, or if either fails.")]
pub struct Args {
    /// The model to compare with
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The model that may take its place
    #[arg(value_name = "B")]
    second: PathBuf,
    /// What runs the first [default: tract if it can, else ONNX Runtime]
    #[arg(long, value_name = "BACKEND")]
    backend_a: Option<BackendArg>,
    /// What runs the second [default: tract if it can, else ONNX Runtime]
    #[arg(long, value_name = "BACKEND")]
    backend_b: Option<BackendArg>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    gate: GateArgs,
}

/// What the models are run on.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// A folder of samples
    #[arg(long, value_name = "DIR", conflicts_with = "synthetic")]
    pub inputs: Option<PathBuf>,
    /// Samples of noise instead: a quick look, which says little about agreement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub synthetic: Option<u32>,
    #[command(flatten)]
    pub shape: ShapeArgs,
}

impl SourceArgs {
    /// Reads or makes the samples.
    pub fn samples(&self, model: &Model, otherwise: u32) -> anyhow::Result<Vec<Sample>> {
        if let Some(folder) = &self.inputs {
            return samples::read(folder, model);
        }
        let count = self.synthetic.unwrap_or(otherwise);
        samples::synthetic(count as usize, model, &self.shape.shapes())
    }
}

/// How they are compared, and what is allowed.
#[derive(Debug, Clone, clap::Args)]
pub struct GateArgs {
    /// The most that the agreement may drop, such as 2%: exit code 1 past it
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_drop: Option<f64>,
    /// Timed runs of each
    #[arg(long, value_name = "N", default_value_t = RUNS)]
    pub runs: usize,
    /// Threads of one run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// An output whose last axis is classes although it holds no probabilities; may be repeated
    #[arg(long, value_name = "OUTPUT")]
    pub classes: Vec<String>,
    #[command(flatten)]
    pub ort: OrtArgs,
}

impl GateArgs {
    /// As the comparison takes them.
    pub fn settings(&self) -> Settings {
        Settings {
            runs: self.runs,
            threads: self.threads,
            classes: self.classes.iter().cloned().collect(),
            max_drop: self.max_drop,
            ort: self.ort.options(),
        }
    }
}

pub fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let first = Side {
        file: args.first.clone(),
        backend: args.backend_a.map(Into::into),
    };
    let second = Side {
        file: args.second.clone(),
        backend: args.backend_b.map(Into::into),
    };
    let comparison = of(&first, &second, &args.source, &args.gate, 0, terminal)?;
    if terminal.json {
        terminal.json(&comparison)?;
    } else {
        report::print(&comparison, terminal)?;
    }
    Ok(if comparison.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Loads both and compares them; `otherwise` is how many samples are made up where the user names none.
pub fn of(
    first: &Side,
    second: &Side,
    source: &SourceArgs,
    gate: &GateArgs,
    otherwise: u32,
    terminal: &Terminal,
) -> anyhow::Result<Comparison> {
    let settings = gate.settings();
    let a = load(first, settings.threads, &settings.ort)?;
    let b = load(second, settings.threads, &settings.ort)?;
    let samples = source.samples(&a.0, otherwise)?;
    compare(
        [first, second],
        [&a, &b],
        &samples,
        &settings,
        &terminal.progress(),
    )
}

/// `2%` or `0.02`.
fn share(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|it| it / 100.0),
        None => text.parse(),
    };
    match value {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is from 0% to 100%, such as 2% or 0.02".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        assert_eq!(share("2%"), Ok(0.02));
        assert_eq!(share("0.5"), Ok(0.5));
        for wrong in ["2", "-1%", "x", "%", "nan"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
