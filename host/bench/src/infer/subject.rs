//! The measured models and their inputs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_infer::Tensor;
use serde_json::{Value, json};

use super::numpy_name;

/// The sampling rate input of the voice activity detector.
const RATE: i64 = 16_000;
/// A prime larger than any dimension of an input, so that neighbours differ.
const STRIDE: usize = 7_919;
/// Number of different values in an input.
const VALUES: usize = 1_000;

/// A model with its inputs.
pub(super) struct BenchModel {
    /// Its name in the rows.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// One tensor for each input.
    pub inputs: Vec<(&'static str, Tensor)>,
    /// The files of the inputs, for Python.
    files: Vec<PathBuf>,
    /// The prefix of the files that Python writes.
    outputs: PathBuf,
}

/// All models, smallest first, with their inputs written to `scratch`.
pub(super) fn all(models: &Path, scratch: &Path) -> anyhow::Result<Vec<BenchModel>> {
    let subject =
        |name, inputs: Vec<(&'static str, Tensor)>| BenchModel::new(name, models, scratch, inputs);
    Ok(vec![
        subject(
            "silero-vad",
            vec![
                ("input", values(&[1, 576])?),
                ("sr", Tensor::from_i64(&[], vec![RATE])?),
                ("state", Tensor::from_f32(&[2, 1, 128], vec![0.0; 256])?),
            ],
        )?,
        subject("classify-angle", vec![("x", values(&[1, 3, 48, 192])?)])?,
        // The only size that this file accepts.
        subject("centerface", vec![("input.1", values(&[10, 3, 32, 32])?)])?,
        subject("recognise", vec![("x", values(&[1, 3, 48, 320])?)])?,
        subject("detect", vec![("x", values(&[1, 3, 640, 640])?)])?,
    ])
}

/// Values from -1 to 1, the same in each call.
fn values(shape: &[usize]) -> anyhow::Result<Tensor> {
    let count = shape.iter().product();
    let half = VALUES as f32 / 2.0;
    let values = (0..count)
        .map(|at: usize| (at * STRIDE % VALUES) as f32 / half - 1.0)
        .collect();
    Ok(Tensor::from_f32(shape, values)?)
}

impl BenchModel {
    fn new(
        name: &'static str,
        models: &Path,
        scratch: &Path,
        inputs: Vec<(&'static str, Tensor)>,
    ) -> anyhow::Result<Self> {
        let path = models.join(format!("{name}.onnx"));
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut files = Vec::with_capacity(inputs.len());
        for (input, tensor) in &inputs {
            let file = scratch.join(format!("{name}-{input}.bin"));
            fs::write(&file, tensor.bytes())
                .with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
        Ok(Self {
            name,
            path,
            bytes,
            inputs,
            files,
            outputs: scratch.join(format!("{name}-output")),
        })
    }

    /// The inputs as a run expects them.
    pub(super) fn borrowed(&self) -> Vec<(&str, &Tensor)> {
        let inputs = self.inputs.iter();
        inputs.map(|(name, tensor)| (*name, tensor)).collect()
    }

    /// The shapes by input name.
    pub(super) fn shapes(&self) -> Vec<(&str, &[usize])> {
        let inputs = self.inputs.iter();
        inputs
            .map(|(name, tensor)| (*name, tensor.shape()))
            .collect()
    }

    /// The prefix of the files that Python writes its outputs to.
    pub(super) fn output_files(&self) -> &Path {
        &self.outputs
    }

    /// The inputs as Python expects them.
    pub(super) fn for_python(&self) -> Vec<Value> {
        let inputs = self.inputs.iter().zip(&self.files);
        inputs
            .map(|((name, tensor), file)| {
                json!({
                    "name": name,
                    "type": numpy_name(tensor.element_type()),
                    "shape": tensor.shape(),
                    "file": file,
                })
            })
            .collect()
    }
}
