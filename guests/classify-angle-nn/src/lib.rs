//! The angle classifier driven by an unmodified `wasi:nn`: what `classify-angle-pre` and `-post` do in one stage, to show that a component
//! written for `wasi:nn` runs here. The model is loaded by its name in the release.

mod nn;

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision;
use label_reader::{angle, sizes};

use nn::wasi::nn::graph::load_by_name;
use nn::wasi::nn::tensor::{Tensor as NnTensor, TensorType};

struct ClassifyAngleNn;

impl Stage for ClassifyAngleNn {
    fn process(sample: &Sample) -> Result<Insight> {
        let graph = load_by_name("classify-angle").map_err(|error| nn_error(&error))?;
        let context = graph
            .init_execution_context()
            .map_err(|error| nn_error(&error))?;
        let outputs = context
            .compute(vec![("x".into(), input(sample)?)])
            .map_err(|error| nn_error(&error))?;
        let [(_, output)] = outputs.as_slice() else {
            return Err(Error::internal(format_args!(
                "one tensor is expected, not {}",
                outputs.len()
            )));
        };
        let scores: Vec<f32> = output
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let shape: Vec<usize> = output
            .dimensions()
            .iter()
            .map(|length| *length as usize)
            .collect();
        let classes = angle::classify(&scores, &shape)?
            .into_iter()
            .filter_map(|found| {
                let label = angle::LABELS.get(found.class)?;
                Some(Class {
                    label: (*label).into(),
                    index: found.class as u32,
                    score: found.score,
                })
            });
        Ok(Insight::Classes(classes.collect()))
    }
}

/// The sample's picture as the model's input, copied into a tensor of `wasi:nn`.
fn input(sample: &Sample) -> Result<NnTensor> {
    let line = vision::decode(sample)?;
    let width = sizes::line_width((line.width(), line.height()), sizes::ANGLE_WIDTH);
    let scaled = vision::resize(&line, width, sizes::LINE_HEIGHT, vision::Filter::Bilinear)?;
    let tensor = vision::normalise(
        &[&scaled],
        sizes::ANGLE_WIDTH,
        sizes::LINE_HEIGHT,
        vision::Normalisation::bgr(),
    )?;
    Ok(NnTensor::new(
        &tensor.shape(),
        TensorType::Fp32,
        &tensor.read_bytes(),
    ))
}

fn nn_error(error: &nn::wasi::nn::errors::Error) -> Error {
    Error::internal(format_args!("wasi:nn {:?}: {}", error.code(), error.data()))
}

hotshoe_sdk::stage!(ClassifyAngleNn);
