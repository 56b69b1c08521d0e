//! A sensor tree: what drivers and the kernel say, in files of any content.
#![no_main]

use hotshoe_senses::{
    DefaultPlan, FaultKind, MAX_LABEL_BYTES, MAX_SENSORS, Meter, Moment, SignedModes, Thresholds,
    Tree, parse,
};
use libfuzzer_sys::fuzz_target;

// Path, content, path, content and so on, each with a zero byte behind it. A content of one byte 1 stands for a read that hangs.
fuzz_target!(|data: &[u8]| {
    let mut tree = Tree::default();
    let parts: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    for pair in parts.chunks_exact(2) {
        let path = String::from_utf8_lossy(pair[0]);
        match pair[1] {
            [1] => tree.insert_fault(&path, FaultKind::TimedOut),
            content => tree.insert(&path, content.to_vec()),
        }
    }
    let reading = parse(&tree);
    assert!(reading.thermal.len() <= MAX_SENSORS && reading.rapl.len() <= MAX_SENSORS);
    for zone in &reading.thermal {
        assert!((-60.0..=200.0).contains(&zone.celsius));
        assert!(zone.zone.len() <= MAX_LABEL_BYTES);
        assert!(zone.label.as_ref().is_none_or(|label| label.len() <= MAX_LABEL_BYTES));
    }
    if let Some(percent) = reading.charge_percent() {
        assert!((0.0..=100.0).contains(&percent));
    }
    if let Some(watts) = reading.discharge_watts() {
        assert!(watts.is_finite() && watts >= 0.0);
    }
    let mut meter = Meter::default();
    for second in 0..2 {
        meter.add(&reading, std::time::Duration::from_secs(second));
    }
    if let Some(energy) = meter.end_window() {
        assert!(energy.watts().is_finite());
    }
    let (thresholds, modes) = (Thresholds::default(), SignedModes::default());
    let start = DefaultPlan::default();
    let (_, plan) = start.next(&thresholds, &modes, &Moment::of(&reading), Default::default());
    assert!(plan.check(&modes).is_ok());
});
