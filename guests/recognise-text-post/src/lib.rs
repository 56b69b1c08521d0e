//! The recogniser's output to a line of text. The character list is in the model's own metadata.

use hotshoe_sdk::infer::Model;
use hotshoe_sdk::prelude::*;
use label_reader::ctc;

struct RecogniseTextPost;

impl Postprocessor for RecogniseTextPost {
    fn interpret(sample: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        let list = Model::open("recognise")?.metadata(ctc::CHARACTERS_KEY);
        let list = list.ok_or_else(|| {
            Error::unsupported("the model `recognise` has no character list in its metadata")
        })?;
        let probabilities = outputs.only()?.view_f32([Some(1), None, None])?;
        let readings = ctc::decode(
            probabilities.elements(),
            &probabilities.shape(),
            &ctc::Alphabet::parse(&list),
        )?;
        let size = imagesize::blob_size(&sample.read()).map_err(Error::invalid_input)?;
        let (width, height) = (size.width as f32, size.height as f32);
        let corner = |x, y| Point { x, y };
        let outline = (
            corner(0.0, 0.0),
            corner(width, 0.0),
            corner(width, height),
            corner(0.0, height),
        );
        let lines = readings.into_iter().map(|reading| TextLine {
            text: reading.text,
            score: reading.score,
            outline,
        });
        Ok(Insight::Text(lines.collect()))
    }
}

hotshoe_sdk::postprocessor!(RecogniseTextPost);
