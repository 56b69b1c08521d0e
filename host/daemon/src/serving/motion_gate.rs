//! Which pictures of a source differ from the one before them that was processed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_engine::Sample;
use hotshoe_pipeline::MaskedSample;
use hotshoe_vision::{
    Budget, DecodeLimits, DecodeOptions, Image, RawFrame, SmallGrey, decode_raw, decode_with,
};
use parking_lot::Mutex;

/// Most sources whose last picture is kept. A further one displaces the one that was seen longest ago.
pub const MAX_SOURCES: usize = 256;
/// Mean difference from which on a picture counts as moved.
const LEAST_DIFFERENCE: f64 = 0.02;
/// Most memory for decoding a picture, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most time for decoding a picture.
const MAX_TIME: Duration = Duration::from_secs(1);

/// The last pictures, as small copies.
#[derive(Debug, Default)]
pub struct MotionGate {
    last: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug)]
struct Kept {
    picture: SmallGrey,
    seen: Instant,
}

impl MotionGate {
    /// Whether the picture of a sample differs from the last one of `feed`, its source or folder, that did. The first one does, and so does what cannot be
    /// decoded. What is under a mask does not move.
    pub fn moves(&self, feed: &str, masked: &MaskedSample<'_>, clock: &Clock) -> bool {
        let until = clock.deadline(MAX_TIME);
        let is_over = || clock.now() >= until;
        let Some(picture) = small_copy(masked.sample(), &Budget::new(MAX_BYTES, &is_over)) else {
            return true;
        };
        let seen = clock.now();
        let mut last = self.last.lock();
        if let Some(kept) = last.get_mut(feed) {
            kept.seen = seen;
            if picture.difference(&kept.picture) < LEAST_DIFFERENCE {
                return false;
            }
            kept.picture = picture;
            return true;
        }
        if last.len() >= MAX_SOURCES {
            let oldest = last.iter().min_by_key(|(_, kept)| kept.seen);
            let oldest = oldest.map(|(source, _)| source.clone());
            oldest.and_then(|source| last.remove(&source));
        }
        last.insert(feed.to_owned(), Kept { picture, seen });
        true
    }
}

fn small_copy(sample: &Sample, budget: &Budget<'_>) -> Option<SmallGrey> {
    SmallGrey::of(&decoded(sample, budget)?, budget).ok()
}

/// The picture of a sample. `None` if it has none that can be decoded.
pub(super) fn decoded(sample: &Sample, budget: &Budget<'_>) -> Option<Image> {
    let limits = DecodeLimits::default();
    let image = match RawFrame::from_media_type(&sample.content_type).ok()? {
        Some(frame) => decode_raw(&sample.payload, &frame, &limits, budget),
        None => {
            let options = DecodeOptions::default();
            decode_with(&sample.payload, &options, &limits, budget)
        }
    };
    image.ok()
}
