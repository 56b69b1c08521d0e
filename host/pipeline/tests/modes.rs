//! Modes of a release: which variants run, what rests, how they are measured, and that a sample runs wholly in one of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use hotshoe_engine::{Action, Fault, Insight, Sample};
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits};
use hotshoe_pipeline::{Backends, Outcome, RunMode, Worker};
use hotshoe_trust::RestingOutput;

use fixture::onnx::{self, Graph};
use fixture::{Fixture, Loaded, device, environment, release_with};

const BYTES: &str = "application/octet-stream";

/// A picture of zeros, a model with three variants, and its two scores.
fn release(modes: &str, tests: &str) -> String {
    format!(
        r#"generation = 1
[components.pre]
file = "{{guests}}/hostile.wasm"
world = "preprocessor"
[components.post]
file = "{{guests}}/classify-angle-post.wasm"
world = "postprocessor"
[models.m]
prefer = ["large", "middle", "small"]
variants = {{ large = "large.onnx", middle = "middle.onnx", small = "small.onnx" }}
[[pipeline]]
preprocess = "pre"
[[pipeline]]
infer = "m"
[[pipeline]]
postprocess = "post"
[modes.full]
level = 0
{modes}
{tests}"#
    )
}

const MODES: &str = "[modes.reduced]\nlevel = 1\nvariants = { m = \"middle\" }\n[modes.minimal]\nlevel = 2\nvariants = { m = \"small\" }\n";

fn with_variants(fixture: &Fixture, large: &[u8], middle: &[u8], small: &[u8]) {
    fixture.file("large.onnx", large);
    fixture.file("middle.onnx", middle);
    fixture.file("small.onnx", small);
}

fn process(worker: &mut Worker, mode: &RunMode, content_type: &str, payload: &[u8]) -> Outcome {
    let sample = Sample {
        id: "sample".to_owned(),
        source: "test".to_owned(),
        content_type: content_type.to_owned(),
        timestamp_us: 0,
        payload: payload.into(),
    };
    worker.process(&sample, &device(), mode)
}

/// The score of the class "0", in units of the models.
fn score(worker: &mut Worker, mode: &RunMode) -> Result<f32, Fault> {
    let outcome = process(worker, mode, BYTES, b"go");
    let decision = outcome.result.map_err(|error| error.fault)?;
    let Insight::Classes { classes } = decision.insight else {
        panic!("{:?}", decision.insight);
    };
    let zero = classes.iter().find(|class| class.label == "0").unwrap();
    Ok(zero.score / onnx::UNIT)
}

/// How often each variant of the model has run, and how often it failed.
fn runs(loaded: &Loaded) -> Vec<(String, u64, u64, u32)> {
    let all = loaded.pipeline.model_runs().into_iter();
    all.map(|it| (it.variant, it.runs, it.faults, it.faults_in_a_row))
        .collect()
}

fn of(variant: &str, runs: u64, faults: u64, in_a_row: u32) -> (String, u64, u64, u32) {
    (variant.to_owned(), runs, faults, in_a_row)
}

#[test]
fn a_mode_runs_its_variant_and_an_unknown_one_is_the_full_mode() {
    let fixture = Fixture::new();
    let constant = |score| onnx::constant(score, 0.0);
    with_variants(&fixture, &constant(3.0), &constant(2.0), &constant(1.0));
    let loaded = fixture.load(&release(MODES, "")).unwrap();
    let mut worker = loaded.pipeline.worker();
    for (mode, skipped, name, wanted) in [
        (None, 0, "full", 3.0),
        (Some("full"), 0, "full", 3.0),
        (Some("reduced"), 0, "reduced", 2.0),
        (Some("minimal"), 0, "minimal", 1.0),
        (Some("turbo"), 0, "full", 3.0),
        (None, 1, "full", 2.0),
        (Some("reduced"), 1, "reduced", 2.0),
        (Some("reduced"), 2, "reduced", 1.0),
        // The last variant always stays.
        (None, u32::MAX, "full", 1.0),
    ] {
        let mode = loaded.pipeline.run_mode(mode, skipped);
        assert_eq!(mode.name(), Some(name));
        assert_eq!(score(&mut worker, &mode), Ok(wanted), "{mode:?}");
    }
    assert_eq!(score(&mut worker, &RunMode::default()), Ok(3.0));
    let expected = [
        of("large", 4, 0, 0),
        of("middle", 3, 0, 0),
        of("small", 3, 0, 0),
    ];
    assert_eq!(runs(&loaded), expected);
    let backends = loaded.pipeline.model_runs().into_iter();
    assert!(backends.clone().all(|it| it.model == "m"));
    assert!(backends.clone().all(|it| it.backend == "tract"));
    // The order of preference is as it was.
    assert_eq!(loaded.pipeline.models()["m"].variant(), "large");
}

