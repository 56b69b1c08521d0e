//! A release serves before the choice of its backends has ended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;
#[path = "fixture/backends.rs"]
mod models_of_two_backends;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hotshoe_infer::Backend;
use hotshoe_pipeline::{BACKENDS_FILE, Backends, SelfTestError};
use tempfile::TempDir;

use fixture::{Fixture, Loaded, device};
use models_of_two_backends::{
    TEST, backend, both, compressed, corners, load, relu, sample, tensor, with_test, y,
};

/// Proves a release, and lets it serve.
fn prove(fixture: &Fixture, loaded: &Loaded, data: &TempDir) -> Result<(), SelfTestError> {
    let mut backends = Backends::open(data.path(), &fixture.inference);
    let proven = loaded
        .pipeline
        .prove_first(loaded.read(), &device(), &mut backends);
    backends.save();
    proven?;
    let path = fixture.path("m.onnx");
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    Ok(())
}

fn race(loaded: &Loaded) {
    let cancel = AtomicBool::new(false);
    loaded
        .pipeline
        .race_backends(loaded.read(), &device(), &cancel);
}

fn remember(fixture: &Fixture, loaded: &Loaded, data: &TempDir) {
    assert!(loaded.pipeline.has_switched());
    let mut backends = Backends::open(data.path(), &fixture.inference);
    loaded.pipeline.remember_switches(&mut backends);
    backends.save();
    assert!(!loaded.pipeline.has_switched());
}

fn loaded_backends(loaded: &Loaded) -> Vec<Backend> {
    loaded.pipeline.models()["m"].active().backends()
}

/// A self-test of [`relu`].
fn with_relu_test(fixture: &Fixture) {
    let x = tensor(&[2, 2], |at| at as f32 - 2.0);
    let y = tensor(&[2, 2], |at| (at as f32 - 2.0).max(0.0));
    fixture.file("x.npz", &sample(&[("x", x)]));
    fixture.file("y.npz", &sample(&[("y", y)]));
}

#[test]
fn samples_run_while_the_backends_are_measured_and_the_winner_is_remembered() {
    let Some(fixture) = both() else { return };
    with_relu_test(&fixture);
    for tests in [TEST, ""] {
        let data = TempDir::new().unwrap();
        let loaded = load(&fixture, &relu(), tests);
        prove(&fixture, &loaded, &data).unwrap();
        let (now, reason) = backend(&loaded);
        assert_eq!(now, "tract", "{reason}");
        assert!(reason.contains("in the background"), "{reason}");
        assert!(loaded.pipeline.has_races());
        assert_eq!(loaded_backends(&loaded).len(), 2);
        assert!(!data.path().join(BACKENDS_FILE).exists());

        let before: u64 = loaded.pipeline.model_runs().iter().map(|it| it.runs).sum();
        let ended = AtomicBool::new(false);
        let samples = thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                let mut worker = loaded.pipeline.worker();
                let mut samples = 0_u64;
                let mut one = || {
                    let x = tensor(&[1, 2], |at| at as f32);
                    assert_eq!(y(&mut worker, &[("x", x)]).as_f32().unwrap(), [0.0, 1.0]);
                    samples += 1;
                };
                while !ended.load(Ordering::Acquire) {
                    one();
                }
                one();
                samples
            });
            race(&loaded);
            ended.store(true, Ordering::Release);
            feeder.join().unwrap()
        });
        // Each ran once, and what was measured beside them is not counted.
        let runs = loaded.pipeline.model_runs();
        let counted: u64 = runs.iter().map(|it| it.runs).sum();
        assert_eq!(counted - before, samples);
        assert!(runs.iter().all(|it| it.faults == 0), "{runs:?}");

        let (won, reason) = backend(&loaded);
        assert!(reason.starts_with("measured "), "{reason}");
        assert_eq!(loaded_backends(&loaded).len(), 1);
        assert!(!loaded.pipeline.has_races());
        remember(&fixture, &loaded, &data);
        drop(loaded);
        let again = load(&fixture, &relu(), tests);
        prove(&fixture, &again, &data).unwrap();
        assert_eq!(backend(&again), (won, format!("remembered: {reason}")));
        assert!(!again.pipeline.has_races());
    }
}

