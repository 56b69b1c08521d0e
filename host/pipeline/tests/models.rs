//! Models in a pipeline: variants, memory from sample to sample, deadlines, and what runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::thread;

use hotshoe_config::{InferenceConfig, ModelConfig};
use hotshoe_devkit::Extra;
use hotshoe_engine::{Fault, Insight};
use hotshoe_infer::BackendChoice;
use hotshoe_pipeline::{Backends, LoadError, StateError, Worker};
use hotshoe_protocol::status::ModelStatus;
use hotshoe_tests::extra;
use hotshoe_trust::Digest;

use fixture::{Fixture, Loaded, device, onnx, process, process_from};

const BYTES: &str = "application/octet-stream";

/// A picture of zeros, one model, and its two scores.
fn release(model: &str, tests: &str) -> String {
    format!(
        r#"generation = 1
[components.pre]
file = "{{guests}}/hostile.wasm"
world = "preprocessor"
[components.post]
file = "{{guests}}/classify-angle-post.wasm"
world = "postprocessor"
{model}
[[pipeline]]
preprocess = "pre"
[[pipeline]]
infer = "m"
[[pipeline]]
postprocess = "post"
{tests}"#
    )
}

/// The score of the class "0", in units of the models.
fn score(worker: &mut Worker, source: &str) -> Result<f32, Fault> {
    let outcome = process_from(worker, source, BYTES, b"go");
    let decision = outcome.result.map_err(|error| error.fault)?;
    let Insight::Classes { classes } = decision.insight else {
        panic!("{:?}", decision.insight);
    };
    Ok(classes
        .iter()
        .find(|class| class.label == "0")
        .unwrap()
        .score
        / onnx::UNIT)
}

fn model(loaded: &Loaded) -> ModelStatus {
    loaded.pipeline.model_status().remove(0)
}

const VARIANTS: &str = r#"[models.m]
prefer = ["small", "middle", "large"]
variants = { large = "large.onnx", middle = "middle.onnx", small = "small.onnx" }
"#;

fn with_variants(fixture: &Fixture, small: &[u8], middle: &[u8], large: &[u8]) {
    fixture.file("small.onnx", small);
    fixture.file("middle.onnx", middle);
    fixture.file("large.onnx", large);
}

#[test]
fn a_variant_that_does_not_load_is_passed_over_and_one_that_fails_gives_way() {
    let fixture = Fixture::new();
    with_variants(
        &fixture,
        b"no model",
        &onnx::other_outputs(),
        &onnx::constant(3.0, 1.0),
    );
    // All variants of a model have the same outputs.
    let refused = fixture.load(&release(VARIANTS, "")).err().unwrap();
    assert!(matches!(refused, LoadError::Variants(_)), "{refused}");

    with_variants(
        &fixture,
        b"no model",
        &onnx::fails(),
        &onnx::constant(3.0, 1.0),
    );
    let loaded = fixture.load(&release(VARIANTS, "")).unwrap();
    let mut worker = loaded.pipeline.worker();
    assert_eq!(model(&loaded).variant, "middle");
    assert_eq!(model(&loaded).fallbacks.len(), 1);
    assert_eq!(score(&mut worker, "a"), Ok(3.0));
    let status = model(&loaded);
    let given_up: Vec<&str> = status
        .fallbacks
        .iter()
        .map(|f| f.variant.as_str())
        .collect();
    assert_eq!(
        (status.variant.as_str(), given_up),
        ("large", vec!["small", "middle"])
    );
    assert!(
        status
            .fallbacks
            .iter()
            .all(|fallback| !fallback.cause.is_empty())
    );
    assert_eq!(score(&mut worker, "a"), Ok(3.0));
}

#[test]
fn where_no_variant_loads_the_release_does_not() {
    let fixture = Fixture::new();
    with_variants(&fixture, b"no model", b"nor this", b"none either");
    let refused = fixture.load(&release(VARIANTS, "")).err().unwrap();
    assert_eq!(refused.name(), "invalid_model");
    let said = refused.to_string();
    for variant in ["small", "middle", "large"] {
        assert!(said.contains(&format!("variant `{variant}`: ")), "{said}");
    }
}

#[test]
fn a_device_may_prefer_another_variant() {
    let mut fixture = Fixture::new();
    with_variants(
        &fixture,
        &onnx::constant(1.0, 0.0),
        &onnx::constant(2.0, 0.0),
        &onnx::constant(3.0, 0.0),
    );
    let first = |fixture: &Fixture| {
        let loaded = fixture.load(&release(VARIANTS, "")).unwrap();
        score(&mut loaded.pipeline.worker(), "a").unwrap()
    };
    assert_eq!(first(&fixture), 1.0);
    let own = ModelConfig {
        prefer: vec!["unheard-of".to_owned(), "large".to_owned()],
        ..ModelConfig::default()
    };
    fixture.inference.models.insert("m".to_owned(), own);
    assert_eq!(first(&fixture), 3.0);
}

