//! The Python package that reads the same pages with ONNX Runtime, in a separate process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hotshoe_config::InferenceConfig;
use hotshoe_devkit::Environment;
use hotshoe_infer::{BackendChoice, Models, Options, ort_library};
use hotshoe_release::terminal::Terminal;
use serde_json::{Value, json};

use super::infer::library;
use super::page::{PAGE, RELEASE, lines};
use super::python::Python;
use super::report::{Row, Unit};
use super::setup::{BenchSetup, TOTAL, process, sample};
use super::timings::{alternate, timing};

/// Numbers of threads that both sides use.
const THREADS: [usize; 2] = [1, 2];
/// Highest accepted ratio of the page to the package.
const TARGET: f64 = 0.75;

const SCRIPT: &str = include_str!("rapidocr.py");

/// A child process that reads a picture on request.
pub(crate) struct Reference {
    python: Python,
    name: String,
}

impl Reference {
    /// Starts it and reads the picture once to warm up. None if this Python lacks the package.
    pub(crate) fn start(
        python: &Path,
        picture: &Path,
        threads: usize,
    ) -> anyhow::Result<Option<Self>> {
        let number = threads.to_string();
        let started = Python::start(python, SCRIPT, &[picture, Path::new(&number)])?;
        Ok(started.map(|python| Self {
            name: format!("rapidocr-onnxruntime {}", python.version()),
            python,
        }))
    }

    /// The package and its version.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the picture once and returns the time measured by Python.
    pub(crate) fn read(&mut self) -> anyhow::Result<Duration> {
        let answer = self.python.ask(&json!({}))?;
        if answer.get("lines").and_then(Value::as_u64) == Some(0) {
            bail!("{} read nothing", self.name);
        }
        let seconds = answer
            .get("seconds")
            .and_then(Value::as_f64)
            .context("Python returned no time")?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }
}

/// Reads the page with ONNX Runtime alternately with the package, on the same number of threads. No rows without the package or the library.
pub(crate) fn page(
    setup: &BenchSetup<'_>,
    environment: &Environment,
    python: &Path,
    rounds: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let ort = library(environment, terminal);
    if ort_library(&ort).path.is_none() {
        terminal.note(
            "left out: the rows against rapidocr-onnxruntime, since no ONNX Runtime was found",
        );
        return Ok(Vec::new());
    }
    let models = Models::new(Options {
        ort,
        ..Options::default()
    });
    let sample = sample(&setup.picture(PAGE)?);
    let mut expected = None;
    let mut rows = Vec::new();
    for threads in THREADS {
        let picture = environment.picture(PAGE);
        let Some(mut reference) = Reference::start(python, &picture, threads)? else {
            terminal.note(format!(
                "left out: the rows against rapidocr-onnxruntime, which {} cannot import; run `pip install rapidocr-onnxruntime==1.4.4` and set HOTSHOE_PYTHON to that Python",
                python.display()
            ));
            break;
        };
        let inference = InferenceConfig {
            backend: BackendChoice::Ort,
            threads,
            ..InferenceConfig::default()
        };
        let (_, pipeline) = setup.load_with(RELEASE, &models, &inference)?;
        let mut worker = pipeline.worker();
        let ours = || {
            let (decision, timings) = process(&mut worker, &sample)?;
            let found = lines(&decision.insight);
            let first = expected.get_or_insert_with(|| found.clone());
            ensure!(
                found == *first,
                "one reading is {first:?}, another {found:?}"
            );
            Ok(timings)
        };
        let theirs = || Ok(vec![timing(TOTAL, reference.read()?)]);
        let (ours, theirs) = alternate(rounds, ours, theirs)?;
        let what = format!("page with ONNX Runtime, {threads} threads: total");
        rows.push(Row::compared(
            &what,
            Unit::Millis,
            ours.median(TOTAL)?,
            (reference.name(), theirs.median(TOTAL)?),
            Some(TARGET),
        ));
    }
    Ok(rows)
}
