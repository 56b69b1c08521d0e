//! {{name}}: classifies a picture with a model, through `wasi:nn`.

use hotshoe_sdk::nn::inference::NamedTensor as NnNamedTensor;
use hotshoe_sdk::nn::tensor::{Tensor as NnTensor, TensorType};
use hotshoe_sdk::nn::{self, graph};
use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{config, data, vision};

/// Maximum of the settings `width` and `height`.
const MOST: u32 = 4096;

struct Component;

impl Stage for Component {
    fn process(sample: &Sample) -> Result<Insight> {
        let input = picture(sample)?;
        let scores = run(input)?;
        let text = String::from_utf8(data::read("labels")?)
            .map_err(|_| Error::internal("labels is not UTF-8 text"))?;
        let mut labels = text.lines();
        let mut classes: Vec<Class> = (0..)
            .zip(scores)
            .map(|(index, score)| {
                let label = labels.next().unwrap_or_default();
                let label = if label.is_empty() {
                    index.to_string()
                } else {
                    label.into()
                };
                Class {
                    label,
                    index,
                    score,
                }
            })
            .collect();
        // The sort is stable: of equal scores, the lower index comes first.
        classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Insight::Classes(classes))
    }
}

/// The sample's picture as the model's input, [1, 3, height, width] of f32 from -1 to 1.
fn picture(sample: &Sample) -> Result<Tensor> {
    let width = side("width", 192)?;
    let height = side("height", 48)?;
    let image = vision::decode(sample)?;
    let image = vision::resize(&image, width, height, vision::Filter::Bilinear)?;
    let bgr = vision::Normalisation::bgr();
    Ok(vision::normalise(&[&image], width, height, bgr)?)
}

/// The first output of the model.
fn run(input: Tensor) -> Result<Vec<f32>> {
    let model = config::get("model").unwrap_or_else(|| "classifier".into());
    let name = config::get("input").unwrap_or_else(|| "x".into());
    // `wasi:nn` has its own tensors, which are made of bytes.
    let input = NnTensor::new(&input.shape(), TensorType::Fp32, &input.read_bytes());
    let graph = graph::load_by_name(&model).map_err(nn::error)?;
    let context = graph.init_execution_context().map_err(nn::error)?;
    let inputs: Vec<NnNamedTensor> = vec![(name, input)];
    let outputs = context.compute(inputs).map_err(nn::error)?;
    let (_, output) = outputs
        .first()
        .ok_or_else(|| Error::internal("the model gave no output"))?;
    let bytes = output.data();
    let elements = bytes.as_chunks().0.iter();
    Ok(elements.map(|four| f32::from_le_bytes(*four)).collect())
}

/// A side of the model's input, from the release's settings.
fn side(key: &str, default: u32) -> Result<u32> {
    let Some(text) = config::get(key) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(side @ 1..=MOST) => Ok(side),
        _ => Err(Error::invalid_input(format_args!(
            "config `{key}` is `{text}`, which is not a number from 1 to {MOST}"
        ))),
    }
}

hotshoe_sdk::stage!(Component);