const COUNTER: &str = "[models.m]\nfile = \"counter.onnx\"\nstate = { h = \"h-next\" }\n";

fn counting() -> Loaded {
    let fixture = Fixture::new();
    fixture.file("counter.onnx", &onnx::counter());
    fixture.load(&release(COUNTER, "")).unwrap()
}

#[test]
fn what_a_model_keeps_belongs_to_the_source() {
    let loaded = counting();
    let (mut one, mut other) = (loaded.pipeline.worker(), loaded.pipeline.worker());
    assert_eq!(score(&mut one, "a"), Ok(1.0));
    assert_eq!(score(&mut other, "a"), Ok(2.0));
    assert_eq!(score(&mut one, "b"), Ok(1.0));
    // A sample that fails before the model changes nothing.
    let failed = process_from(&mut one, "a", BYTES, b"error");
    assert_eq!(failed.result.unwrap_err().fault.name(), "invalid_input");
    assert_eq!(score(&mut one, "a"), Ok(3.0));
    // One that fails in the model, neither: this tensor has another shape.
    let failed = process_from(&mut one, "a", BYTES, b"shape");
    assert_eq!(failed.result.unwrap_err().fault, Fault::Tensor);
    assert_eq!(score(&mut one, "a"), Ok(4.0));
}

#[test]
fn a_fork_begins_anew_and_leaves_it_as_it_is() {
    let loaded = counting();
    let mut worker = loaded.pipeline.worker();
    assert_eq!(score(&mut worker, "a"), Ok(1.0));
    let mut forked = loaded.pipeline.fork().worker();
    assert_eq!(score(&mut forked, "a"), Ok(1.0));
    assert_eq!(score(&mut worker, "a"), Ok(2.0));
}

#[test]
fn several_workers_on_one_source_lose_no_sample() {
    const WORKERS: u16 = 3;
    const SAMPLES: u16 = 20;
    let loaded = counting();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let mut worker = loaded.pipeline.worker();
            scope.spawn(move || {
                for _ in 0..SAMPLES {
                    score(&mut worker, "a").unwrap();
                }
            });
        }
    });
    let last = f32::from(WORKERS * SAMPLES + 1);
    assert_eq!(score(&mut loaded.pipeline.worker(), "a"), Ok(last));
}

#[test]
fn state_that_the_model_does_not_have_is_named() {
    let fixture = Fixture::new();
    fixture.file("counter.onnx", &onnx::counter());
    for (state, part) in [
        ("{ g = \"h-next\" }", "`g`"),
        ("{ h = \"g-next\" }", "`g-next`"),
        ("{ x = \"h-next\" }", "`x` (f32, 4 dimensions)"),
    ] {
        let text = COUNTER.replace("{ h = \"h-next\" }", state);
        let refused = fixture.load(&release(&text, "")).err().unwrap();
        let LoadError::State { name, source } = refused else {
            panic!("{refused}");
        };
        let is_known = matches!(
            source,
            StateError::Unknown { .. } | StateError::Mismatch { .. }
        );
        assert!(
            is_known && name == "m" && source.to_string().contains(part),
            "{source}"
        );
    }
}

#[test]
fn a_sample_is_given_up_when_the_models_deadline_passes() {
    let fixture = Fixture::new();
    fixture.file("slow.onnx", &onnx::slow());
    let text = "[models.m]\nfile = \"slow.onnx\"\ndeadline-ms = 1\n";
    let loaded = fixture.load(&release(text, "")).unwrap();
    let mut worker = loaded.pipeline.worker();
    assert_eq!(score(&mut worker, "a"), Err(Fault::Deadline));
    let status = model(&loaded);
    assert_eq!((status.abandoned + status.expired, status.failed), (1, 0));
    // Nothing of the worker is lost.
    let failed = process(&mut worker, BYTES, b"error");
    assert!(matches!(failed.result.unwrap_err().fault, Fault::Guest(_)));
}

#[test]
fn the_choice_of_the_configuration_is_told() {
    let mut fixture = Fixture::new();
    fixture.file("m.onnx", &onnx::constant(1.0, 0.0));
    fixture.inference.backend = BackendChoice::Tract;
    let loaded = fixture.load(&release(ONE, "")).unwrap();
    let status = model(&loaded);
    let chosen = (
        status.backend.as_str(),
        status.provider.as_str(),
        status.reason.as_str(),
    );
    assert_eq!(chosen, ("tract", "cpu", "configured"));
    assert_eq!(status.variant, "default");
}

