//! Packed series of figures, from another device.
#![no_main]

use hotshoe_differential_privacy::{Figures, MAX_VALUES, pack, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(rows) = unpack(data) {
        assert!(rows.iter().map(Vec::len).sum::<usize>() <= MAX_VALUES);
        let packed = pack(&rows).expect("a series that was unpacked");
        assert_eq!(unpack(&packed.bytes).expect("a series that was packed"), rows);
    }
    if let Ok(mut figures) = serde_json::from_slice::<Figures>(data) {
        let other = figures.clone();
        figures.merge(&other).expect("equal definitions");
        let _ = figures.quantile(0.5);
        assert!(figures.deviation().is_finite());
    }
});
