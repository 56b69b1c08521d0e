//! CenterFace's output to the picture with its faces blurred. The picture's own pixels never enter the component: it holds a handle.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{config, vision};
use privacy_camera::{CONTENT_TYPE, Face, Heads, Packet, faces};

/// The lowest score of a face. Low, since a missed face stays visible, and a false one only blurs a spot.
const MIN_SCORE: f32 = 0.2;
/// Two boxes that overlap by this share are one face.
const MAX_OVERLAP: f64 = 0.3;
/// What is blurred around a face, as a share of its size on each side.
const MARGIN: f64 = 0.15;
/// Quality of the JPEG file, 1 to 100.
const QUALITY: u8 = 90;

struct PrivacyPost;

impl Postprocessor for PrivacyPost {
    fn interpret(sample: &Sample, outputs: &[NamedTensor]) -> Result<Insight> {
        let min_score = setting("min-score", MIN_SCORE)?;
        let margin = setting("margin", MARGIN)?;
        let heat = outputs
            .named("537")?
            .view_f32([Some(1), Some(1), None, None])?;
        let [_, _, height, width] = heat.shape();
        let pairs = [Some(1), Some(2), Some(height), Some(width)];
        let scale = outputs.named("538")?.view_f32(pairs)?;
        let offset = outputs.named("539")?.view_f32(pairs)?;
        let heads = Heads::new(
            (width, height),
            heat.elements(),
            scale.elements(),
            offset.elements(),
        )?;
        let picture = vision::decode(sample)?;
        let size = (picture.width(), picture.height());
        let found = faces(&heads, size, min_score, MAX_OVERLAP);
        for face in &found {
            info!(
                "face {:.4} at {:.2} {:.2} {:.2} {:.2}",
                face.score, face.x1, face.y1, face.x2, face.y2
            );
        }
        let regions: Vec<_> = found.iter().map(|face| region(face, margin)).collect();
        let blurred = vision::blur(&picture, &regions, 0)?;
        let packet = Packet {
            faces: found.len() as u32,
            picture: vision::encode(&blurred, vision::Format::Jpeg, QUALITY)?,
        };
        Ok(Insight::Custom(CustomInsight {
            content_type: CONTENT_TYPE.into(),
            payload: packet.to_bytes(),
        }))
    }
}

fn region(face: &Face, margin: f64) -> Rect {
    let face = face.widened(margin);
    Rect {
        x: face.x1 as f32,
        y: face.y1 as f32,
        width: (face.x2 - face.x1) as f32,
        height: (face.y2 - face.y1) as f32,
    }
}

/// A number from 0 to 1 of the release's configuration.
fn setting<T: std::str::FromStr + PartialOrd + From<u8>>(name: &str, otherwise: T) -> Result<T> {
    let Some(text) = config::get(name) else {
        return Ok(otherwise);
    };
    let range = T::from(0)..=T::from(1);
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        Error::invalid_input(format_args!(
            "`{name}` is {text:?}; it must be a number from 0 to 1"
        ))
    })
}

hotshoe_sdk::postprocessor!(PrivacyPost);
