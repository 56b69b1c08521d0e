//! Two backends that can run a model: one that fails never wins, and where they disagree something has to say which is right.
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

use std::collections::BTreeSet;
use std::fs;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::Fault;
use hotshoe_infer::{Backend, BackendChoice, npz};
use hotshoe_pipeline::{BACKENDS_FILE, Backends, SelfTestError};
use hotshoe_tests::until;
use hotshoe_trust::Digest;
use tempfile::TempDir;

use fixture::onnx::Graph;
use fixture::{Fixture, Loaded, device, process};
use models_of_two_backends::{
    TEST, backend, both, compressed, corners, load, relu, sample, tensor, with_test, y,
};

fn prove(fixture: &Fixture, loaded: &Loaded, data: &TempDir) -> Result<(), SelfTestError> {
    let mut backends = Backends::open(data.path(), &fixture.inference);
    let proven = loaded
        .pipeline
        .prove(loaded.read(), &device(), &mut backends);
    backends.save();
    proven.map(drop)
}

/// `y = Relu(x)`, and `x` itself, which tract does not give back.
fn with_its_input() -> Vec<u8> {
    Graph::default()
        .input("x", &[Some(1), Some(100)])
        .node("Relu", &["x"], "y")
        .output("y", &[Some(1), Some(100)])
        .output("x", &[Some(1), Some(100)])
        .file()
}

#[test]
fn a_backend_that_fails_does_not_win() {
    let Some(fixture) = both() else { return };
    let x = [("x", tensor(&[1, 100], |at| at as f32 - 50.0))];
    let rows = [
        ("x", tensor(&[300, 4], |at| at as f32)),
        ("c", tensor(&[300], |at| (at % 3) as f32)),
    ];
    for (model, inputs, first) in [
        (with_its_input(), &x[..], 0.0),
        (compressed(Some(300)), &rows, 4.0),
    ] {
        let data = TempDir::new().unwrap();
        for start in ["measured", "remembered"] {
            let loaded = load(&fixture, &model, "");
            prove(&fixture, &loaded, &data).unwrap();
            loaded.pipeline.settle();
            let (backend, reason) = backend(&loaded);
            assert_eq!(backend, "ort", "{start}: {reason}");
            assert!(reason.contains("tract fails"), "{start}: {reason}");
            assert_eq!(reason.starts_with("remembered"), start == "remembered");
            let y = y(&mut loaded.pipeline.worker(), inputs);
            assert_eq!(y.as_f32().unwrap()[0], first, "{start}");
        }
    }
}

#[test]
fn the_other_backend_takes_over_where_the_chosen_one_fails() {
    let Some(fixture) = both() else { return };
    let data = TempDir::new().unwrap();
    // Of one row both make the same; of 300 tract makes no plan.
    let model = compressed(None);
    let path = fixture.path("m.onnx");
    let loaded = load(&fixture, &model, "");
    let mut backends = Backends::open(data.path(), &fixture.inference);
    loaded.pipeline.recall(&backends);
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    let mut worker = loaded.pipeline.worker();
    let inputs = |rows: usize| {
        [
            ("x", tensor(&[rows, 4], |at| at as f32)),
            ("c", tensor(&[rows], |_| 1.0)),
        ]
    };
    assert_eq!(backend(&loaded).0, "tract");
    assert!(!loaded.pipeline.has_switched());
    for rows in [1, 300, 1, 301] {
        let y = y(&mut worker, &inputs(rows));
        assert_eq!(y.shape(), [rows, 4]);
        let last = (4 * rows - 1) as f32;
        assert_eq!(y.as_f32().unwrap().last(), Some(&last));
    }
    let (now, reason) = backend(&loaded);
    assert_eq!(now, "ort");
    assert!(reason.starts_with("tract failed: "), "{reason}");
    // It is remembered, once.
    assert!(loaded.pipeline.has_switched());
    loaded.pipeline.remember_switches(&mut backends);
    backends.save();
    assert!(!loaded.pipeline.has_switched());
    drop((worker, loaded));
    let again = load(&fixture, &model, "");
    again
        .pipeline
        .recall(&Backends::open(data.path(), &fixture.inference));
    let (now, reason) = backend(&again);
    assert_eq!(now, "ort");
    assert!(reason.starts_with("remembered: tract failed: "), "{reason}");
}

