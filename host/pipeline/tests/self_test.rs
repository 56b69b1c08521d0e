//! Releases that prove themselves, or do not, before they serve.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::fs;

use hotshoe_engine::Action;
use hotshoe_pipeline::{SelfTestError, SelfTestReport};

use fixture::{Fixture, Loaded, device, environment, process, release_with};

/// Three bytes whose sum is 6, and what `measure` makes of them.
const SAMPLE: &[u8] = &[1, 2, 3];
const EXPECTED: &str = r#"{"kind":"scalars","scalars":[{"name":"bytes","value":3.0,"unit":""},{"name":"sum","value":6.0,"unit":""}]}"#;

fn load(fixture: &Fixture, policy: &str, tests: usize, expected: &str) -> Loaded {
    fixture.file("sample.bin", SAMPLE);
    fixture.file("expected.json", expected.as_bytes());
    let mut release = release_with(1, policy, "grants = [\"state\"]", "");
    for test in 1..=tests {
        release.push_str(&format!(
            "[[tests]]\nname = \"three-bytes-{test}\"\nsample = \"sample.bin\"\ncontent-type = \"application/octet-stream\"\nexpected = \"expected.json\"\n"
        ));
    }
    fixture.load(&release).unwrap()
}

fn run(loaded: &Loaded) -> Result<Vec<SelfTestReport>, SelfTestError> {
    loaded.pipeline.self_test(loaded.read(), &device())
}

#[test]
fn a_release_that_does_as_its_author_saw_passes_and_keeps_its_state() {
    let fixture = Fixture::new();
    let loaded = load(&fixture, "counting-policy", 2, EXPECTED);
    let reports = run(&loaded).unwrap();
    let passed: Vec<(&str, f64)> = reports
        .iter()
        .map(|report| (report.name.as_str(), report.agreement))
        .collect();
    assert_eq!(passed, [("three-bytes-1", 1.0), ("three-bytes-2", 1.0)]);
    // The policy counted both samples, in a copy.
    assert!(loaded.pipeline.state_snapshot().is_empty());
    assert_eq!(loaded.pipeline.state_changes(), 0);
}

#[test]
fn another_result_is_named_with_both_figures() {
    let fixture = Fixture::new();
    let wrong = EXPECTED.replace("6.0", "7.0");
    let error = run(&load(&fixture, "counting-policy", 1, &wrong)).unwrap_err();
    assert_eq!(error.name(), "self_test_failed");
    let SelfTestError::Failed {
        test,
        found,
        wanted,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((test.as_str(), found, wanted), ("three-bytes-1", 0.5, 0.99));
}

#[test]
fn a_test_that_ends_with_an_error_fails_the_release() {
    let fixture = Fixture::new();
    let loaded = load(&fixture, "flaky-policy", 3, EXPECTED);
    let error = run(&loaded).unwrap_err();
    assert_eq!(error.name(), "self_test_error");
    assert!(error.to_string().contains("three-bytes-3"), "{error}");
    // It begins again with the state that goes live, so that it fails in the same way.
    assert_eq!(run(&loaded).unwrap_err().name(), "self_test_error");
}

#[test]
fn an_expected_result_that_is_none_is_told_as_such() {
    let fixture = Fixture::new();
    for expected in ["?", "{}", "[1, 2]", r#"{"kind":"song"}"#] {
        let error = run(&load(&fixture, "counting-policy", 1, expected)).unwrap_err();
        assert_eq!(error.name(), "self_test_unreadable", "{expected}");
    }
}

#[test]
fn a_release_without_tests_is_started_all_the_same() {
    let fixture = Fixture::new();
    let loaded = load(&fixture, "counting-policy", 0, EXPECTED);
    assert_eq!(run(&loaded).unwrap(), []);
    loaded.pipeline.warm_up().unwrap();
}

/// The label reader's release, with paths that hold from anywhere.
fn application() -> String {
    let root = &environment().root;
    let folder = root.join("examples/label-reader");
    fs::read_to_string(folder.join("release.toml"))
        .unwrap()
        .replace("\"../../", &format!("\"{}/", root.display()))
        .replace(
            "\"rules.json",
            &format!("\"{}/rules.json", folder.display()),
        )
        .replace("\"expected/", &format!("\"{}/expected/", folder.display()))
}

/// The application's second release: the same weights in another file, and a policy that counts legible lines alone.
fn second(fixture: &Fixture) -> String {
    /// A field of ONNX's outermost message, `metadata_props`, with the entry `version: 2`.
    const VERSION: &[u8] = b"\x72\x0c\x0a\x07version\x12\x012";
    let mut model = fs::read(environment().model("recognise")).unwrap();
    model.extend_from_slice(VERSION);
    fixture.file("recognise.onnx", &model);
    application()
        .replace("generation = 1", "generation = 2")
        .replace("policy-label.wasm", "policy-legible.wasm")
        .replace(
            "grants = [\"data\"]",
            "grants = [\"data\", \"config\"]\nconfig = { min-score = \"0.95\" }",
        )
        .replace(
            &environment().model("recognise").display().to_string(),
            &fixture.path("recognise.onnx"),
        )
}

#[test]
fn the_application_proves_itself_and_its_second_release_is_warm_before_it_serves() {
    let fixture = Fixture::new();
    let first = fixture.load_text(&application()).unwrap();
    let reports = run(&first).unwrap();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].agreement >= reports[0].min_agreement);

    let second = fixture.load_text(&second(&fixture)).unwrap();
    let model = |loaded: &Loaded| {
        loaded.pipeline.release().models["recognise"].variants[0]
            .blob
            .digest
    };
    assert_ne!(model(&first), model(&second));
    second.pipeline.warm_up_like(&first.pipeline);

    let page = fs::read(environment().picture("page.png")).unwrap();
    let decision = process(&mut second.pipeline.worker(), "image/png", &page)
        .result
        .unwrap();
    assert!(decision.published());
    let Some(Action::Alert { message, .. }) = decision.actions.first() else {
        panic!("{:?}", decision.actions);
    };
    assert!(message.starts_with("1 of 5 lines"), "{message}");
}
