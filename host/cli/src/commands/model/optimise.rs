use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use hotshoe_infer::fold::{Folded, fold};
use serde::Serialize;

use super::compare::{ComparisonPlan, GateArgs, LoadedModel, SourceArgs};
use super::measure::{Comparison, Side};
use super::{BackendArg, ModelError, read_model, report};
use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::terminal::{Terminal, size};

/// The quantisation script, run by Python.
const QUANTISE: &str = include_str!("quantise.py");
/// The script's exit code if a package is missing.
const NO_PACKAGE: i32 = 3;
/// The default number of noise samples.
const SAMPLES: u32 = 4;

/// Simplify or shrink a model, without training
///
/// Fixes input shapes (--shape), folds constants and removes nodes without effect. With --int8 it then stores weights as 8-bit integers
/// and quantises activations dynamically, with the onnxruntime.quantization of Python; ONNX Runtime is made for such models, tract runs
/// them slowly. The result is always compared with the original: on the samples of --inputs, or on noise (4 samples, unless --synthetic
/// is given), which needs --shape for inputs with open dimensions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe model optimise classify.onnx -o classify-fixed.onnx --shape x=1,3,48,192
  hotshoe model optimise recognise.onnx -o recognise-int8.onnx --int8 --inputs samples/recognise --max-drop 2%

Exit code 1 past --max-drop; OUT is then not written, unless --keep is given. --int8 needs: pip install onnxruntime onnx")]
pub(super) struct Args {
    /// The ONNX file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
    /// Store weights as 8-bit integers
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
    /// The backend of the comparison [default: tract if it can, else ONNX Runtime]
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendArg>,
    /// Write OUT even past --max-drop
    #[arg(long)]
    keep: bool,
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
    comparison: Comparison,
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
    let first = LoadedModel::load(side(&args.file, &args.file), &args.gate)?;
    let plan = ComparisonPlan::new(&first, &args.source, &args.gate, SAMPLES)?;
    // Compare before the file gets its name, so that a file that did not pass is never used.
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut made = folder.path().join("simplified.onnx");
    fs::write(&made, &folded.bytes).context("cannot write a temporary file")?;
    if args.int8 {
        let quantised = folder.path().join("int8.onnx");
        quantise(args, &made, &quantised, terminal)?;
        made = quantised;
    }
    let after = read_model(&made)?;
    let comparison = LoadedModel::load(side(&made, &args.out), &args.gate)
        .and_then(|second| plan.compare(&first, &second, terminal))
        .with_context(|| format!("{} is not written", args.out.display()))?;
    let kept = comparison.passed || args.keep;
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
        comparison,
    };
    print(&report, terminal)?;
    Ok(if report.comparison.passed {
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
        terminal.print("weights are 8-bit integers; activations are quantised dynamically")?;
    }
    terminal.print(format!(
        "{} before, {} after\n",
        size(report.bytes_before),
        size(report.bytes_after)
    ))?;
    report::print(&report.comparison, ["before", "after"], terminal)?;
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

fn quantise(args: &Args, from: &Path, to: &Path, terminal: &Terminal) -> anyhow::Result<()> {
    let python = &args.python;
    let wrong = |reason: String| ModelError::Python {
        python: python.clone(),
        reason,
    };
    let task = terminal.progress().spinner("quantising");
    let output = Command::new(python)
        .args(["-c", QUANTISE])
        .args([from, to])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            wrong(format!(
                "it does not start ({error}); give another with --python"
            ))
        })?;
    if output.status.success() {
        task.done("done");
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .replace(&*from.to_string_lossy(), &args.file.to_string_lossy())
        .replace(&*to.to_string_lossy(), &args.out.to_string_lossy());
    let reason = if output.status.code() == Some(NO_PACKAGE) {
        format!("{last}; pip install onnxruntime onnx")
    } else {
        format!(
            "{last}; the model may use operators that onnxruntime.quantization does not support"
        )
    };
    Err(wrong(reason).into())
}
