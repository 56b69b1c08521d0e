//! A component of `hotshoe:pipeline@0.2.0` that leaves samples out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use hotshoe_engine::{Fault, Insight};

use fixture::{Fixture, process};

const PICTURES: &str = r#"generation = 1
[components.pictures]
file = "{guests}/pictures.wasm"
world = "stage"
grants = ["vision"]
[components.empty-policy]
file = "{guests}/empty-policy.wasm"
world = "policy"
[[pipeline]]
stage = "pictures"
[[pipeline]]
policy = "empty-policy"
"#;

#[test]
fn a_skipped_sample_ends_at_its_component_with_a_reason_and_the_next_one_has_a_result() {
    let fixture = Fixture::new();
    let pipeline = fixture.load(PICTURES).unwrap().pipeline;
    let mut worker = pipeline.worker();
    for _ in 0..2 {
        let outcome = process(&mut worker, "application/x-skip", b"");
        let skipped = outcome.result.unwrap_err();
        assert_eq!(skipped.fault, Fault::Skipped);
        assert_eq!(
            (skipped.stage.as_str(), skipped.message.as_str()),
            ("pictures", "no picture is wanted")
        );
        let stages: Vec<_> = outcome.stages.into_iter().map(|it| it.name).collect();
        assert_eq!(stages, ["pictures"]);
        let outcome = process(&mut worker, "image/png", b"no picture");
        let insight = outcome.result.unwrap().insight;
        assert!(matches!(insight, Insight::Classes { .. }), "{insight:?}");
    }
}
