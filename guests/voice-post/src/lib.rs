//! silero-vad's output to one number: the probability of speech in the block, 0 to 1.

use hotshoe_sdk::prelude::*;

struct VoicePost;

impl Postprocessor for VoicePost {
    fn interpret(_: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        let found = outputs.named("output")?.view_f32([Some(1), Some(1)])?;
        let [speech] = found.elements() else {
            return Err(Error::internal("the model gave no single probability"));
        };
        Ok(Insight::Scalars(vec![Scalar {
            name: "speech".into(),
            value: f64::from(*speech),
            unit: String::new(),
        }]))
    }
}

hotshoe_sdk::postprocessor!(VoicePost);
