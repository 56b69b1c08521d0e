//! Rollouts on the wire: what is written is read, within limits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_protocol::rollout::{
    DeviceReport, MAX_REPORT_BYTES, MAX_STATED, ROLLOUT_FORMAT, StatedRollout,
};
use hotshoe_rollout::{ArmFigures, Health, Report, SignedText, State};
use hotshoe_trust::Digest;

fn report(health: Health) -> DeviceReport {
    let report = Report {
        plan: Digest::of(b"plan"),
        number: 3,
        state: State::Trial,
        cause: String::new(),
        health: health.clone(),
        baseline: health,
        metric: ArmFigures::default(),
    };
    DeviceReport::new("jetson".to_owned(), report)
}

#[test]
fn a_report_with_all_bins_fits() {
    let mut health = Health::default();
    let mut value = 0.01;
    while value < 1e9 {
        for quantiles in [
            &mut health.latency_ms,
            &mut health.energy_mj,
            &mut health.drift_permille,
        ] {
            for _ in 0..3 {
                quantiles.add(value);
            }
        }
        value *= 1.04;
    }
    let written = report(health);
    let bytes = serde_json::to_vec(&written).unwrap();
    assert!(bytes.len() as u64 <= MAX_REPORT_BYTES, "{}", bytes.len());
    let read = DeviceReport::parse(&bytes).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.format, ROLLOUT_FORMAT);
}

#[test]
fn a_report_that_is_too_large_or_not_json_is_refused() {
    let large = vec![b' '; usize::try_from(MAX_REPORT_BYTES).unwrap() + 1];
    assert_eq!(DeviceReport::parse(&large).unwrap_err().name(), "too_large");
    assert_eq!(DeviceReport::parse(b"{").unwrap_err().name(), "malformed");
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    let mut value = serde_json::to_value(report(Health::default())).unwrap();
    value["new-field"] = 1.into();
    value["report"]["new-field"] = 1.into();
    let bytes = serde_json::to_vec(&value).unwrap();
    let read = DeviceReport::parse(&bytes).unwrap();
    assert_eq!(read, report(Health::default()));
}

#[test]
fn only_so_many_statements_are_read() {
    let text = br#"{"rollout-text":"{}","bundles":[]}"#;
    let text = SignedText::parse(text).unwrap();
    let stated = StatedRollout::new(text.clone(), vec![text.clone(); MAX_STATED + 1]);
    let bytes = serde_json::to_vec(&stated).unwrap();
    let read = StatedRollout::parse(&bytes).unwrap();
    assert_eq!(read.statements, vec![text; MAX_STATED]);
    assert_eq!(StatedRollout::parse(b"[").unwrap_err().name(), "malformed");
}
