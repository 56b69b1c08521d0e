use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_infer::fold::{Folded, fold};
use serde::Serialize;

use super::compare::{ComparisonPlan, Comparisons, GateArgs, LoadedModel, SourceArgs};
use super::measure::{SLOWER, Side};
use super::quantise::{Made, Quantiser};
use super::{BackendArg, ModelError, read_model};
use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::terminal::{Terminal, size};

/// The default number of noise samples.
const SAMPLES: u32 = 4;

/// Simplify or shrink a model, without training
///
/// Fixes input shapes (--shape), folds constants and removes nodes without effect. With --int8 the onnxruntime.quantization of Python then
/// quantises large layers, calibrated on the samples; OUT is not written if it is slower on a backend that is found. The result
/// is always compared with the original, on each backend: on the samples of --inputs, or on noise (4 samples, unless --synthetic is
/// given), which needs --shape for inputs with open dimensions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe model optimise classify.onnx -o classify-fixed.onnx --shape x=1,3,48,192
  hotshoe model optimise recognise.onnx -o recognise-int8.onnx --int8 --inputs samples/recognise --max-drop 2%

Exit code 1 past --max-drop; OUT is then not written, unless --keep is given. Several forms of INT8 are tried: the fastest is written.
--int8 needs: pip install onnxruntime onnx")]
pub(super) struct Args {
    /// The ONNX file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
    /// Static 8-bit quantisation of large layers; needs --inputs (or --synthetic)
    #[arg(long)]
    int8: bool,
    /// The Python interpreter, with onnxruntime and onnx
    #[arg(
        long,
        value_name = "FILE",
        env = "HOTSHOE_PYTHON",
        default_value = "python3"
    )]
    python: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    gate: GateArgs,
    /// The only backend to compare on [default: each that is found]
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendArg>,
    /// Write OUT even past --max-drop
    #[arg(long)]
    keep: bool,
    /// Write OUT even if INT8 is slower
    #[arg(long, requires = "int8")]
    allow_slower: bool,
    /// Overwrite an existing OUT
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    out: &'a Path,
    /// Whether OUT was written.
    kept: bool,
    #[serde(flatten)]
    folded: &'a Folded,
    int8: bool,
    bytes_before: u64,
    bytes_after: u64,
    comparison: Comparisons,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    check_out(&args.out, args.force)?;
    let before = read_model(&args.file)?;
    let folded = fold(&before, &args.source.shape.shapes()?)
        .with_context(|| format!("cannot simplify {}", args.file.display()))?;
    let side = |file: &Path, title: &Path| Side {
        file: file.to_owned(),
        title: title.to_owned(),
        backend: args.backend.map(Into::into),
    };
    if args.int8 && args.source.inputs.is_none() && args.source.synthetic.is_none() {
        return Err(ModelError::NoCalibration.into());
    }
    let first = side(&args.file, &args.file);
    let firsts = match first.backend {
        Some(_) => vec![LoadedModel::load(first, &args.gate)?],
        None => LoadedModel::on_each_backend(&first, &args.gate)?,
    };
    let plan = ComparisonPlan::new(&firsts, &args.source, &args.gate, SAMPLES)?;
    let compare = |made: &Path| {
        let compared = firsts.iter().map(|first| {
            let second = first.load_like(&side(made, &args.out), &args.gate)?;
            plan.compare(first, &second, terminal)
        });
        Comparisons::new(compared.collect::<anyhow::Result<_>>()?)
    };
    // Compare before the file gets its name, so that a file that did not pass is never used.
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let file = folder.path().join("simplified.onnx");
    fs::write(&file, &folded.bytes).context("cannot write a temporary file")?;
    let made = if args.int8 {
        let quantiser = Quantiser {
            python: &args.python,
            from: &file,
            folder: folder.path(),
            samples: plan.samples(),
        };
        quantiser.best(compare, terminal)
    } else {
        compare(&file).map(|comparisons| Made { file, comparisons })
    };
    let Made { file, comparisons } =
        made.with_context(|| format!("{} is not written", args.out.display()))?;
    let passed = comparisons.passed();
    let kept = passed || args.keep;
    let slowest = comparisons.slowest();
    if args.int8 && kept && slowest.time_ratio > SLOWER && !args.allow_slower {
        return Err(ModelError::Slower {
            out: args.out.clone(),
            original: args.file.clone(),
            backend: slowest.second.backend.to_string(),
            before_ms: slowest.first.p50_ms,
            after_ms: slowest.second.p50_ms,
        }
        .into());
    }
    let after = read_model(&file)?;
    if kept {
        write_new(&args.out, &after, Readers::Anyone, args.force)?;
    }
    let report = Report {
        out: &args.out,
        kept,
        folded: &folded,
        int8: args.int8,
        bytes_before: before.len() as u64,
        bytes_after: after.len() as u64,
        comparison: comparisons,
    };
    print(&report, terminal)?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks that the file can be written, before the work. Does not create folders.
fn check_out(out: &Path, force: bool) -> anyhow::Result<()> {
    let name = out.display();
    if out.is_dir() || out.file_name().is_none() {
        bail!("{name} is a folder; name the file to write");
    }
    if out.exists() && !force {
        bail!("{name} already exists; give --force to overwrite it");
    }
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!(
            "cannot write {name}: there is no folder {}; create it first",
            folder.display()
        );
    }
    tempfile::tempfile_in(folder).with_context(|| format!("cannot write {name}"))?;
    Ok(())
}

fn print(report: &Report<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(report);
    }
    let folded = report.folded;
    for (name, shape) in &folded.fixed {
        terminal.print(format!("the input {name} is fixed to {shape:?}"))?;
    }
    terminal.print(format!(
        "{} nodes folded, {} constants made weights, {} nodes removed, {} unused nodes and weights removed: {} nodes before, {} after",
        folded.computed,
        folded.moved,
        folded.passed_through,
        folded.unused,
        folded.nodes_before,
        folded.nodes_after
    ))?;
    if report.int8 {
        terminal.print("large layers compute with 8-bit integers, calibrated on the samples")?;
    }
    terminal.print(format!(
        "{} before, {} after\n",
        size(report.bytes_before),
        size(report.bytes_after)
    ))?;
    report.comparison.print(["before", "after"], terminal)?;
    if report.kept {
        terminal.print(format!(
            "{} {}",
            terminal.good("written"),
            report.out.display()
        ))
    } else {
        let text = format!(
            "{} is not written; give --keep to write it anyway",
            report.out.display()
        );
        terminal.print(terminal.bad(&text))
    }
}
