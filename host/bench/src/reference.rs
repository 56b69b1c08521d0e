//! The Python package that reads the same pages with ONNX Runtime, in a separate process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::python::Python;

const SCRIPT: &str = include_str!("rapidocr.py");

/// A child process that reads a picture on request.
pub(crate) struct Reference {
    python: Python,
    name: String,
}

impl Reference {
    /// Starts it and reads the picture once to warm up. None if this Python lacks the package.
    pub(crate) fn start(python: &Path, picture: &Path) -> anyhow::Result<Option<Self>> {
        let started = Python::start(python, SCRIPT, &[picture])?;
        Ok(started.map(|python| Self {
            name: format!("rapidocr-onnxruntime {}, 1 thread", python.version()),
            python,
        }))
    }

    /// The package, its version and its threads.
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
