//! Components of `hotshoe:pipeline@0.2.0` that leave samples out: a stage, and the filters that ship.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use hotshoe_engine::{ErrorCode, Fault, Insight, Sample};
use hotshoe_pipeline::{Outcome, RunMode, Worker};

use fixture::{Fixture, device, process, process_from};

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

fn stages(outcome: &Outcome) -> Vec<&str> {
    outcome.stages.iter().map(|it| it.name.as_str()).collect()
}

/// Why the sample was skipped.
#[track_caller]
fn skipped(outcome: Outcome) -> String {
    let error = outcome.result.unwrap_err();
    assert_eq!(error.fault, Fault::Skipped, "{error}");
    error.message
}

#[test]
fn a_skipped_sample_ends_at_its_component_with_a_reason_and_the_next_one_has_a_result() {
    let fixture = Fixture::new();
    let pipeline = fixture.load(PICTURES).unwrap().pipeline;
    let mut worker = pipeline.worker();
    for _ in 0..2 {
        let outcome = process(&mut worker, "application/x-skip", b"");
        assert_eq!(stages(&outcome), ["pictures"]);
        assert_eq!(skipped(outcome), "no picture is wanted");
        let outcome = process(&mut worker, "image/png", b"no picture");
        assert_eq!(stages(&outcome), ["pictures", "empty-policy"]);
        let insight = outcome.result.unwrap().insight;
        assert!(matches!(insight, Insight::Classes { .. }), "{insight:?}");
    }
}

/// A worker of a pipeline of this filter and the stage `measure`.
fn filtered(fixture: &Fixture, filter: &str, lines: &str) -> Worker {
    let release = format!(
        r#"generation = 1
[components.{filter}]
file = "{{guests}}/{filter}.wasm"
world = "filter"
{lines}
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[[pipeline]]
filter = "{filter}"
[[pipeline]]
stage = "measure"
"#
    );
    fixture.load(&release).unwrap().pipeline.worker()
}

#[test]
fn the_motion_filter_lets_through_what_differs_from_the_last_one_of_its_source() {
    const FRAME: &str = "video/x-raw; format=GRAY8; width=64; height=48";
    let fixture = Fixture::new();
    let lines = "grants = [\"config\", \"vision\"]\ninstance = \"per-source\"";
    let mut worker = filtered(&fixture, "motion-filter", lines);
    let mut frame =
        |source: &str, grey: u8| process_from(&mut worker, source, FRAME, &[grey; 64 * 48]);
    let first = frame("east", 100);
    assert_eq!(stages(&first), ["motion-filter", "measure"]);
    assert!(first.result.is_ok());
    let still = frame("east", 100);
    assert_eq!(stages(&still), ["motion-filter"]);
    assert_eq!(
        skipped(still),
        "the picture differs by 0.0000 from the last one that was let through, which is below 0.02"
    );
    // 2 of 255 are 0.0078, 6 are 0.0235: small steps add up, since the last one that was let through counts.
    assert!(skipped(frame("east", 102)).contains("by 0.0078"));
    assert!(skipped(frame("east", 104)).contains("by 0.0157"));
    assert!(frame("east", 106).result.is_ok());
    // The other source has a last picture of its own.
    assert!(frame("west", 106).result.is_ok());
    skipped(frame("west", 106));
    let broken = process(&mut worker, "image/png", b"no picture");
    let error = broken.result.unwrap_err();
    assert_eq!(error.fault, Fault::Guest(ErrorCode::Unsupported));
    assert_eq!(error.stage, "motion-filter");
}

#[test]
fn a_filter_sees_masked_pixels_only() {
    const FRAME: &str = "video/x-raw; format=GRAY8; width=64; height=48";
    let fixture = Fixture::new();
    let lines = "grants = [\"config\", \"vision\"]\ninstance = \"per-source\"\n[privacy]\nmasks = [{ source = \"*\", polygon = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] }]";
    let mut worker = filtered(&fixture, "motion-filter", lines);
    let mut halves = |left: u8, right: u8| {
        let row = [[left; 32], [right; 32]].concat();
        process_from(&mut worker, "east", FRAME, &row.repeat(48))
    };
    let first = halves(0, 100);
    assert_eq!(stages(&first), ["privacy", "motion-filter", "measure"]);
    assert!(first.result.is_ok());
    let still = skipped(halves(250, 100));
    assert!(still.contains("by 0.0000"), "{still}");
    assert!(halves(250, 150).result.is_ok());
}

#[test]
fn the_motion_filter_lets_something_through_after_so_long() {
    let fixture = Fixture::new();
    let lines = "grants = [\"config\", \"vision\"]\ninstance = \"per-source\"\nconfig = { at-least-every-seconds = \"2\" }";
    let mut worker = filtered(&fixture, "motion-filter", lines);
    let mut at = |seconds: f64| {
        let kind = "video/x-raw; format=GRAY8; width=2; height=2";
        worker.process(
            &taken(seconds, kind, &[7; 4]),
            &device(),
            &RunMode::default(),
        )
    };
    assert!(at(10.0).result.is_ok());
    skipped(at(11.9));
    assert!(at(12.0).result.is_ok());
    skipped(at(13.0));
}

/// A sample that was taken so many seconds after 1970.
fn taken(seconds: f64, content_type: &str, payload: &[u8]) -> Sample {
    Sample {
        id: "sample".to_owned(),
        source: "test".to_owned(),
        content_type: content_type.to_owned(),
        timestamp_us: (seconds * 1e6) as u64,
        payload: payload.into(),
    }
}

#[test]
fn a_duty_cycle_lets_through_the_beginning_of_each_period() {
    let fixture = Fixture::new();
    let mut worker = filtered(&fixture, "duty-cycle", "grants = [\"config\"]");
    let mut at = |seconds: f64| {
        let sample = taken(seconds, "application/octet-stream", b"sample");
        worker.process(&sample, &device(), &RunMode::default())
    };
    for on in [0.0, 9.5, 60.0, 69.0] {
        assert!(at(on).result.is_ok(), "{on}");
    }
    for off in [10.0, 59.5, 70.0] {
        let said = skipped(at(off));
        assert!(
            said.ends_with("s into its period of 60 s, of which the first 10 s count"),
            "{said}"
        );
    }
    let lines = "grants = [\"config\"]\nconfig = { period-seconds = \"0\" }";
    let mut wrong = filtered(&fixture, "duty-cycle", lines);
    let error = process(&mut wrong, "text/plain", b"sample")
        .result
        .unwrap_err();
    assert_eq!(error.fault, Fault::Guest(ErrorCode::Internal));
    assert!(error.message.contains("the setting period-seconds is `0`"));
}
