//! Reads a whole page with three models: detect lines, cut them out, turn them upright, recognise.
//!
//! Pictures and tensors stay with the host; what comes here are the detector's map and the two other models' scores.

mod host;

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision;
use label_reader::{ctc, page};

struct ReadPage;

impl Stage for ReadPage {
    fn process(sample: &Sample) -> Result<Insight> {
        let picture = vision::decode(sample)?;
        let host = host::Host::open()?;
        let lines = page::read(&host, picture, &ctc::Alphabet::parse(&host.characters()?))?;
        Ok(Insight::Text(lines.into_iter().map(text_line).collect()))
    }
}

fn text_line(line: page::Line) -> TextLine {
    let [a, b, c, d] = line.outline.map(|[x, y]| Point { x, y });
    TextLine {
        text: line.text,
        score: line.score,
        outline: (a, b, c, d),
    }
}

hotshoe_sdk::stage!(ReadPage);
