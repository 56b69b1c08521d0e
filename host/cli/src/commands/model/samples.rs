//! Inputs to compare models on: files, recordings, or noise.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_base::chain;
use hotshoe_infer::inspect::{InputShapes, onnx_tensor};
use hotshoe_infer::npz::{self, Limits, NpzError};
use hotshoe_infer::{ElementType, Model, Tensor};
use hotshoe_store::Recording;

use super::ModelError;
use crate::sample_files::{entries, is_sample, is_test_set};
use hotshoe_release::random::Random;

/// The most bytes of one file of a sample.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The seed of noise samples, so that each run generates the same ones.
const SEED: u64 = 1;

/// The inputs of one run of a model.
pub(super) struct Sample {
    /// The file, or the number of the noise sample.
    pub name: String,
    /// The inputs, with their names.
    pub inputs: Vec<(String, Tensor)>,
}

impl Sample {
    /// The inputs, borrowed for a run.
    pub(super) fn inputs(&self) -> Vec<(&str, &Tensor)> {
        self.inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect()
    }
}

/// Reads all samples of a folder, in the order of their names. The folder may itself be a sample, with `input_0.pb`.
pub(super) fn read(folder: &Path, model: &Model) -> anyhow::Result<Vec<Sample>> {
    if folder.is_file() {
        let path = folder.to_owned();
        return Err(ModelError::SamplesFile { path }.into());
    }
    if is_test_set(folder) {
        return Ok(vec![test_set(folder, model)?]);
    }
    let chosen = recorded(folder, model)?;
    let folder = chosen.as_deref().unwrap_or(folder);
    let paths = entries(folder)?;
    let samples = paths.iter().filter(|path| is_sample(path));
    let samples: Vec<Sample> = samples
        .map(|path| {
            if is_test_set(path) {
                test_set(path, model)
            } else {
                read_file(path, model)
            }
        })
        .collect::<anyhow::Result<_>>()?;
    if !samples.is_empty() {
        return Ok(samples);
    }
    let holds_samples = |path: &PathBuf| {
        path.is_dir() && entries(path).is_ok_and(|inside| inside.iter().any(|it| is_sample(it)))
    };
    let deeper: Vec<PathBuf> = paths.into_iter().filter(holds_samples).collect();
    let folder = folder.to_owned();
    Err(if deeper.is_empty() {
        ModelError::NoSamples { folder }.into()
    } else {
        ModelError::DeeperSamples { folder, deeper }.into()
    })
}

/// The folder of the inputs for this model, if `folder` is a recording. Checks the recording, even if `folder` is already one of its
/// subfolders.
fn recorded(folder: &Path, model: &Model) -> anyhow::Result<Option<PathBuf>> {
    let whole = |folder: &Path| Recording::is_at(folder).then(|| folder.to_owned());
    let above = folder.ancestors().nth(2);
    let Some(root) = whole(folder).or_else(|| above.and_then(whole)) else {
        return Ok(None);
    };
    let recording = Recording::open(&root)?;
    recording.check()?;
    if root != folder {
        return Ok(None);
    }
    let inputs = root.join("inputs");
    let folders = if inputs.is_dir() {
        entries(&inputs)?
    } else {
        Vec::new()
    };
    let fits = |folder: &&PathBuf| {
        let first = entries(folder)
            .ok()
            .and_then(|all| all.into_iter().find(|it| is_sample(it)));
        let sample = first.and_then(|it| read_file(&it, model).ok());
        sample.is_some_and(|sample| {
            let known = |name: &String| model.inputs().iter().any(|it| it.name == *name);
            sample.inputs.len() == model.inputs().len()
                && sample.inputs.iter().all(|(name, _)| known(name))
        })
    };
    let mut fitting = folders.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(Some(only.clone())),
        _ => Ok(Some(inputs).filter(|_| !folders.is_empty())),
    }
}