#[test]
fn an_input_that_fails_on_both_changes_nothing() {
    let Some(fixture) = both() else { return };
    // Rows and columns that do not fit together.
    let model = Graph::default()
        .input("x", &[None, Some(4)])
        .input("c", &[None])
        .node("Mul", &["x", "c"], "y")
        .output("y", &[None, Some(4)])
        .file();
    let path = fixture.path("m.onnx");
    let loaded = load(&fixture, &model, "");
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    let mut worker = loaded.pipeline.worker();
    let inputs = |columns: usize| {
        [
            ("x", tensor(&[2, 4], |at| at as f32)),
            ("c", tensor(&[columns], |_| 2.0)),
        ]
    };
    for _ in 0..2 {
        let outcome = process(&mut worker, npz::CONTENT_TYPE, &sample(&inputs(3)));
        let refused = outcome.result.unwrap_err();
        assert_eq!(refused.fault, Fault::Tensor, "{refused}");
        assert_eq!(backend(&loaded).0, "tract");
        assert_eq!(y(&mut worker, &inputs(4)).as_f32().unwrap()[1], 2.0);
    }
    assert!(!loaded.pipeline.has_switched());
}

#[test]
fn backends_that_disagree_are_decided_by_a_test_or_refused() {
    let Some(fixture) = both() else { return };
    let data = TempDir::new().unwrap();
    for _ in 0..2 {
        let loaded = load(&fixture, &corners(), "");
        let error = prove(&fixture, &loaded, &data).unwrap_err();
        assert_eq!(error.name(), "backends_disagree");
        let said = error.to_string();
        for part in [
            "model `m`",
            "output `y`",
            "self-test",
            "[inference.models.m]",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(loaded.pipeline.undecided().unwrap().model, "m");
        // Nothing is remembered of it, so that it is refused again.
        assert!(!data.path().join(BACKENDS_FILE).exists());
    }
    // What tract gives, and what ONNX Runtime does.
    for (wanted, right) in [([1.0, 22.0 / 7.0], "tract"), ([1.0, 4.0], "ort")] {
        let data = TempDir::new().unwrap();
        with_test(&fixture, wanted);
        let loaded = load(&fixture, &corners(), TEST);
        prove(&fixture, &loaded, &data).unwrap();
        let (chosen, reason) = backend(&loaded);
        assert_eq!(chosen, right, "{reason}");
        assert!(reason.contains("disagrees with the self-test"), "{reason}");
        assert!(loaded.pipeline.undecided().is_none());
        assert!(loaded.pipeline.untested().is_empty());
        // The other one is known to be wrong, so that it never stands in.
        let path = fixture.path("m.onnx");
        loaded
            .pipeline
            .settle_with_standbys(move |_| fs::read(&path).ok());
        assert_eq!(loaded.pipeline.models()["m"].active().backends().len(), 1);
    }
    // Or by the operator.
    let mut fixture = fixture;
    for choice in [BackendChoice::Tract, BackendChoice::Ort] {
        fixture.inference.backend = choice;
        let data = TempDir::new().unwrap();
        let loaded = load(&fixture, &corners(), "");
        prove(&fixture, &loaded, &data).unwrap();
        assert_eq!(loaded.pipeline.untested(), ["m"]);
    }
}

/// Earlier versions chose backends that fail or disagree, and remembered them.
#[test]
fn what_an_earlier_version_chose_is_measured_again() {
    let Some(fixture) = both() else { return };
    let data = TempDir::new().unwrap();
    let loaded = load(&fixture, &with_its_input(), "");
    prove(&fixture, &loaded, &data).unwrap();
    drop(loaded);
    let path = data.path().join(BACKENDS_FILE);
    let digest = Digest::of(&with_its_input()).to_string();
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.contains(&digest), "{kept}");
    let older = kept
        .replace(",\"alike\":false", "")
        .replace("\"backend\":\"ort\"", "\"backend\":\"tract\"");
    assert_ne!(older, kept);
    fs::write(&path, older).unwrap();
    let loaded = load(&fixture, &with_its_input(), "");
    prove(&fixture, &loaded, &data).unwrap();
    let (backend, reason) = backend(&loaded);
    assert_eq!(backend, "ort");
    assert!(reason.starts_with("tract fails"), "{reason}");
}