#[test]
fn a_release_without_modes_has_a_full_mode_without_a_name() {
    let fixture = Fixture::new();
    let loaded = fixture
        .load(&release_with(1, "empty-policy", "", ""))
        .unwrap();
    let mode = loaded.pipeline.run_mode(Some("minimal"), 3);
    assert_eq!(*mode, RunMode::default());
    assert!(loaded.pipeline.mode_figures().is_empty());
    assert!(loaded.pipeline.model_runs().is_empty());
}

#[test]
fn in_a_mode_a_variant_that_fails_gives_way_to_the_next_and_the_full_mode_stays() {
    let fixture = Fixture::new();
    let constant = |score| onnx::constant(score, 0.0);
    with_variants(&fixture, &constant(3.0), &onnx::fails(), &constant(1.0));
    let loaded = fixture.load(&release(MODES, "")).unwrap();
    let (full, reduced) = (
        loaded.pipeline.run_mode(None, 0),
        loaded.pipeline.run_mode(Some("reduced"), 0),
    );
    let mut worker = loaded.pipeline.worker();
    assert_eq!(score(&mut worker, &reduced), Ok(1.0));
    assert_eq!(score(&mut worker, &full), Ok(3.0));
    // It is not tried again.
    assert_eq!(score(&mut worker, &reduced), Ok(1.0));
    let expected = [
        of("large", 1, 0, 0),
        of("middle", 1, 1, 1),
        of("small", 2, 0, 0),
    ];
    assert_eq!(runs(&loaded), expected);
    let status = loaded.pipeline.model_status().remove(0);
    assert_eq!(status.variant, "large");
    let failed: Vec<&str> = (status.fallbacks.iter())
        .map(|fallback| fallback.variant.as_str())
        .collect();
    assert_eq!(failed, ["middle"]);
}

#[test]
fn a_variant_of_a_mode_that_does_not_load_gives_way_to_the_next_or_the_last() {
    let fixture = Fixture::new();
    let constant = |score| onnx::constant(score, 0.0);
    for (middle, small, reduced, minimal) in [
        (b"no model".to_vec(), constant(1.0), 1.0, 1.0),
        (constant(2.0), b"no model".to_vec(), 2.0, 2.0),
    ] {
        with_variants(&fixture, &constant(3.0), &middle, &small);
        let loaded = fixture.load(&release(MODES, "")).unwrap();
        let mut worker = loaded.pipeline.worker();
        let mut in_mode = |name| score(&mut worker, &loaded.pipeline.run_mode(Some(name), 0));
        assert_eq!(in_mode("full"), Ok(3.0));
        assert_eq!(in_mode("reduced"), Ok(reduced));
        assert_eq!(in_mode("minimal"), Ok(minimal));
    }
}

#[test]
fn what_rests_does_not_run_and_its_outputs_are_named() {
    let fixture = Fixture::new();
    let release = release_with(
        1,
        "flaky-policy",
        "grants = [\"state\"]",
        "on-failure = \"fail-open\"\n[modes.full]\nlevel = 0\n[modes.dark]\nlevel = 1\nrests = { components = [\"flaky-policy\"], outputs = [\"action\", \"custom\"] }",
    );
    let loaded = fixture.load(&release).unwrap();
    let (full, dark) = (
        loaded.pipeline.run_mode(None, 0),
        loaded.pipeline.run_mode(Some("dark"), 0),
    );
    let mut worker = loaded.pipeline.worker();
    for (mode, wanted) in [
        (&full, &["measure", "flaky-policy"][..]),
        (&dark, &["measure"]),
        (&full, &["measure", "flaky-policy"]),
    ] {
        let outcome = process(&mut worker, mode, BYTES, b"abc");
        let stages: Vec<_> = outcome.stages.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(stages, wanted);
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }
    let outcome = process(&mut worker, &dark, BYTES, b"abc");
    assert_eq!(outcome.result.unwrap().actions, [Action::Publish]);
    assert!(outcome.tolerated.is_empty());
    let outputs = [
        RestingOutput::Insight,
        RestingOutput::Action,
        RestingOutput::Custom,
    ];
    assert_eq!(outputs.map(|it| dark.rests_output(it)), [false, true, true]);
    assert_eq!(outputs.map(|it| full.rests_output(it)), [false; 3]);
}

