//! The angle classifier driven by Hotshoe's own `infer`: what `classify-angle-nn` does through `wasi:nn`, to compare the two.

use common::line_tensor;
use hotshoe_sdk::infer::Model;
use hotshoe_sdk::prelude::*;
use label_reader::{angle, sizes};

struct ClassifyAngleInfer;

impl Stage for ClassifyAngleInfer {
    fn process(sample: &Sample) -> Result<Insight> {
        let line = line_tensor(sample, |_| sizes::ANGLE_WIDTH)?;
        let outputs = Model::open("classify-angle")?.run(&[("x".to_owned(), &line)])?;
        let scores = outputs.only()?;
        let classes = angle::classify(&scores.read_f32()?, &scores.dimensions())?
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

hotshoe_sdk::stage!(ClassifyAngleInfer);
