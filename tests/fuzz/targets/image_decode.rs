//! Pictures, through everything that a component may do with one.
#![no_main]

use hotshoe_vision::{DecodeLimits, decode};
use libfuzzer_sys::fuzz_target;

/// Large enough for every path, small enough for many runs a second.
const MAX_PIXELS: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(image) = decode(data, &DecodeLimits { max_pixels: MAX_PIXELS }) else {
        return;
    };
    let pixels = u64::from(image.width()) * u64::from(image.height());
    assert!((1..=MAX_PIXELS).contains(&pixels));
    assert_eq!(image.pixels().len() as u64, pixels * 3);
});
