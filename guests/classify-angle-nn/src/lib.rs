//! The angle classifier driven by an unmodified `wasi:nn`: what `classify-angle-pre` and `-post` do in one stage, to show that a component
//! written for `wasi:nn` runs here. The model is loaded by its name in the release.

use common::nn::tensor::{Tensor as NnTensor, TensorType};
use common::{line_tensor, nn};
use hotshoe_sdk::prelude::*;
use label_reader::{angle, sizes};

struct ClassifyAngleNn;

impl Stage for ClassifyAngleNn {
    fn process(sample: &Sample) -> Result<Insight> {
        let line = line_tensor(sample, |_| sizes::ANGLE_WIDTH)?;
        // `wasi:nn` has tensors of its own.
        let input = NnTensor::new(&line.shape(), TensorType::Fp32, &line.read_bytes());
        let (shape, scores) = nn::run("classify-angle", input)?;
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

hotshoe_sdk::stage!(ClassifyAngleNn);