/// Reads a sample from one file.
pub(super) fn read_file(path: &Path, model: &Model) -> anyhow::Result<Sample> {
    let bytes = read_bytes(path)?;
    let wrong = |reason: String| ModelError::Sample {
        path: path.to_owned(),
        reason,
    };
    let unread = |error: NpzError| wrong(chain(&error));
    let inputs = if path.extension().is_some_and(|it| it == "npz") {
        npz::read(&bytes, Limits::FILE).map_err(unread)?
    } else {
        let [input] = model.inputs() else {
            let names: Vec<_> = model.inputs().iter().map(|it| it.name.as_str()).collect();
            let names = names.join(", ");
            return Err(wrong(format!(
                "it contains one array, but the model has the inputs {names}; use a .npz"
            ))
            .into());
        };
        let tensor = npz::read_array(&bytes).map_err(unread)?;
        vec![(input.name.clone(), tensor)]
    };
    Ok(Sample {
        name: path.display().to_string(),
        inputs,
    })
}

/// Reads `input_0.pb`, `input_1.pb`, ...: by name if the model has an input of that name, otherwise in the order of its inputs.
fn test_set(folder: &Path, model: &Model) -> anyhow::Result<Sample> {
    let mut inputs = Vec::new();
    for (position, input) in model.inputs().iter().enumerate() {
        let path = folder.join(format!("input_{position}.pb"));
        if !path.is_file() {
            break;
        }
        let (name, tensor) = onnx_tensor(&read_bytes(&path)?)
            .with_context(|| format!("cannot use {}", path.display()))?;
        let known = model.inputs().iter().any(|input| input.name == name);
        let name = if known { name } else { input.name.clone() };
        inputs.push((name, tensor));
    }
    Ok(Sample {
        name: folder.display().to_string(),
        inputs,
    })
}

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(cannot)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    Ok(bytes)
}

/// Generates samples of noise: from -1 to 1 for floating point, any `u8` and `i8`, and 1 for `bool`, `i32` and `i64`.
pub(super) fn synthetic(
    count: usize,
    model: &Model,
    shapes: &InputShapes,
) -> anyhow::Result<Vec<Sample>> {
    let mut random = Random::new(SEED);
    (0..count)
        .map(|number| {
            let inputs = model.inputs().iter().map(|input| {
                let shape = match shapes.get(&input.name) {
                    Some(shape) => shape.clone(),
                    None => guessed(&input.shape).ok_or_else(|| ModelError::Shape {
                        input: input.name.clone(),
                    })?,
                };
                let tensor = noise(input.element_type, &shape, &mut random)?;
                Ok((input.name.clone(), tensor))
            });
            Ok(Sample {
                name: format!("noise {number}"),
                inputs: inputs.collect::<anyhow::Result<_>>()?,
            })
        })
        .collect()
}

/// An open outermost dimension is a batch in practice: 1.
fn guessed(shape: &[Option<usize>]) -> Option<Vec<usize>> {
    let sizes = shape.iter().enumerate();
    sizes
        .map(|(position, size)| size.or((position == 0).then_some(1)))
        .collect()
}

fn noise(
    element_type: ElementType,
    shape: &[usize],
    random: &mut Random,
) -> anyhow::Result<Tensor> {
    let count = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|count| *count as u64 <= MAX_FILE_BYTES)
        .with_context(|| format!("a tensor of shape {shape:?} is too large"))?;
    let mut raw = vec![0; count * size_of::<u32>()];
    random.fill(&mut raw);
    let (numbers, _) = raw.as_chunks::<4>();
    let parts = numbers
        .iter()
        .map(|&it| f64::from(u32::from_le_bytes(it)) / f64::from(u32::MAX) * 2.0 - 1.0);
    let bytes: Vec<u8> = match element_type {
        ElementType::F32 => parts.flat_map(|it| (it as f32).to_le_bytes()).collect(),
        ElementType::F64 => parts.flat_map(f64::to_le_bytes).collect(),
        // Bits of binary16: the sign, an exponent that makes it 0.5 to 1, ten bits of fraction.
        ElementType::F16 => numbers
            .iter()
            .flat_map(|&[a, b, ..]| ((u16::from_le_bytes([a, b]) & 0x83ff) | 0x3800).to_le_bytes())
            .collect(),
        ElementType::U8 | ElementType::I8 => numbers.iter().map(|it| it[0]).collect(),
        ElementType::Bool => vec![1; count],
        ElementType::I32 => 1_i32.to_le_bytes().repeat(count),
        ElementType::I64 => 1_i64.to_le_bytes().repeat(count),
    };
    Tensor::from_bytes(element_type, shape, &bytes).context("cannot create the tensor")
}
