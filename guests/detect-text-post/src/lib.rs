//! The text detector's map to boxes round the lines of text, in pixels of the sample's picture.

use hotshoe_sdk::prelude::*;
use label_reader::{db, order};

struct DetectTextPost;

impl Postprocessor for DetectTextPost {
    fn interpret(sample: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        // The picture's own header tells its size: it need not be decoded again.
        let size = imagesize::blob_size(&sample.read()).map_err(Error::invalid_input)?;
        let (width, height) = (u32::try_from(size.width)?, u32::try_from(size.height)?);
        let map = outputs.only()?.view_f32([Some(1), Some(1), None, None])?;
        let mut boxes = db::boxes(map.elements(), &map.shape(), width, height)?;
        order::sort(&mut boxes, |found| &found.outline);
        boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Insight::Detections(boxes.iter().map(detection).collect()))
    }
}

fn detection(found: &db::TextBox) -> Detection {
    let range = |axis: usize| {
        let values = found
            .outline
            .iter()
            .filter_map(|corner| corner.get(axis).copied());
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), at| {
            (low.min(at), high.max(at))
        })
    };
    let ((left, right), (top, bottom)) = (range(0), range(1));
    let [a, b, c, d] = found.outline.map(|[x, y]| Point { x, y });
    Detection {
        label: "text".into(),
        score: found.score,
        bounds: Rect {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        },
        outline: Some((a, b, c, d)),
    }
}

hotshoe_sdk::postprocessor!(DetectTextPost);