const TEST: &str = r#"[[tests]]
name = "zeros"
sample = "sample.bin"
content-type = "application/octet-stream"
expected = "expected.json"
"#;

/// A release whose reduced mode gives nearly the same, and whose minimal mode another class.
fn with_tests(fixture: &Fixture) -> Loaded {
    with_variants(
        fixture,
        &onnx::constant(3.0, 1.0),
        &onnx::constant(2.0, 1.0),
        &onnx::constant(1.0, 3.0),
    );
    fixture.file("sample.bin", b"go");
    let classes = r#"{"kind":"classes","classes":[{"label":"0","index":0,"score":0.0029296875},{"label":"180","index":1,"score":0.0009765625}]}"#;
    fixture.file("expected.json", classes.as_bytes());
    fixture.load(&release(MODES, TEST)).unwrap()
}

fn agreements(loaded: &Loaded) -> Vec<(String, u32, Option<f64>)> {
    let all = loaded.pipeline.mode_figures().into_iter();
    all.map(|it| (it.name, it.level, it.agreement_ratio))
        .collect()
}

fn judged() -> Vec<(String, u32, Option<f64>)> {
    [
        ("full", 0, 1.0),
        ("reduced", 1, 1.0 - 1.0 / 1024.0),
        ("minimal", 2, 0.0),
    ]
    .map(|(name, level, ratio)| (name.to_owned(), level, Some(ratio)))
    .into()
}

#[test]
fn the_proof_of_a_release_judges_its_modes_and_a_low_agreement_refuses_nothing() {
    let fixture = Fixture::new();
    let loaded = with_tests(&fixture);
    assert!(agreements(&loaded).iter().all(|it| it.2.is_none()));
    let mut backends = Backends::in_memory(&fixture.inference);
    let reports = loaded
        .pipeline
        .prove(loaded.read(), &device(), &mut backends)
        .unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(agreements(&loaded), judged());
    let figures = loaded.pipeline.mode_figures();
    assert!(figures.iter().all(|it| it.p95_ms.is_none()));
    assert_eq!(figures[2].mode.variants["m"], "small");
}

#[test]
fn modes_are_measured_until_it_is_cancelled_and_what_is_unknown_stays_so() {
    let fixture = Fixture::new();
    let loaded = with_tests(&fixture);
    let cancel = AtomicBool::new(true);
    loaded
        .pipeline
        .measure_modes(loaded.read(), &device(), &cancel);
    let figures = loaded.pipeline.mode_figures();
    assert_eq!(figures.len(), 3);
    for it in figures {
        assert_eq!(
            (it.agreement_ratio, it.p95_ms, it.memory_bytes),
            (None, None, None)
        );
    }
    assert!(loaded.pipeline.model_runs().is_empty());
    cancel.store(false, Ordering::Release);
    loaded
        .pipeline
        .measure_modes(loaded.read(), &device(), &cancel);
    assert_eq!(agreements(&loaded), judged());
    let file = onnx::constant(3.0, 1.0).len() as u64;
    for it in loaded.pipeline.mode_figures() {
        assert!(it.p95_ms.is_some_and(|ms| ms >= 0.0), "{it:?}");
        // Both components have at least one page of memory.
        assert!(it.memory_bytes.unwrap() >= file + 2 * 65_536, "{it:?}");
    }
    // A fork shares what is known.
    assert_eq!(
        loaded.pipeline.fork().mode_figures(),
        loaded.pipeline.mode_figures()
    );
}

/// `TO = FROM + number`
fn adds(from: &str, to: &str, number: f32) -> Vec<u8> {
    let shape = [None, Some(1)];
    Graph::default()
        .input(from, &shape)
        .weight("number", &[1, 1], &[number])
        .node("Add", &[from, "number"], to)
        .output(to, &shape)
        .file()
}

