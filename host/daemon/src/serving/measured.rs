//! What is measured on a sample for a baseline and for drift from it.

use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_drift::{Measured, SAMPLE, Source, TensorStatistics, measure};
use hotshoe_engine::{Insight, Sample};
use hotshoe_pipeline::Trace;
use hotshoe_vision::{Budget, Image};

use super::motion_gate::decoded;

/// Most memory for decoding a picture, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most time for decoding a picture.
const MAX_TIME: Duration = Duration::from_secs(1);

/// Measures one sample by its insight, before anything is left out of it for its class, and by its trace, which has its masks burned in. A
/// picture that cannot be decoded has no values.
pub fn measured(sources: &[Source], insight: &Insight, trace: &Trace, clock: &Clock) -> Measured {
    let needs_insight = sources
        .iter()
        .any(|source| !matches!(source, Source::Tensor { .. }));
    // An insight is plain data, which always has a JSON form.
    let json = needs_insight.then(|| serde_json::to_value(insight).ok());
    measure(
        sources,
        &json.flatten().unwrap_or_default(),
        |model, tensor| {
            if model == SAMPLE {
                return of_picture(trace.inner.as_ref().or(trace.sample.as_ref())?, clock);
            }
            let (_, inputs) = trace.inputs.iter().find(|(name, _)| name == model)?;
            let mut inputs = inputs.iter();
            let (_, tensor) = match tensor {
                Some(wanted) => inputs.find(|(name, _)| name == wanted),
                None => inputs.next(),
            }?;
            let row = tensor.shape().last().copied().unwrap_or(1);
            TensorStatistics::of(tensor.numbers(), row)
        },
    )
}

/// The statistics of the luma of a picture, 0 to 255.
fn of_picture(sample: &Sample, clock: &Clock) -> Option<TensorStatistics> {
    let until = clock.deadline(MAX_TIME);
    let is_over = || clock.now() >= until;
    let picture = decoded(sample, &Budget::new(MAX_BYTES, &is_over))?;
    of_image(&picture)
}

fn of_image(image: &Image) -> Option<TensorStatistics> {
    let (pixels, _) = image.pixels().as_chunks::<3>();
    // ITU-R BT.601.
    let luma = pixels
        .iter()
        .map(|[r, g, b]| 0.299 * f64::from(*r) + 0.587 * f64::from(*g) + 0.114 * f64::from(*b));
    TensorStatistics::of(luma, image.width() as usize)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use hotshoe_drift::Value;
    use hotshoe_engine::{Class, Insight};
    use hotshoe_infer::Tensor;

    use super::*;

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn numbers(measured: Measured) -> Vec<Option<f64>> {
        let number = |value| match value {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        };
        measured.0.into_iter().map(number).collect()
    }

    fn insight() -> Insight {
        Insight::Classes {
            classes: vec![Class {
                label: "upright".to_owned(),
                index: 0,
                score: 0.75,
            }],
        }
    }

    #[test]
    fn an_insight_and_the_first_input_of_a_model_are_measured() {
        let tensor = Tensor::from_f32(&[1, 2], vec![1.0, 3.0]).unwrap();
        let other = Tensor::from_f32(&[1], vec![9.0]).unwrap();
        let named = vec![("x".to_owned(), tensor), ("h".to_owned(), other)];
        let trace = Trace {
            inputs: vec![("classify".to_owned(), named)],
            ..Trace::default()
        };
        let sources = sources(&[
            "max(classes.*.score)",
            "brightness(classify)",
            "contrast(classify/x)",
            "brightness(classify/h)",
            "brightness(other)",
            "brightness(@sample)",
        ]);
        let found = numbers(measured(&sources, &insight(), &trace, &Clock::system()));
        let expected = [Some(0.75), Some(2.0), Some(1.0), Some(9.0), None, None];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_picture_of_a_sample_is_measured_in_grey() {
        // Two grey pixels of a raw frame, 10 and 30.
        let sample = Sample {
            id: "a".to_owned(),
            source: "a".to_owned(),
            content_type: "video/x-raw; format=GRAY8; width=2; height=1".to_owned(),
            timestamp_us: 0,
            payload: Arc::from(vec![10, 30]),
        };
        let trace = Trace {
            sample: Some(sample),
            ..Trace::default()
        };
        let sources = sources(&["brightness(@sample)", "contrast(@sample)"]);
        let found = numbers(measured(&sources, &insight(), &trace, &Clock::system()));
        assert_eq!(found, [Some(20.0), Some(10.0)]);
    }
}
