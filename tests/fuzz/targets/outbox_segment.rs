//! Segments of the outbox, which a disk may give back other than they were written.
#![no_main]

use hotshoe_outbox::segment::check;
use libfuzzer_sys::fuzz_target;

/// What the checksums of the seed begin with.
const KEY: u32 = 7;

fuzz_target!(|data: &[u8]| {
    let Ok(scan) = check("segment", data, KEY) else {
        return;
    };
    assert!(scan.valid_end <= data.len());
    let mut end = 0;
    for range in scan.damaged {
        assert!(range.start >= end && range.end > range.start);
        end = range.end;
    }
    assert!(end <= scan.valid_end);
});
