//! Sample to silero-vad's inputs: one block of sound, and its rate. The host adds the third, the state.

use hotshoe_sdk::prelude::*;
use voice_activity::{BLOCK, BlockError, RATE};

struct VoicePre;

impl Preprocessor for VoicePre {
    fn prepare(sample: &Sample) -> Result<Vec<NamedTensor>> {
        let samples =
            voice_activity::samples(&sample.content_type(), &sample.read()).map_err(refused)?;
        Ok(vec![
            NamedTensor {
                name: "input".into(),
                tensor: Tensor::from_f32(&[1, BLOCK as u32], &samples)?,
            },
            NamedTensor {
                name: "sr".into(),
                tensor: Tensor::from_i64(&[], &[RATE.into()])?,
            },
        ])
    }
}

fn refused(error: BlockError) -> Error {
    match error {
        BlockError::Damaged(_) | BlockError::Length { .. } => Error::invalid_input(error),
        BlockError::ContentType { .. } | BlockError::Rate { .. } | BlockError::Kind { .. } => {
            Error::unsupported(error)
        }
    }
}

hotshoe_sdk::preprocessor!(VoicePre);
