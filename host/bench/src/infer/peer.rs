//! ONNX Runtime's own Python package, in a separate process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::subject::BenchModel;
use crate::python::Python;

const SCRIPT: &str = include_str!("../infer.py");

/// A child process that keeps ONNX Runtime sessions.
pub(super) struct Peer {
    python: Python,
    name: String,
}

/// The first result of a new session.
pub(super) struct Loaded {
    /// The time until the first run ended.
    pub first: Duration,
    /// The bytes of each output.
    pub outputs: Vec<(String, Vec<u8>)>,
}

#[derive(Deserialize)]
struct LoadedAnswer {
    first: f64,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    file: std::path::PathBuf,
}

impl Peer {
    /// Starts it. None if this Python lacks the package.
    pub(super) fn start(python: &Path) -> anyhow::Result<Option<Self>> {
        let started = Python::start(python, SCRIPT, &[])?;
        Ok(started.map(|python| Self {
            name: format!("ONNX Runtime {} in Python", python.version()),
            python,
        }))
    }

    /// The package and its version.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The version of the package.
    pub(super) fn version(&self) -> &str {
        self.python.version()
    }

    /// Creates a session with `threads` threads, named after the model, and runs it once.
    pub(super) fn load(&mut self, subject: &BenchModel, threads: usize) -> anyhow::Result<Loaded> {
        let answer = self.python.ask(&json!({
            "load": subject.name,
            "path": subject.path,
            "threads": threads,
            "inputs": subject.for_python(),
            "to": subject.output_files(),
        }))?;
        let answer: LoadedAnswer = serde_json::from_value(answer)
            .with_context(|| format!("Python could not load {}", subject.path.display()))?;
        let read = |output: Output| {
            let bytes = fs::read(&output.file)
                .with_context(|| format!("cannot read {}", output.file.display()))?;
            Ok((output.name, bytes))
        };
        Ok(Loaded {
            first: Duration::try_from_secs_f64(answer.first)?,
            outputs: answer
                .outputs
                .into_iter()
                .map(read)
                .collect::<anyhow::Result<_>>()?,
        })
    }

    /// Runs a session once unmeasured and then `times` times.
    pub(super) fn run(
        &mut self,
        subject: &BenchModel,
        times: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let answer = self
            .python
            .ask(&json!({"run": subject.name, "times": times}))?;
        durations(&answer)
    }

    /// Drops a session.
    pub(super) fn drop_session(&mut self, subject: &BenchModel) -> anyhow::Result<()> {
        self.python.ask(&json!({"drop": subject.name})).map(drop)
    }

    /// Calls a model of a daemon with tritonclient, as `run` does. None if this Python lacks that package.
    pub(super) fn call(
        &mut self,
        door: &str,
        address: &str,
        model: &str,
        inputs: &[Value],
        times: usize,
    ) -> anyhow::Result<Option<Vec<Duration>>> {
        let answer = self.python.ask(&json!({
            "door": door,
            "address": address,
            "model": model,
            "inputs": inputs,
            "times": times,
        }))?;
        if answer.get("missing").is_some() {
            return Ok(None);
        }
        durations(&answer).map(Some)
    }
}

fn durations(answer: &Value) -> anyhow::Result<Vec<Duration>> {
    let Some(seconds) = answer.get("seconds").and_then(Value::as_array) else {
        bail!("Python returned no times");
    };
    seconds
        .iter()
        .map(|seconds| {
            let seconds = seconds.as_f64().context("a time is not a number")?;
            Ok(Duration::try_from_secs_f64(seconds)?)
        })
        .collect()
}