const TWO_MODELS: &str = r#"name = "test"
expires-in = "1d"
generation = 1
[models.m]
prefer = ["large", "small"]
variants = { large = "m-large.onnx", small = "m-small.onnx" }
[models.n]
prefer = ["large", "small"]
variants = { large = "n-large.onnx", small = "n-small.onnx" }
[[pipeline]]
infer = "m"
[[pipeline]]
infer = "n"
[modes.full]
level = 0
[modes.reduced]
level = 1
variants = { n = "small" }
[modes.minimal]
level = 2
variants = { m = "small", n = "small" }
"#;

/// The output `z` of the sample `x = 0`.
fn z(worker: &mut Worker, mode: &RunMode) -> f32 {
    let x = Tensor::from_f32(&[1, 1], vec![0.0]).unwrap();
    let payload = npz::to_bytes(&[("x".to_owned(), x)]).unwrap();
    let outcome = process(worker, mode, npz::CONTENT_TYPE, &payload);
    let Insight::Custom { payload, .. } = outcome.result.unwrap().insight else {
        panic!("no tensors");
    };
    let arrays = npz::read(&payload, Limits::SAMPLE).unwrap();
    arrays[0].1.as_f32().unwrap()[0]
}

#[test]
fn while_modes_change_each_sample_has_a_result_wholly_of_one_of_them() {
    const WORKERS: usize = 3;
    const SAMPLES: usize = 200;
    let fixture = Fixture::new();
    for (name, from, to, number) in [
        ("m-large.onnx", "x", "y", 1.0),
        ("m-small.onnx", "x", "y", 2.0),
        ("n-large.onnx", "y", "z", 10.0),
        ("n-small.onnx", "y", "z", 20.0),
    ] {
        fixture.file(name, &adds(from, to, number));
    }
    let loaded = fixture.load_text(TWO_MODELS).unwrap();
    let modes = [
        (None, 11.0),
        (Some("reduced"), 21.0),
        (Some("minimal"), 22.0),
    ]
    .map(|(name, wanted)| (loaded.pipeline.run_mode(name, 0), wanted));
    let now = AtomicUsize::new(0);
    thread::scope(|scope| {
        let run = || {
            let mut worker = loaded.pipeline.worker();
            for _ in 0..SAMPLES {
                let (mode, wanted) = &modes[now.load(Ordering::Acquire)];
                assert_eq!(z(&mut worker, mode), *wanted, "{mode:?}");
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(run)).collect();
        // A fixed sequence that looks like noise.
        let mut noise = 1_usize;
        while !workers.iter().all(|worker| worker.is_finished()) {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            now.store((noise >> 33) % modes.len(), Ordering::Release);
            thread::yield_now();
        }
    });
    let all: u64 = (loaded.pipeline.model_runs().iter())
        .map(|it| it.runs)
        .sum();
    assert_eq!(all, (WORKERS * SAMPLES * 2) as u64);
}

#[test]
fn a_model_that_a_component_runs_begins_with_the_variant_of_the_mode_too() {
    let fixture = Fixture::new();
    fixture.file("large.onnx", &onnx::constant(3.0, 0.0));
    fixture.file("small.onnx", &onnx::constant(1.0, 0.0));
    let release = r#"generation = 1
[components.classify-angle-infer]
file = "{guests}/classify-angle-infer.wasm"
world = "stage"
grants = ["vision", "infer"]
models = ["classify-angle"]
[models.classify-angle]
prefer = ["large", "small"]
variants = { large = "large.onnx", small = "small.onnx" }
[[pipeline]]
stage = "classify-angle-infer"
[modes.full]
level = 0
[modes.minimal]
level = 1
variants = { classify-angle = "small" }
"#;
    let loaded = fixture.load(release).unwrap();
    let picture = std::fs::read(environment().picture("page.png")).unwrap();
    let mut worker = loaded.pipeline.worker();
    // One instance of the component serves all of them.
    for mode in ["minimal", "full", "minimal"] {
        let mode = loaded.pipeline.run_mode(Some(mode), 0);
        let outcome = process(&mut worker, &mode, "image/png", &picture);
        let times: Vec<_> = outcome.stages.iter().map(|it| it.name.as_str()).collect();
        let expected = [
            "classify-angle-infer",
            "classify-angle-infer/classify-angle",
        ];
        assert_eq!(times, expected, "{outcome:?}");
    }
    assert_eq!(runs(&loaded), [of("large", 1, 0, 0), of("small", 2, 0, 0)]);
}