/// A model on tract, with ONNX Runtime as its standby.
fn with_standby(fixture: &Fixture, model: &[u8]) -> Loaded {
    let loaded = load(fixture, model, "");
    let path = fixture.path("m.onnx");
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    assert_eq!(backend(&loaded).0, "tract");
    loaded
}

fn avoid(loaded: &Loaded, backends: &[&str]) {
    let backends: BTreeSet<String> = backends.iter().map(|it| (*it).to_owned()).collect();
    loaded
        .pipeline
        .avoid_backends(&backends, &Supervisor::default());
}

#[test]
fn an_avoided_backend_gives_way_while_samples_run_and_returns_when_it_is_no_longer_avoided() {
    let Some(fixture) = both() else { return };
    let loaded = with_standby(&fixture, &relu());
    let mut worker = loaded.pipeline.worker();
    let mut samples = 0;
    let mut run = || {
        let y = y(&mut worker, &[("x", tensor(&[1, 2], |at| at as f32))]);
        assert_eq!(y.as_f32().unwrap(), [0.0, 1.0]);
        samples += 1;
    };
    run();
    for _ in 0..2 {
        until("ONNX Runtime serves", || {
            // A plan may come while the thread of the one before it still ends.
            avoid(&loaded, &["tract", "cuda"]);
            run();
            backend(&loaded).0 == "ort"
        });
        run();
        assert_eq!(backend(&loaded).1, "tract is avoided for now");
        // The plan is made again at each start, and so is this.
        assert!(!loaded.pipeline.has_switched());
        until("tract serves", || {
            avoid(&loaded, &[]);
            run();
            backend(&loaded).0 == "tract"
        });
        run();
        assert_eq!(backend(&loaded).1, "tract works again");
    }
    let runs = loaded.pipeline.model_runs();
    let backends: Vec<&str> = runs.iter().map(|it| it.backend.as_str()).collect();
    assert_eq!(backends, ["tract", "ort"]);
    assert_eq!(runs.iter().map(|it| it.runs).sum::<u64>(), samples);
    assert!(runs.iter().all(|it| it.faults == 0));
}

#[test]
fn without_another_backend_an_avoided_one_goes_on() {
    let Some(fixture) = both() else { return };
    // All are avoided.
    let loaded = with_standby(&fixture, &relu());
    avoid(&loaded, &["tract", "ort"]);
    assert!(
        !loaded.pipeline.models()["m"].needs_backend_change(&[Backend::Tract, Backend::Ort].into())
    );
    assert_eq!(backend(&loaded).0, "tract");
    drop(loaded);
    // The other one gives something else, so that it never stands in.
    with_test(&fixture, [1.0, 22.0 / 7.0]);
    let loaded = load(&fixture, &corners(), TEST);
    prove(&fixture, &loaded, &TempDir::new().unwrap()).unwrap();
    let path = fixture.path("m.onnx");
    loaded
        .pipeline
        .settle_with_standbys(move |_| fs::read(&path).ok());
    assert_eq!(backend(&loaded).0, "tract");
    avoid(&loaded, &["tract"]);
    assert!(!loaded.pipeline.models()["m"].needs_backend_change(&[Backend::Tract].into()));
    assert_eq!(backend(&loaded).0, "tract");
}

#[test]
fn a_backend_that_failed_is_counted_and_not_tried_again_at_once() {
    let Some(fixture) = both() else { return };
    // Of one row both make the same; of 300 tract makes no plan.
    let loaded = with_standby(&fixture, &compressed(None));
    let mut worker = loaded.pipeline.worker();
    for rows in [1, 300, 1] {
        let inputs = [
            ("x", tensor(&[rows, 4], |at| at as f32)),
            ("c", tensor(&[rows], |_| 1.0)),
        ];
        assert_eq!(y(&mut worker, &inputs).shape(), [rows, 4]);
    }
    let runs = loaded.pipeline.model_runs();
    let counted: Vec<_> = (runs.iter())
        .map(|it| (it.backend.as_str(), it.runs, it.faults, it.faults_in_a_row))
        .collect();
    assert_eq!(counted, [("tract", 2, 1, 1), ("ort", 2, 0, 0)]);
    avoid(&loaded, &[]);
    assert!(!loaded.pipeline.models()["m"].needs_backend_change(&BTreeSet::new()));
    assert_eq!(backend(&loaded).0, "ort");
}
