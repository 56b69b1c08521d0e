use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use hotshoe_infer::{Backend, Model};
use serde::Serialize;

use super::measure::{Comparison, Settings, Side, check_classes, compare, load};
use super::samples::{self, Sample};
use super::{BackendArg, OrtArgs, ShapeArgs, report};
use hotshoe_release::terminal::Terminal;

/// The default number of timed runs per model.
const RUNS: u32 = 50;
/// The most threads of one run: more than any device has processors.
const MAX_THREADS: i64 = 1_024;

/// Compare two models, or one model on two backends
///
/// Runs both models on the same samples and shows the agreement of each output, which model is faster, and the size, memory and time of
/// each. Without --backend-a and --backend-b it does so on each backend that is found and runs both. The drop is 100 % minus the lowest
/// agreement; an output that is not a number fails. Memory is the growth of a new process, whose backend has
/// run another model, from before it reads the file to after its first run. Timed runs alternate, after both models ran every sample
/// once.
///
/// Agreement, by type of output:
///
/// - probabilities: the share of rows with the same top class
///
/// - integers: the share of equal elements
///
/// - other numbers: the minimum of the cosine similarity, the ratio of the magnitudes, and 1 minus the difference of the means over the
///   larger root mean square; each slice along a channel axis by itself (the last axis, or the one after the batch, up to 128); differences up to 0.000001 do not count
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").args(["inputs", "synthetic"]).required(true)))]
#[command(after_help = "\
Example: gate a release
  hotshoe exec my-release pages/*.png --trust trust.toml --save-inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples/detect --max-drop 2%

Example: the two backends
  hotshoe model compare detect.onnx detect.onnx --backend-a tract --backend-b ort --synthetic 4 --shape x=1,3,640,640

A sample is a .npz with an array for each input, a .npy for a model with one input, or a folder with input_0.pb as in ONNX's test
sets. Exit code 1 past --max-drop, if a model fails, and if an output is not a number.")]
pub(super) struct Args {
    /// The reference model
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The model that may replace it
    #[arg(value_name = "B")]
    second: PathBuf,
    /// The backend of A [default: each that runs both models; with --backend-b tract if it can, else ONNX Runtime]
    #[arg(long, value_name = "BACKEND")]
    backend_a: Option<BackendArg>,
    /// The backend of B [default: each that runs both models; with --backend-a tract if it can, else ONNX Runtime]
    #[arg(long, value_name = "BACKEND")]
    backend_b: Option<BackendArg>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    gate: GateArgs,
}

/// The options for samples.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SourceArgs {
    /// A folder of samples, such as DIR/MODEL of `hotshoe exec --save-inputs DIR`, or a recording of `hotshoe record`
    #[arg(long, value_name = "DIR", conflicts_with = "synthetic")]
    pub inputs: Option<PathBuf>,
    /// Number of noise samples instead: quick, but says little about agreement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub synthetic: Option<u32>,
    #[command(flatten)]
    pub shape: ShapeArgs,
}

impl SourceArgs {
    /// Reads or generates the samples.
    pub(super) fn samples(&self, model: &Model, otherwise: u32) -> anyhow::Result<Vec<Sample>> {
        if let Some(folder) = &self.inputs {
            return samples::read(folder, model);
        }
        let count = self.synthetic.unwrap_or(otherwise);
        samples::synthetic(count as usize, model, &self.shape.shapes()?)
    }
}

/// The options for the comparison and its limit.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GateArgs {
    /// Maximum drop of the agreement, such as 2%; exit code 1 past it
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_drop: Option<f64>,
    /// Timed runs per model
    #[arg(long, value_name = "N", default_value_t = RUNS, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Threads per run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_THREADS))]
    pub threads: u32,
    /// An output whose last axis is classes but not probabilities; may be repeated
    #[arg(long, value_name = "OUTPUT")]
    pub classes: Vec<String>,
    #[command(flatten)]
    pub ort: OrtArgs,
}

impl GateArgs {
    /// The settings of the comparison.
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

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let side = |file: &Path, backend: Option<BackendArg>| Side {
        file: file.to_owned(),
        title: file.to_owned(),
        backend: backend.map(Into::into),
    };
    let (first, second) = (
        side(&args.first, args.backend_a),
        side(&args.second, args.backend_b),
    );
    let everywhere = args.backend_a.is_none() && args.backend_b.is_none();
    let firsts = if everywhere {
        LoadedModel::on_each_backend(&first, &args.gate)?
    } else {
        vec![LoadedModel::load(first, &args.gate)?]
    };
    let plan = ComparisonPlan::new(&firsts, &args.source, &args.gate, 0)?;
    let mut comparisons = Vec::new();
    for first in firsts.iter().filter(|_| everywhere) {
        // B may be for one backend alone.
        if let Ok(second) = first.load_like(&second, &args.gate) {
            comparisons.push(plan.compare(first, &second, terminal)?);
        }
    }
    if comparisons.is_empty() {
        let second = LoadedModel::load(second, &args.gate)?;
        for first in firsts.iter().take(1) {
            comparisons.push(plan.compare(first, &second, terminal)?);
        }
    }
    let comparisons = Comparisons::new(comparisons)?;
    if terminal.json {
        terminal.json(&comparisons)?;
    } else {
        comparisons.print(["A", "B"], terminal)?;
    }
    Ok(if comparisons.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The comparisons on all backends.
#[derive(Serialize)]
pub(super) struct Comparisons {
    #[serde(flatten)]
    first: Comparison,
    /// Those on other backends than the first.
    others: Vec<Comparison>,
}

impl Comparisons {
    /// # Errors
    /// If the list is empty.
    pub(super) fn new(comparisons: Vec<Comparison>) -> anyhow::Result<Self> {
        let mut all = comparisons.into_iter();
        let first = all.next().context("no backend runs the models")?;
        let others = all.collect();
        Ok(Self { first, others })
    }

    fn all(&self) -> impl Iterator<Item = &Comparison> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether the models agree on every backend.
    pub(super) fn passed(&self) -> bool {
        self.all().all(|it| it.passed)
    }

    /// The one in which the second model is slowest, relative to the first model.
    pub(super) fn slowest(&self) -> &Comparison {
        self.others.iter().fold(&self.first, |slowest, it| {
            if it.time_ratio > slowest.time_ratio {
                it
            } else {
                slowest
            }
        })
    }

    pub(super) fn print(&self, names: [&str; 2], terminal: &Terminal) -> anyhow::Result<()> {
        for (position, comparison) in self.all().enumerate() {
            if position > 0 {
                terminal.print("")?;
            }
            report::print(comparison, names, terminal)?;
        }
        Ok(())
    }
}

/// A model that is loaded for a comparison.
pub(super) struct LoadedModel {
    side: Side,
    /// The model, and its size on disk in bytes.
    model: (Arc<Model>, u64),
}

impl LoadedModel {
    /// Loads the model.
    pub(super) fn load(side: Side, gate: &GateArgs) -> anyhow::Result<Self> {
        let model = load(&side, gate.threads as usize, &gate.ort.options())?;
        Ok(Self { side, model })
    }

    /// The model on each backend that is found and loads it: at least one.
    pub(super) fn on_each_backend(side: &Side, gate: &GateArgs) -> anyhow::Result<Vec<Self>> {
        let on = |backend| {
            let backend = Some(backend);
            let side = Side {
                backend,
                ..side.clone()
            };
            Self::load(side, gate)
        };
        match (on(Backend::Tract), on(Backend::Ort)) {
            // The error of tract is more useful than that of a missing ONNX Runtime.
            (Err(error), Err(_)) => Err(error),
            (tract, ort) => Ok([tract, ort].into_iter().flatten().collect()),
        }
    }

    /// Loads another model on the backend of this one.
    pub(super) fn load_like(&self, side: &Side, gate: &GateArgs) -> anyhow::Result<Self> {
        let backend = Some(self.model.0.backend());
        let side = Side {
            backend,
            ..side.clone()
        };
        Self::load(side, gate)
    }
}

/// The samples and settings of a comparison. Made with the first model, so that errors show before any work.
pub(super) struct ComparisonPlan {
    samples: Vec<Sample>,
    settings: Settings,
}

impl ComparisonPlan {
    /// `otherwise` is the number of noise samples if the user gives none.
    pub(super) fn new(
        firsts: &[LoadedModel],
        source: &SourceArgs,
        gate: &GateArgs,
        otherwise: u32,
    ) -> anyhow::Result<Self> {
        let settings = gate.settings(source.inputs.is_none());
        let first = firsts.first().context("no backend runs the model")?;
        check_classes(&first.model.0, &settings.classes)?;
        let samples = source.samples(&first.model.0, otherwise)?;
        Ok(Self { samples, settings })
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Runs and compares both models.
    pub(super) fn compare(
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

/// Parses `2%` or `0.02`.
fn share(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|it| it / 100.0),
        None => text.parse(),
    };
    match value {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0% to 100%, such as 2% or 0.02".to_owned()),
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
