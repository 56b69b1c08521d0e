//! Measures the memory that a model adds to a process, in a new process: memory that another model freed would hide it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, ensure};
use hotshoe_infer::inspect::probe;
use hotshoe_infer::npz;
use hotshoe_infer::{Backend, OrtOptions};
use serde::{Deserialize, Serialize};

use super::measure::{Side, load};
use super::samples::{self, Sample};
use super::{BackendArg, OrtArgs};
use hotshoe_release::terminal::Terminal;

/// Load a model, run it once, and print the growth of resident memory
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The sample
    #[arg(long, value_name = "FILE")]
    sample: PathBuf,
    #[arg(long, value_name = "BACKEND")]
    backend: BackendArg,
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    #[command(flatten)]
    ort: OrtArgs,
}

/// The output, on one line.
#[derive(Serialize, Deserialize)]
struct Growth {
    /// `None` if the system does not report it.
    bytes: Option<u64>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let backend: Backend = args.backend.into();
    let side = Side {
        file: args.file.clone(),
        title: args.file.clone(),
        backend: Some(backend),
    };
    let ort = args.ort.options();
    // Memory that a backend needs once for all models does not count.
    probe(backend, &ort).map_err(|reason| anyhow!("{backend} cannot run a model: {reason}"))?;
    let before = resident_bytes();
    let (model, _) = load(&side, args.threads, &ort)?;
    let sample = samples::read_file(&args.sample, &model)?;
    model
        .run(&sample.inputs())
        .context("the model failed on the sample")?;
    let bytes = resident_bytes()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    terminal.json_line(&Growth { bytes })?;
    Ok(ExitCode::SUCCESS)
}

/// The resident memory of this process, on Linux.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

/// Runs this program again, for one model.
pub(super) fn measure(
    side: &Side,
    backend: Backend,
    sample: &Sample,
    threads: usize,
    ort: &OrtOptions,
) -> anyhow::Result<Option<u64>> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let path = folder.path().join("sample.npz");
    let written = File::create(&path).context("cannot write a sample")?;
    npz::write(written, &sample.inputs).context("cannot write a sample")?;
    let program = std::env::current_exe().context("cannot determine the path of this program")?;
    let mut command = Command::new(program);
    command
        .args(["model", "memory"])
        .arg(&side.file)
        .arg("--sample")
        .arg(&path)
        .args(["--backend", &backend.to_string()])
        .args(["--threads", &threads.to_string()])
        .stdin(Stdio::null());
    if let Some(library) = &ort.library {
        command.arg("--ort-library").arg(library);
    }
    let output = command
        .output()
        .context("cannot start the measuring process")?;
    ensure!(
        output.status.success(),
        "{} could not be measured: {}",
        side.title.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let growth: Growth = serde_json::from_slice(&output.stdout)
        .context("the measuring process printed something else")?;
    Ok(growth.bytes)
}
