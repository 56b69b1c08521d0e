//! Pictures, through everything that a component may do with one.
#![no_main]

use hotshoe_vision::{
    Budget, DecodeLimits, DecodeOptions, Fill, Image, Mask, RawFrame, decode, decode_raw, decode_u16,
    decode_with, redact,
};
use libfuzzer_sys::fuzz_target;

/// Large enough for every path, small enough for many runs a second.
const MAX_PIXELS: u64 = 1 << 20;
/// Room for such a picture, and for what the decoders take beside it.
const MAX_BYTES: u64 = 64 << 20;

fuzz_target!(init: {
    // `decode` turns a decoder's panic into an error; the fuzzer would end at it before that.
    let ours = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let decoder = |file: &str| file.contains("/zune-") || file.contains("/png-") || file.contains("/image-");
        if !panic.location().is_some_and(|at| decoder(at.file())) {
            ours(panic);
        }
    }));
}, |data: &[u8]| {
    let limits = DecodeLimits { max_pixels: MAX_PIXELS };
    let budget = Budget::new(MAX_BYTES, &|| false);
    for image in [
        decode(data, &limits, &budget),
        decode_with(data, &DecodeOptions::default(), &limits, &budget),
        raw(data, &limits, &budget),
    ] {
        image.iter().for_each(check);
    }
    if let Ok(image) = decode_u16(data, true, &limits, &budget) {
        let values = u64::from(image.width()) * u64::from(image.height()) * image.channels() as u64;
        assert_eq!(image.values().len() as u64, values);
    }
    masked(data, "", &limits, &budget);
    let (kind, frame) = split(data);
    masked(frame, kind, &limits, &budget);
});

/// The media type, which is the first line, and the bytes after it.
fn split(data: &[u8]) -> (&str, &[u8]) {
    let split = data.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (line, frame) = data.split_at(split);
    let kind = std::str::from_utf8(line).unwrap_or_default();
    (kind, frame.get(1..).unwrap_or_default())
}

/// Nothing is left of a picture under a mask of all of it.
fn masked(data: &[u8], kind: &str, limits: &DecodeLimits, budget: &Budget<'_>) {
    let whole = Mask {
        polygon: vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
        fill: Fill::Black,
    };
    let Ok(file) = redact(data, kind, &[whole], limits, budget) else {
        return;
    };
    let shown = match RawFrame::from_media_type(kind) {
        Ok(Some(frame)) => decode_raw(&file, &frame, limits, budget),
        _ => decode_with(&file, &DecodeOptions::default(), limits, budget),
    };
    if let Ok(image) = shown {
        assert!(image.pixels().iter().all(|&value| value == 0));
    }
}

/// A frame without a header: its media type is the first line.
fn raw(
    data: &[u8],
    limits: &DecodeLimits,
    budget: &Budget<'_>,
) -> Result<Image, hotshoe_vision::DecodeError> {
    let (kind, frame) = split(data);
    let Some(kind) = RawFrame::from_media_type(kind)? else {
        return Err(hotshoe_vision::DecodeError::Empty);
    };
    decode_raw(frame, &kind, limits, budget)
}

fn check(image: &Image) {
    let pixels = u64::from(image.width()) * u64::from(image.height());
    assert!((1..=MAX_PIXELS).contains(&pixels));
    assert_eq!(image.pixels().len() as u64, pixels * 3);
}
