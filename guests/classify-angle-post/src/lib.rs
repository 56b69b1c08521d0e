//! The angle classifier's output to classes: "0" for upright, "180" for upside down.

use hotshoe_sdk::prelude::*;
use label_reader::angle;

struct ClassifyAnglePost;

impl Postprocessor for ClassifyAnglePost {
    fn interpret(_: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        let scores = outputs
            .only()?
            .view_f32([Some(1), Some(angle::LABELS.len())])?;
        let named = angle::LABELS.iter().zip(0u32..).zip(scores.elements());
        let mut classes: Vec<Class> = named
            .map(|((label, index), score)| Class {
                label: (*label).into(),
                index,
                score: *score,
            })
            .collect();
        classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Insight::Classes(classes))
    }
}

hotshoe_sdk::postprocessor!(ClassifyAnglePost);
