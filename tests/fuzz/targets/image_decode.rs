//! Pictures, through everything that a component may do with one.
#![no_main]

use hotshoe_vision::{Budget, DecodeLimits, decode};
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
    let budget = Budget::new(MAX_BYTES, &|| false);
    let Ok(image) = decode(data, &DecodeLimits { max_pixels: MAX_PIXELS }, &budget) else {
        return;
    };
    let pixels = u64::from(image.width()) * u64::from(image.height());
    assert!((1..=MAX_PIXELS).contains(&pixels));
    assert_eq!(image.pixels().len() as u64, pixels * 3);
});
