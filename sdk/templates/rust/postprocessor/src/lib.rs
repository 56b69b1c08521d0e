//! {{name}}: makes boxes of the outputs of a centre-point detector, and drops those that overlap a better one.

mod boxes;

use boxes::{Found, Heads};
use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{ElementType, config, vision};

struct Component;

impl Postprocessor for Component {
    fn interpret(sample: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        let (heat, [height, width]) = head(outputs, "heatmap", "537", 1)?;
        let (scale, scale_shape) = head(outputs, "scale", "538", 2)?;
        let (offset, offset_shape) = head(outputs, "offset", "539", 2)?;
        if scale_shape != [height, width] || offset_shape != [height, width] {
            return Err(Error::invalid_input(
                "heatmap, scale and offset differ in height or width",
            ));
        }
        let heads = Heads {
            heat: &heat,
            scale: &scale,
            offset: &offset,
            width,
            height,
        };
        let min_score = number("min-score", 0.5)?;
        let max_overlap = number("max-overlap", 0.3)?;
        let label = setting("label", "face");
        // The model saw the picture at four times the heatmap's size; boxes are given in the picture's own pixels.
        let image = vision::decode(sample)?;
        let x_factor = f64::from(image.width()) / (4 * width) as f64;
        let y_factor = f64::from(image.height()) / (4 * height) as f64;
        let found = boxes::suppress(boxes::candidates(&heads, min_score), max_overlap);
        let detection = |found: &Found| Detection {
            label: label.clone(),
            score: found.score as f32,
            bounds: Rect {
                x: (found.x1 * x_factor) as f32,
                y: (found.y1 * y_factor) as f32,
                width: ((found.x2 - found.x1) * x_factor) as f32,
                height: ((found.y2 - found.y1) * y_factor) as f32,
            },
            outline: None,
        };
        Ok(Insight::Detections(found.iter().map(detection).collect()))
    }
}

/// One of the model's outputs, [1, channels, height, width] of f32: its elements, height and width.
fn head(
    outputs: &[NamedTensor],
    key: &str,
    default: &str,
    channels: usize,
) -> Result<(Vec<f32>, [usize; 2])> {
    let name = setting(key, default);
    let tensor = outputs.named(&name)?;
    if tensor.element_type() != ElementType::F32 {
        return Err(Error::invalid_input(format_args!(
            "tensor {name} is not of f32"
        )));
    }
    let view = tensor.view_f32([Some(1), Some(channels), None, None])?;
    let [_, _, height, width] = view.shape();
    Ok((view.elements().to_vec(), [height, width]))
}

fn setting(key: &str, default: &str) -> String {
    config::get(key).unwrap_or_else(|| default.into())
}

fn number(key: &str, default: f64) -> Result<f64> {
    let Some(text) = config::get(key) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| {
        Error::invalid_input(format_args!(
            "config `{key}` is `{text}`, which is not a number"
        ))
    })
}

hotshoe_sdk::postprocessor!(Component);
