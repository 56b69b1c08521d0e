//! The baseline of a release, and a monitor of it.
#![no_main]

use std::time::Duration;

use hotshoe_drift::{Baseline, MAX_SERIES, Measured, Monitor, Source, Value, measure};
use hotshoe_trust::Drift;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(baseline) = Baseline::parse(data) else {
        return;
    };
    assert!(baseline.series().len() <= MAX_SERIES);
    let rules = Drift {
        window: 20,
        at_least: 20,
        ..Drift::new(())
    };
    let Ok(mut monitor) = Monitor::new(&baseline, &rules) else {
        return;
    };
    let insight = serde_json::json!({"values": [1.0, 2.0], "lines": [{"score": 1e300}]});
    let measured = measure(monitor.sources(), &insight, |_, _| None);
    let extremes = Measured(monitor.sources().iter().map(extreme).collect());
    for sample in 0..19 {
        let measured = if sample % 2 == 0 { &measured } else { &extremes };
        let rarity = monitor.rarity(measured);
        assert!(rarity.is_none_or(|it| (0.0..=1.0).contains(&it)));
        assert!(monitor.add(measured, Duration::from_secs(sample)).is_none());
    }
    let verdict = monitor.add(&extremes, Duration::from_secs(20)).expect("a full window");
    for finding in verdict.series.iter().flat_map(|it| &it.findings) {
        assert!(!finding.value.is_nan());
        assert!(finding.p_value.is_none_or(|it| (0.0..=1.0).contains(&it)));
    }
});

fn extreme(source: &Source) -> Option<Value> {
    Some(match source {
        Source::Number { .. } | Source::Tensor { .. } => Value::Number(1e12),
        Source::Label { .. } => Value::Labels(vec!["not known".to_owned(); 3]),
        Source::Embedding { .. } => Value::Vector(vec![1e12, -1e12]),
    })
}
