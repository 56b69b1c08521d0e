//! A component of `hotshoe:pipeline@0.2.0` for the tests: one line for each way to decode a picture.

mod bindings;

use bindings::exports::hotshoe::pipeline::process::{Guest, Processed};
use bindings::hotshoe::pipeline::samples::Sample;
use bindings::hotshoe::pipeline::types::{Class, Error, ErrorCode, Insight};
use bindings::hotshoe::pipeline::vision::{self, DecodeOptions, Filter, Image};

/// The content type of samples that are left out.
const SKIPPED: &str = "application/x-skip";
/// The picture as it is stored.
const STORED: DecodeOptions = DecodeOptions {
    apply_orientation: false,
    background: None,
};
/// Upright and on red.
const ON_RED: DecodeOptions = DecodeOptions {
    apply_orientation: true,
    background: Some((255, 0, 0)),
};

struct Pictures;

impl Guest for Pictures {
    fn process(sample: &Sample) -> Result<Processed, Error> {
        let kind = sample.content_type();
        if kind == SKIPPED {
            return Ok(Processed::Skipped("no picture is wanted".into()));
        }
        let letterbox = vision::decode(sample, None).and_then(|image| {
            let (boxed, at) = vision::letterbox(&image, 8, 8, (7, 7, 7), Filter::Nearest)?;
            let place = format!("{},{} {}x{}", at.x, at.y, at.width, at.height);
            Ok(format!("{} at {place}", text(&boxed)))
        });
        let grey = vision::decode(sample, None).and_then(|image| vision::grey(&image));
        let depth = vision::decode_u16(sample, true)
            .and_then(|tensor| Ok(format!("{:?} {:?}", tensor.shape(), tensor.read_f32()?)));
        let bytes = vision::decode_bytes(&sample.read(), Some(&kind), None);
        let lines = [
            ("default", said(vision::decode(sample, None))),
            ("stored", said(vision::decode(sample, Some(STORED)))),
            ("on red", said(vision::decode(sample, Some(ON_RED)))),
            ("bytes", said(bytes)),
            ("u16", depth.unwrap_or_else(refused)),
            ("letterbox", letterbox.unwrap_or_else(refused)),
            ("grey", said(grey)),
        ];
        let class = |(name, line): (&str, String)| Class {
            label: format!("{name}: {line}"),
            index: 0,
            score: 1.0,
        };
        let lines = lines.into_iter().map(class);
        Ok(Processed::Insight(Insight::Classes(lines.collect())))
    }
}

fn said(image: Result<Image, Error>) -> String {
    image.map_or_else(refused, |image| text(&image))
}

fn refused(error: Error) -> String {
    match error.code {
        ErrorCode::Unsupported => "unsupported".into(),
        _ => error.message,
    }
}

/// The size and the first pixel.
fn text(image: &Image) -> String {
    let pixels = image.pixels();
    let first = pixels.get(..3).unwrap_or_default();
    format!("{}x{} {first:?}", image.width(), image.height())
}

bindings::export!(Pictures with_types_in bindings);
