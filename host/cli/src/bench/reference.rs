//! The Python package that reads the same pages with ONNX Runtime, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

const SCRIPT: &str = include_str!("rapidocr.py");

/// A child process that reads a picture each time it is asked to; ended when it is dropped.
pub struct Reference {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    name: String,
}

impl Reference {
    /// Starts it, with the picture read once to warm up. None where this Python does not have the package.
    pub fn start(python: &Path, picture: &Path) -> anyhow::Result<Option<Self>> {
        let spawned = Command::new(python)
            .arg("-c")
            .arg(SCRIPT)
            .arg(picture)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = spawned else {
            return Ok(None);
        };
        let (requests, answers) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .context("cannot talk to Python")?;
        let mut reference = Self {
            child,
            requests,
            answers: BufReader::new(answers),
            name: String::new(),
        };
        let Ok(ready) = reference.answer() else {
            return Ok(None);
        };
        let Some(version) = ready.get("version").and_then(Value::as_str) else {
            return Ok(None);
        };
        reference.name = format!("rapidocr-onnxruntime {version}, 1 thread");
        Ok(Some(reference))
    }

    /// The package and how it is run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the picture once; the time that it took, as Python measured it.
    pub fn read(&mut self) -> anyhow::Result<Duration> {
        writeln!(self.requests).context("Python ended")?;
        let answer = self.answer()?;
        if answer.get("lines").and_then(Value::as_u64) == Some(0) {
            bail!("{} read nothing", self.name);
        }
        let seconds = answer
            .get("seconds")
            .and_then(Value::as_f64)
            .context("Python did not say how long it took")?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("Python ended")?;
        serde_json::from_str(&line).context("Python said something else than expected")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
