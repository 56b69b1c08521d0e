//! Texts of components go by class in a device, and where components hold state: it was made of samples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::sync::Arc;

use hotshoe_base::Clock;
use hotshoe_egress::WITHHELD;
use hotshoe_pipeline::{BackOffs, Pipeline, SampleError, Worker};

use fixture::{Fixture, process};

const SECRET: &str = "a_name_of_a_person";

/// A stage that returns its sample's text in its errors, and a policy that keeps a count.
const RELEASE: &str = r#"generation = 1
[components.leaking-stage]
file = "{guests}/leaking-stage.wasm"
world = "stage"
grants = ["log", "metrics"]
[components.counting-policy]
file = "{guests}/counting-policy.wasm"
world = "policy"
grants = ["state"]
[[pipeline]]
stage = "leaking-stage"
[[pipeline]]
policy = "counting-policy"
[data-contract]
outputs = { insight = "people" }
[data-contract.classes.people]
upload = "never"
"#;

fn failure(worker: &mut Worker) -> SampleError {
    let sample = format!("fail {SECRET}");
    let outcome = process(worker, "text/plain", sample.as_bytes());
    let error = outcome.result.unwrap_err();
    assert_eq!(error.stage, "leaking-stage");
    error
}

fn loaded(fixture: &Fixture) -> Arc<Pipeline> {
    fixture.load(RELEASE).unwrap().pipeline
}

#[test]
fn an_author_sees_a_text_and_a_device_that_keeps_it_does_not() {
    let fixture = Fixture::new();
    let pipeline = loaded(&fixture);
    let shown = failure(&mut pipeline.worker());
    assert!(shown.message.contains(SECRET), "{shown}");
    let back_offs = Arc::new(BackOffs::timed_by(Clock::system()));
    let kept = failure(&mut pipeline.worker_with_back_off(&back_offs));
    assert_eq!(kept.message, WITHHELD);
    assert_eq!(kept.fault, shown.fault);
}

#[test]
fn a_text_that_may_quote_state_is_kept_too() {
    let fixture = Fixture::new();
    let pipeline = loaded(&fixture);
    assert!(failure(&mut pipeline.worker()).message.contains(SECRET));
    let counted = process(&mut pipeline.worker(), "text/plain", b"keep one");
    assert!(counted.result.is_ok(), "{:?}", counted.result);
    assert!(!pipeline.state_snapshot().is_empty());
    // A self-test runs on such a copy.
    for worker in [&mut pipeline.worker(), &mut pipeline.fork().worker()] {
        assert_eq!(failure(worker).message, WITHHELD);
    }
}
