//! Static INT8 quantisation by the onnxruntime.quantization of Python, in several forms, of which the fastest that passes is used.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use hotshoe_infer::npz;

use super::ModelError;
use super::compare::Comparisons;
use super::samples::Sample;
use hotshoe_release::terminal::Terminal;

/// The quantisation script, run by Python.
const SCRIPT: &str = include_str!("quantise.py");
/// The script's exit code if a package is missing.
const NO_PACKAGE: i32 = 3;
/// The script's exit code if no layer is chosen.
const NO_LAYER: i32 = 4;
/// The forms that are tried: a layer is quantised whose multiply-adds, for each value that it reads and writes, are more than this. Small
/// layers cost tract more to convert than they save, on x86-64 with VNNI.
const LEAST_GAINS: [u32; 3] = [0, 24, 40];

/// The model to quantise, and how to call Python.
pub(super) struct Quantiser<'a> {
    pub python: &'a Path,
    /// The ONNX file.
    pub from: &'a Path,
    /// The folder for the results.
    pub folder: &'a Path,
    pub samples: &'a [Sample],
}

/// A file with its comparisons to the original.
pub(super) struct Made {
    pub file: PathBuf,
    pub comparisons: Comparisons,
}

impl Made {
    fn is_better_than(&self, other: &Self) -> bool {
        let (own, other) = (&self.comparisons, &other.comparisons);
        let is_faster = own.slowest().time_ratio < other.slowest().time_ratio;
        match (own.passed(), other.passed()) {
            (true, true) | (false, false) => is_faster,
            (passed, _) => passed,
        }
    }
}

impl Quantiser<'_> {
    /// Quantises in each form, and returns the fastest file that passes; the fastest one if none does.
    ///
    /// # Errors
    /// The last error, if no form can be made and run.
    pub(super) fn best(
        &self,
        compare: impl Fn(&Path) -> anyhow::Result<Comparisons>,
        terminal: &Terminal,
    ) -> anyhow::Result<Made> {
        let inputs = self.folder.join("samples");
        std::fs::create_dir(&inputs).context("cannot create a temporary folder")?;
        for (number, sample) in self.samples.iter().enumerate() {
            let file = File::create(inputs.join(format!("{number:06}.npz")));
            let file = file.context("cannot write a sample")?;
            npz::write(file, &sample.inputs).context("cannot write a sample")?;
        }
        let (mut best, mut last) = (None::<Made>, None);
        for least_gain in LEAST_GAINS {
            let file = self.folder.join(format!("int8-{least_gain}.onnx"));
            if !self.quantise(least_gain, &inputs, &file, terminal)? {
                continue;
            }
            match compare(&file) {
                Ok(comparisons) => {
                    let made = Made { file, comparisons };
                    if best.as_ref().is_none_or(|best| made.is_better_than(best)) {
                        best = Some(made);
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        match (best, last) {
            (Some(best), _) => Ok(best),
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.wrong("no layer can be quantised".to_owned()).into()),
        }
    }

    /// Whether there is a layer to quantise in this form; the file is then written.
    fn quantise(
        &self,
        least_gain: u32,
        inputs: &Path,
        to: &Path,
        terminal: &Terminal,
    ) -> Result<bool, ModelError> {
        let task = terminal.progress().spinner("quantising");
        let output = Command::new(self.python)
            .args(["-c", SCRIPT])
            .args([self.from, to, inputs])
            .arg(least_gain.to_string())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                self.wrong(format!(
                    "it does not start ({error}); give another with --python"
                ))
            })?;
        if output.status.success() || output.status.code() == Some(NO_LAYER) {
            task.done("done");
            return Ok(output.status.success());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing")
            .replace(&*self.from.to_string_lossy(), "the model");
        Err(self.wrong(if output.status.code() == Some(NO_PACKAGE) {
            format!("{last}; pip install onnxruntime onnx")
        } else {
            format!(
                "{last}; the model may use operators that onnxruntime.quantization does not support"
            )
        }))
    }

    fn wrong(&self, reason: String) -> ModelError {
        ModelError::Python {
            python: self.python.to_owned(),
            reason,
        }
    }
}