const ONE: &str = "[models.m]\nfile = \"m.onnx\"\n";
const TEST: &str = r#"[[tests]]
name = "zeros"
sample = "sample.bin"
content-type = "application/octet-stream"
expected = "expected.json"
"#;

/// A fixture whose models both backends load.
fn both() -> Option<Fixture> {
    let fixture = Fixture::with(InferenceConfig {
        library: Some(extra(Extra::OnnxRuntime)?),
        ..InferenceConfig::default()
    });
    fixture.file("m.onnx", &onnx::constant(3.0, 1.0));
    fixture.file("sample.bin", b"go");
    let classes = r#"{"kind":"classes","classes":[{"label":"0","index":0,"score":0.0029296875},{"label":"180","index":1,"score":0.0009765625}]}"#;
    fixture.file("expected.json", classes.as_bytes());
    Some(fixture)
}

#[test]
fn the_faster_backend_is_chosen_and_remembered() {
    let Some(fixture) = both() else { return };
    for tests in [TEST, ""] {
        let data = tempfile::tempdir().unwrap();
        let decide = || {
            let loaded = fixture.load(&release(ONE, tests)).unwrap();
            let mut backends = Backends::open(data.path(), &fixture.inference);
            let known = loaded
                .pipeline
                .decide(loaded.read(), &device(), &mut backends);
            backends.save();
            loaded.pipeline.settle();
            assert_eq!(score(&mut loaded.pipeline.worker(), "a"), Ok(3.0));
            (known, model(&loaded))
        };
        let (known, first) = decide();
        assert_eq!(known, 0);
        let slower = if first.backend == "ort" {
            "tract"
        } else {
            "ort"
        };
        assert!(first.reason.starts_with("measured "), "{}", first.reason);
        assert!(first.reason.contains(slower), "{}", first.reason);

        let (known, again) = decide();
        assert_eq!((known, &again.backend), (1, &first.backend));
        assert_eq!(again.reason, format!("remembered: {}", first.reason));

        // A damaged memory costs a measurement and nothing else.
        std::fs::write(data.path().join("backends.json"), "{\"format\":1,\"choi").unwrap();
        let (known, again) = decide();
        assert_eq!(known, 0);
        assert!(again.reason.starts_with("measured "), "{}", again.reason);
        assert_eq!(decide().0, 1);

        // So does that of a newer version, which stays as it is.
        let newer = r#"{"format":99,"choices":{},"new":[]}"#;
        std::fs::write(data.path().join("backends.json"), newer).unwrap();
        let (known, again) = decide();
        assert_eq!(known, 0);
        assert!(again.reason.starts_with("measured "), "{}", again.reason);
        let kept = std::fs::read_to_string(data.path().join("backends.json")).unwrap();
        assert_eq!(kept, newer);
    }
}

#[test]
fn what_the_file_says_of_another_machine_is_not_taken() {
    let Some(fixture) = both() else { return };
    let data = tempfile::tempdir().unwrap();
    let digest = Digest::of(&onnx::constant(3.0, 1.0));
    let text = format!(
        r#"{{"format":1,"choices":[{{"model":"{digest}","machine":"another","threads":1,"backend":"ort","reason":"x"}}]}}"#
    );
    std::fs::write(data.path().join("backends.json"), text).unwrap();
    let loaded = fixture.load(&release(ONE, "")).unwrap();
    let mut backends = Backends::open(data.path(), &fixture.inference);
    assert_eq!(
        loaded
            .pipeline
            .decide(loaded.read(), &device(), &mut backends),
        0
    );
    assert_ne!(model(&loaded).reason, "remembered: x");
}

#[test]
fn a_release_that_neither_passes_is_left_to_its_own_tests() {
    let Some(fixture) = both() else { return };
    fixture.file("m.onnx", &onnx::constant(0.0, 5.0));
    let data = tempfile::tempdir().unwrap();
    let loaded = fixture.load(&release(ONE, TEST)).unwrap();
    let mut backends = Backends::open(data.path(), &fixture.inference);
    loaded
        .pipeline
        .decide(loaded.read(), &device(), &mut backends);
    backends.save();
    let reason = model(&loaded).reason;
    assert!(reason.starts_with("neither backend passes"), "{reason}");
    // It says nothing of the model in another release.
    assert!(!data.path().join("backends.json").exists());
}
