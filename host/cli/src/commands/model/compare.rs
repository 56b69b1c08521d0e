use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::measure::{Comparison, Settings, Side, check_classes, compare, load};
use super::samples::{self, Sample};
use super::{BackendArg, OrtArgs, ShapeArgs, report};
use crate::terminal::Terminal;
use hotshoe_infer::Model;

/// Timed runs of each model where nothing else is said.
const RUNS: u32 = 50;
/// Most threads of one run: more than the processors of any device.
const MAX_THREADS: i64 = 1_024;

/// Compare two models, or one model on two backends
///
/// Both run on the same samples. Of an output of probabilities it shows in how many rows both have the same class first; of
/// whole numbers, how many are equal; of others the least of three shares: the cosine between both, the smaller magnitude as a
/// part of the larger, and what the difference of their means leaves of the larger root mean square. Where an output has at
/// most 16 columns, each is compared by itself. What differs nowhere by more than 0.000001 is the same. Then the sizes, the
/// memory and the times. The drop is what the output that agrees least lacks to 100 %; what is not a number fails. Memory is
/// by how much a fresh process, whose backend had run another model, grew from before the file was read to after its first
/// run. Times are taken by turns, after both ran every sample once.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").args(["inputs", "synthetic"]).required(true)))]
#[command(after_help = "\
Example: gate a release
  hotshoe exec my-release pages/*.png --trust trust.toml --save-inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples/detect --max-drop 2%

Example: the two backends
  hotshoe model compare detect.onnx detect.onnx --backend-a tract --backend-b ort --synthetic 4 --shape x=1,3,640,640

A sample is a .npz with an array for each input, a .npy for a model with one input, or a folder with input_0.pb as ONNX's test
sets have. Exit code 1 past --max-drop, if either fails, and if what either gives is not a number.")]
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
    /// A folder of samples, such as DIR/MODEL of `hotshoe exec --save-inputs DIR`, or what `hotshoe record` wrote
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
        samples::synthetic(count as usize, model, &self.shape.shapes()?)
    }
}

/// How they are compared, and what is allowed.
#[derive(Debug, Clone, clap::Args)]
pub struct GateArgs {
    /// The most that the agreement may drop, such as 2%: exit code 1 past it
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_drop: Option<f64>,
    /// Timed runs of each
    #[arg(long, value_name = "N", default_value_t = RUNS, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Threads of one run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_THREADS))]
    pub threads: u32,
    /// An output whose last axis is classes although it holds no probabilities; may be repeated
    #[arg(long, value_name = "OUTPUT")]
    pub classes: Vec<String>,
    #[command(flatten)]
    pub ort: OrtArgs,
}

impl GateArgs {
    /// As the comparison takes them.
    fn settings(&self, synthetic: bool) -> Settings {
        Settings {
            runs: self.runs as usize,
            threads: self.threads as usize,
            classes: self.classes.iter().cloned().collect(),
            max_drop: self.max_drop,
            synthetic,
            ort: self.ort.options(),
        }
    }
}

pub fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let side = |file: &Path, backend: Option<BackendArg>| Side {
        file: file.to_owned(),
        title: file.to_owned(),
        backend: backend.map(Into::into),
    };
    let first = LoadedModel::load(side(&args.first, args.backend_a), &args.gate)?;
    let plan = ComparisonPlan::new(&first, &args.source, &args.gate, 0)?;
    let second = LoadedModel::load(side(&args.second, args.backend_b), &args.gate)?;
    let comparison = plan.compare(&first, &second, terminal)?;
    if terminal.json {
        terminal.json(&comparison)?;
    } else {
        report::print(&comparison, ["A", "B"], terminal)?;
    }
    Ok(if comparison.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A model that is loaded for its comparison.
pub struct LoadedModel {
    side: Side,
    /// With its size on disk.
    model: (Arc<Model>, u64),
}

impl LoadedModel {
    /// Loads it.
    pub fn load(side: Side, gate: &GateArgs) -> anyhow::Result<Self> {
        let model = load(&side, gate.threads as usize, &gate.ort.options())?;
        Ok(Self { side, model })
    }
}

/// What two models are compared on, made with the first of them, so that what is wrong shows before any work.
pub struct ComparisonPlan {
    samples: Vec<Sample>,
    settings: Settings,
}

impl ComparisonPlan {
    /// `otherwise` is how many samples are made up where the user names none.
    pub fn new(
        first: &LoadedModel,
        source: &SourceArgs,
        gate: &GateArgs,
        otherwise: u32,
    ) -> anyhow::Result<Self> {
        let settings = gate.settings(source.inputs.is_none());
        check_classes(&first.model.0, &settings.classes)?;
        let samples = source.samples(&first.model.0, otherwise)?;
        Ok(Self { samples, settings })
    }

    /// Runs both.
    pub fn compare(
        &self,
        first: &LoadedModel,
        second: &LoadedModel,
        terminal: &Terminal,
    ) -> anyhow::Result<Comparison> {
        compare(
            [&first.side, &second.side],
            [&first.model, &second.model],
            &self.samples,
            &self.settings,
            &terminal.progress(),
        )
    }
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
