//! A Python program in a separate process that answers JSON lines.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use serde_json::Value;

/// A child process, stopped when dropped.
pub(crate) struct Python {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl Python {
    /// Starts a program, which reports the `version` of the package that it measures. None if this Python lacks a package that
    /// the program needs.
    pub(crate) fn start(
        python: &Path,
        program: &str,
        arguments: &[&Path],
    ) -> anyhow::Result<Option<Self>> {
        let spawned = Command::new(python)
            .arg("-c")
            .arg(program)
            .args(arguments)
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
            .context("cannot communicate with Python")?;
        let mut python = Self {
            child,
            requests,
            answers: BufReader::new(answers),
            version: String::new(),
        };
        let Ok(ready) = python.answer() else {
            return Ok(None);
        };
        let Some(version) = ready.get("version").and_then(Value::as_str) else {
            return Ok(None);
        };
        python.version = version.to_owned();
        Ok(Some(python))
    }

    /// The version that the program reported.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Sends a line and waits for the answer.
    pub(crate) fn ask(&mut self, request: &Value) -> anyhow::Result<Value> {
        writeln!(self.requests, "{request}").context("Python ended")?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("Python ended")?;
        serde_json::from_str(&line).context("Python returned an unexpected answer")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