#[test]
fn a_backend_that_fails_the_self_tests_is_dropped_with_the_reason() {
    let Some(fixture) = both() else { return };
    let data = TempDir::new().unwrap();
    // What tract gives.
    with_test(&fixture, [1.0, 22.0 / 7.0]);
    let loaded = load(&fixture, &corners(), TEST);
    prove(&fixture, &loaded, &data).unwrap();
    assert!(loaded.pipeline.has_races());
    race(&loaded);
    let (now, reason) = backend(&loaded);
    assert_eq!(now, "tract");
    assert!(
        reason.starts_with("ort disagrees with the self-test: "),
        "{reason}"
    );
    assert_eq!(loaded_backends(&loaded), [Backend::Tract]);
    // It never stands in, also after the next start.
    assert!(!loaded.pipeline.models()["m"].needs_backend_change(&[Backend::Tract].into()));
    remember(&fixture, &loaded, &data);
    drop(loaded);
    let loaded = load(&fixture, &corners(), TEST);
    prove(&fixture, &loaded, &data).unwrap();
    assert_eq!(backend(&loaded), (now, format!("remembered: {reason}")));
    drop(loaded);
    // What ONNX Runtime gives: it serves at once.
    let data = TempDir::new().unwrap();
    with_test(&fixture, [1.0, 4.0]);
    let loaded = load(&fixture, &corners(), TEST);
    prove(&fixture, &loaded, &data).unwrap();
    assert_eq!(backend(&loaded).0, "ort");
    assert!(!loaded.pipeline.has_races());
    drop(loaded);
    // Without a test, no one knows which is right.
    let loaded = load(&fixture, &corners(), "");
    let error = prove(&fixture, &loaded, &TempDir::new().unwrap()).unwrap_err();
    assert_eq!(error.name(), "backends_disagree");
    assert!(!loaded.pipeline.has_races());
}

#[test]
fn what_is_cancelled_changes_nothing_and_is_measured_later() {
    let Some(fixture) = both() else { return };
    with_relu_test(&fixture);
    let data = TempDir::new().unwrap();
    let loaded = load(&fixture, &relu(), TEST);
    prove(&fixture, &loaded, &data).unwrap();
    let before = backend(&loaded);
    let cancel = AtomicBool::new(true);
    loaded
        .pipeline
        .race_backends(loaded.read(), &device(), &cancel);
    assert_eq!(backend(&loaded), before);
    assert_eq!(loaded_backends(&loaded).len(), 2);
    assert!(loaded.pipeline.has_races());
    assert!(!loaded.pipeline.has_switched());
    race(&loaded);
    assert!(backend(&loaded).1.starts_with("measured "));
}

#[test]
fn a_backend_that_fails_before_the_race_has_ended_gives_way_at_once() {
    let Some(fixture) = both() else { return };
    let data = TempDir::new().unwrap();
    // Of one row both make the same; of 300 tract makes no plan.
    let loaded = load(&fixture, &compressed(None), "");
    let mut backends = Backends::open(data.path(), &fixture.inference);
    loaded
        .pipeline
        .decide_first(loaded.read(), &device(), &mut backends);
    let path = fixture.path("m.onnx");
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    assert!(loaded.pipeline.has_races(), "{:?}", backend(&loaded));
    let inputs = [
        ("x", tensor(&[300, 4], |at| at as f32)),
        ("c", tensor(&[300], |_| 1.0)),
    ];
    let mut worker = loaded.pipeline.worker();
    assert_eq!(y(&mut worker, &inputs).shape(), [300, 4]);
    let (now, reason) = backend(&loaded);
    assert_eq!(now, "ort");
    assert!(reason.starts_with("tract failed: "), "{reason}");
    race(&loaded);
    assert!(!loaded.pipeline.has_races());
    assert_eq!(backend(&loaded), (now, reason));
    remember(&fixture, &loaded, &data);
}
