//! Inputs to compare models with: files, recordings, or made up.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_infer::inspect::{InputShapes, onnx_tensor};
use hotshoe_infer::{ElementType, Model, Tensor};

use super::ModelError;
use super::npy;
use crate::bench::random::Random;

/// Most bytes of one file of a sample.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Seed of the samples that are made up, so that each run makes the same.
const SEED: u64 = 1;

/// What a model takes for one run.
pub struct Sample {
    /// Where it is from.
    pub name: String,
    /// By input.
    pub inputs: Vec<(String, Tensor)>,
}

impl Sample {
    /// As a run takes it.
    pub fn inputs(&self) -> Vec<(&str, &Tensor)> {
        self.inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect()
    }
}

/// All samples of a folder, in the order of their names. The folder may itself be one, with `input_0.pb`.
pub fn read(folder: &Path, model: &Model) -> anyhow::Result<Vec<Sample>> {
    if folder.join("input_0.pb").is_file() {
        return Ok(vec![test_set(folder, model)?]);
    }
    let cannot = || format!("cannot read {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(cannot)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .with_context(cannot)?;
    paths.sort();
    let mut samples = Vec::new();
    for path in paths {
        let ending = path.extension().and_then(|it| it.to_str());
        if path.join("input_0.pb").is_file() {
            samples.push(test_set(&path, model)?);
        } else if ending == Some("npz") || ending == Some("npy") {
            samples.push(read_file(&path, model)?);
        }
    }
    if samples.is_empty() {
        let folder = folder.to_owned();
        return Err(ModelError::NoSamples { folder }.into());
    }
    Ok(samples)
}

/// A sample of one file.
pub fn read_file(path: &Path, model: &Model) -> anyhow::Result<Sample> {
    let bytes = read_bytes(path)?;
    let wrong = |reason: String| ModelError::Sample {
        path: path.to_owned(),
        reason,
    };
    let inputs = if path.extension().is_some_and(|it| it == "npz") {
        npy::read_archive(&bytes).map_err(wrong)?
    } else {
        let [input] = model.inputs() else {
            let names: Vec<_> = model.inputs().iter().map(|it| it.name.as_str()).collect();
            let names = names.join(", ");
            return Err(wrong(format!(
                "it holds one array, but the model takes {names}; use a .npz"
            ))
            .into());
        };
        let tensor = npy::read_array(&bytes).map_err(wrong)?;
        vec![(input.name.clone(), tensor)]
    };
    Ok(Sample {
        name: path.display().to_string(),
        inputs,
    })
}

/// `input_0.pb`, `input_1.pb`, ...: by name where they have one that the model knows, else in the order of its inputs.
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

/// Samples of noise: from -1 to 1 for floating point, any `u8` and `i8`, and 1 for what counts or chooses.
pub fn synthetic(count: usize, model: &Model, shapes: &InputShapes) -> anyhow::Result<Vec<Sample>> {
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

/// An outermost dimension that is open is a batch in practice: 1.
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
    Tensor::from_bytes(element_type, shape, &bytes).context("no such tensor can be made")
}

/// Writes recorded inputs of a model as `FOLDER/MODEL/0000.npz` and on, after those that are there.
pub fn write_inputs(
    folder: &Path,
    model: &str,
    runs: &[Vec<(String, Tensor)>],
) -> anyhow::Result<()> {
    let folder = folder.join(model);
    let cannot = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(&folder).with_context(cannot)?;
    let mut number = 0_usize;
    for inputs in runs {
        let file = loop {
            let path = folder.join(format!("{number:04}.npz"));
            number += 1;
            match File::create_new(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                file => break file.with_context(cannot)?,
            }
        };
        npy::write_archive(file, inputs).with_context(cannot)?;
    }
    Ok(())
}
