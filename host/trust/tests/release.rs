//! A release: made from a `release.toml`, and the rules it keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use common::{RELEASE_TOML, blobs, release, time};
use hotshoe_trust::{
    Blob, Component, Grant, Model, Release, ReleaseError, ReleaseLimits, StageFailure, Step,
    Variant, World,
    release_toml::{ReleaseToml, ReleaseTomlError},
    strict_json,
    toml_file::TomlError,
};
use serde_json::json;

#[test]
fn a_release_toml_makes_the_release() {
    let file = ReleaseToml::parse(RELEASE_TOML).unwrap();
    let files: Vec<_> = file.files().map(|f| f.file).collect();
    assert_eq!(
        files,
        ["policy.wasm", "stage.wasm", "detect.onnx", "characters.txt"]
    );
    let made = file
        .release(time("2026-05-01T00:00:00Z"), &blobs(), BTreeMap::new())
        .unwrap();
    let expected = Release {
        expires: time("2026-07-30T00:00:00Z"),
        ..release()
    };
    assert_eq!(made, expected);
    let json = serde_json::to_vec(&made).unwrap();
    assert_eq!(strict_json::parse::<Release>(&json, 1 << 20).unwrap(), made);
}

#[test]
fn expiry_is_given_once_and_readable() {
    let issued = time("2026-05-01T00:00:00Z");
    let with = |line: &str| {
        ReleaseToml::parse(&RELEASE_TOML.replace("expires-in = \"90d\"", line))
            .unwrap()
            .release(issued, &blobs(), BTreeMap::new())
    };
    assert_eq!(
        with("expires = \"2027-01-31T00:00:00Z\"").unwrap().expires,
        time("2027-01-31T00:00:00Z")
    );
    assert_eq!(
        with("expires-in = \"36h\"").unwrap().expires,
        time("2026-05-02T12:00:00Z")
    );
    assert!(matches!(with(""), Err(ReleaseTomlError::Expiry)));
    assert!(matches!(
        with("expires = \"2027-01-31T00:00:00Z\"\nexpires-in = \"1d\""),
        Err(ReleaseTomlError::Expiry)
    ));
    for line in [
        "expires-in = \"soon\"",
        "expires-in = \"3 months\"",
        "expires = \"2027\"",
    ] {
        assert!(
            matches!(with(line), Err(ReleaseTomlError::ExpiryText { .. })),
            "{line}"
        );
    }
    for line in ["expires-in = \"-1d\"", "expires = \"2026-05-01T00:00:00Z\""] {
        let refused = with(line);
        assert!(
            matches!(
                refused,
                Err(ReleaseTomlError::Invalid(
                    ReleaseError::ExpiresTooSoon { .. }
                ))
            ),
            "{line}: {refused:?}"
        );
    }
}

/// Changes the valid release, and gives the rule that it now breaks.
#[track_caller]
fn broken(change: impl FnOnce(&mut Release)) -> ReleaseError {
    let mut release = release();
    release.validate().unwrap();
    change(&mut release);
    release.validate().unwrap_err()
}

fn read(release: &mut Release) -> &mut Component {
    release.components.get_mut("read").unwrap()
}

#[test]
fn rules_of_a_release() {
    for name in [
        "",
        "OCR",
        "-ocr",
        "ocr.",
        "a/b",
        "a b",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(
            matches!(broken(|r| r.name = name.into()), ReleaseError::Name { .. }),
            "{name}"
        );
    }
    assert!(matches!(
        broken(|r| r.expires = r.issued),
        ReleaseError::ExpiresTooSoon { .. }
    ));
    assert!(matches!(
        broken(|r| r.devices.names.push("[".into())),
        ReleaseError::Glob { .. }
    ));
    assert!(matches!(
        broken(|r| r.models.clear()),
        ReleaseError::Missing { what: "model", .. }
    ));
    assert!(matches!(
        broken(|r| r.data.clear()),
        ReleaseError::Missing { what: "data", .. }
    ));
    assert!(matches!(
        broken(|r| drop(r.components.remove("label"))),
        ReleaseError::Missing {
            what: "component",
            ..
        }
    ));
    assert!(matches!(
        broken(|r| read(r).world = World::Policy),
        ReleaseError::World { step: 1, .. }
    ));
    for (what, grant) in [("models", "infer"), ("data", "data"), ("config", "config")] {
        let error = broken(|r| read(r).grants.retain(|g| g.to_string() != grant));
        assert!(
            matches!(&error, ReleaseError::Grant { what: found, .. } if *found == what),
            "{error}"
        );
    }
    assert!(matches!(
        broken(|r| read(r).limits.fuel = Some(0)),
        ReleaseError::Limit { .. }
    ));
    assert!(matches!(
        broken(|r| read(r).limits.memory_mib = 0),
        ReleaseError::Limit { .. }
    ));
    assert!(matches!(
        broken(|r| read(r).limits.deadline_ms = 600_001),
        ReleaseError::Limit { .. }
    ));
    assert!(matches!(
        broken(|r| read(r).blob.size = ReleaseLimits::COMPONENT_BYTES + 1),
        ReleaseError::Limit { .. }
    ));
    assert!(matches!(
        broken(|r| read(r).blob.digest = Blob::of(b"onnx").digest),
        ReleaseError::TwoSizes { .. }
    ));
    let bad_type = |r: &mut Release| {
        r.data
            .values_mut()
            .for_each(|d| d.media_type = "text".into())
    };
    assert!(matches!(broken(bad_type), ReleaseError::MediaType { .. }));
}

#[test]
fn grammar_of_a_pipeline() {
    let step = |word: &str| match word {
        "pre" => Step::Preprocess {
            component: "pre".into(),
        },
        "infer" => Step::Infer {
            model: "detect".into(),
        },
        "post" => Step::Postprocess {
            component: "post".into(),
        },
        "stage" => Step::Stage {
            component: "read".into(),
        },
        _ => Step::Policy {
            component: "label".into(),
            on_failure: StageFailure::FailClosed,
        },
    };
    let judged = |text: &str| {
        let mut release = release();
        for (name, world) in [("pre", World::Preprocessor), ("post", World::Postprocessor)] {
            let component = Component {
                world,
                ..release.components["label"].clone()
            };
            release.components.insert(name.into(), component);
        }
        release.pipeline = text.split_whitespace().map(step).collect();
        release.validate()
    };
    for good in [
        "stage",
        "stage policy",
        "stage policy policy",
        "pre post",
        "pre infer post",
        "pre infer infer post policy",
        // A pipeline may begin and end where one component does.
        "policy",
        "policy policy",
        "infer",
        "infer post policy",
        "post",
        "pre",
        "pre infer",
        "pre policy",
    ] {
        judged(good).expect(good);
    }
    for (bad, at) in [
        ("policy pre", 2),
        ("policy infer", 2),
        ("policy post", 2),
        ("infer pre", 2),
        ("infer stage", 2),
        ("infer post infer", 3),
        ("stage stage", 2),
        ("stage pre", 2),
        ("stage infer", 2),
        ("pre pre post", 2),
        ("pre post post", 3),
        ("pre post infer", 3),
        ("stage policy stage", 3),
    ] {
        let refused = judged(bad);
        assert!(
            matches!(refused, Err(ReleaseError::Order { step, .. }) if step == at),
            "{bad}: {refused:?}"
        );
    }
    assert!(matches!(judged(""), Err(ReleaseError::Limit { .. })));
}

#[test]
fn a_step_with_two_kinds_is_refused() {
    let text = RELEASE_TOML.replace("stage = \"read\"", "stage = \"read\"\npolicy = \"label\"");
    assert!(matches!(
        ReleaseToml::parse(&text),
        Err(TomlError::Invalid { .. })
    ));
    assert_eq!(
        json!({"stage": {"component": "read"}}),
        serde_json::to_value(&release().pipeline[0]).unwrap()
    );
}

/// `[models.detect]` with these lines in the place of its `file`.
fn with_model(lines: &str) -> Result<Release, ReleaseTomlError> {
    let text = RELEASE_TOML.replace("file = \"detect.onnx\"", lines);
    let mut blobs = blobs();
    blobs.insert("int8.onnx".to_owned(), Blob::of(b"int8"));
    ReleaseToml::parse(&text).unwrap().release(
        time("2026-05-01T00:00:00Z"),
        &blobs,
        BTreeMap::new(),
    )
}

const VARIANTS: &str = "variants = { fp32 = \"detect.onnx\", int8 = \"int8.onnx\" }\n";

#[test]
fn a_model_has_one_file_or_variants_in_order_of_preference() {
    let one = with_model("file = \"detect.onnx\"\ndeadline-ms = 50").unwrap();
    let model = &one.models["detect"];
    assert_eq!(model.deadline().as_millis(), 50);
    assert_eq!(model.variants[0].name, Variant::ONLY);
    let json = serde_json::to_value(model).unwrap();
    assert_eq!(json, json!({"blob": Blob::of(b"onnx"), "deadline-ms": 50}));

    let text =
        format!("{VARIANTS}prefer = [\"int8\", \"fp32\"]\nmax-batch = 8\nmax-wait-us = 2000");
    let several = with_model(&text).unwrap();
    let model = &several.models["detect"];
    let names: Vec<_> = model.variants.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["int8", "fp32"]);
    assert_eq!((model.max_batch, model.max_wait().as_micros()), (8, 2000));
    let blobs: Vec<_> = several.blobs().collect();
    for bytes in [b"int8".as_slice(), b"onnx"] {
        assert!(blobs.contains(&Blob::of(bytes)));
    }
    let json = serde_json::to_vec(&several).unwrap();
    assert_eq!(
        strict_json::parse::<Release>(&json, 1 << 20).unwrap(),
        several
    );
}

#[test]
fn a_model_of_an_older_manifest_reads_as_before() {
    let blob = Blob::of(b"onnx");
    let old = json!({ "blob": blob });
    assert_eq!(
        serde_json::from_value::<Model>(old.clone()).unwrap(),
        Model::of(blob)
    );
    assert_eq!(serde_json::to_value(Model::of(blob)).unwrap(), old);
    for wrong in [
        json!({}),
        json!({"variants": []}),
        json!({"blob": blob, "variants": [{"name": "a", "blob": blob}]}),
    ] {
        assert!(
            serde_json::from_value::<Model>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn files_of_variants_are_told_apart() {
    let text = RELEASE_TOML.replace(
        "file = \"detect.onnx\"",
        &format!("{VARIANTS}prefer = [\"int8\", \"fp32\"]"),
    );
    let file = ReleaseToml::parse(&text).unwrap();
    let models = file.files().filter(|f| f.table == "models");
    let named: Vec<_> = models.map(|f| (f.name, f.key, f.file)).collect();
    assert_eq!(
        named,
        [
            ("detect", "fp32", "detect.onnx"),
            ("detect", "int8", "int8.onnx")
        ]
    );
}

#[test]
fn rules_of_a_model() {
    for (lines, said) in [
        ("", "either `file`"),
        ("file = \"detect.onnx\"\nprefer = [\"a\"]", "either `file`"),
        (
            &format!("file = \"detect.onnx\"\n{VARIANTS}"),
            "either `file`",
        ),
        (VARIANTS, "`prefer` is missing"),
        (
            &format!("{VARIANTS}prefer = [\"int8\"]"),
            "does not name variant `fp32`",
        ),
        (
            &format!("{VARIANTS}prefer = [\"int8\", \"fp32\", \"int8\"]"),
            "`int8` 2 times",
        ),
        (
            &format!("{VARIANTS}prefer = [\"int8\", \"fp23\"]"),
            "`fp23`; its variants are fp32, int8",
        ),
        ("file = \"detect.onnx\"\ndeadline-ms = 0", "`deadline-ms`"),
        (
            "file = \"detect.onnx\"\ndeadline-ms = 600001",
            "`deadline-ms`",
        ),
        ("file = \"detect.onnx\"\nmax-batch = 0", "`max-batch`"),
        ("file = \"detect.onnx\"\nmax-batch = 257", "`max-batch`"),
        (
            "file = \"detect.onnx\"\nmax-batch = 2\nmax-wait-us = 1000001",
            "`max-wait-us`",
        ),
        (
            "file = \"detect.onnx\"\nmax-wait-us = 5",
            "has no effect while",
        ),
        (
            "file = \"detect.onnx\"\nmax-batch = 2\nstate = { h = \"n\" }",
            "`state` belongs",
        ),
        (
            "file = \"detect.onnx\"\nstate = { h = \"n\", c = \"n\" }",
            "output `n`",
        ),
        ("file = \"detect.onnx\"\nstate = { h = \"\" }", "`state`"),
        (
            "variants = { \"FP32\" = \"detect.onnx\" }\nprefer = [\"FP32\"]",
            "variant name `FP32`",
        ),
    ] {
        let refused = with_model(lines).unwrap_err().to_string();
        assert!(refused.contains(said), "{lines}: {refused}");
    }
    assert!(matches!(
        broken(|r| r.models.get_mut("detect").unwrap().variants.clear()),
        ReleaseError::Limit { value: 0, .. }
    ));
    let twice = |r: &mut Release| {
        let variants = &mut r.models.get_mut("detect").unwrap().variants;
        variants.push(variants[0].clone());
    };
    assert!(matches!(broken(twice), ReleaseError::Model { .. }));
}

proptest::proptest! {
    #[test]
    fn whatever_a_model_says_reads_back(
        names in proptest::collection::btree_set("[a-z][a-z0-9]{0,5}", 1..=8),
        numbers in (1_u32..=600_000, 1_u32..=256, 0_u32..=1_000_000),
        state in proptest::collection::btree_map("[a-z]{1,8}", "[A-Z]{1,8}", 0..6),
        outputs in proptest::collection::vec("[A-Z]{1,8}", 0..4),
    ) {
        let variants = names.iter().map(|name| Variant {
            name: name.clone(),
            blob: Blob::of(name.as_bytes()),
        });
        let model = Model {
            variants: variants.collect(),
            deadline_ms: numbers.0,
            max_batch: numbers.1,
            max_wait_us: numbers.2,
            state,
            outputs,
        };
        let json = serde_json::to_vec(&model).unwrap();
        proptest::prop_assert_eq!(strict_json::parse::<Model>(&json, 1 << 20).unwrap(), model);
    }
}

#[test]
fn shared_values_need_the_grant_config_and_have_a_limit() {
    let judged = |names: usize, is_granted: bool| {
        let mut release = release();
        let component = release.components.get_mut("label").unwrap();
        component.shared_data = (0..names).map(|name| name.to_string()).collect();
        component.grants.remove(&Grant::Config);
        if is_granted {
            component.grants.insert(Grant::Config);
        }
        release.validate().map_err(|error| error.to_string())
    };
    assert_eq!(judged(64, true), Ok(()));
    assert!(judged(1, false).unwrap_err().contains("shared-data"));
    let many = judged(65, true).unwrap_err();
    assert!(
        many.contains("shared values of component `label`"),
        "{many}"
    );
}

#[test]
fn folders_hosts_and_topics_need_their_grants_and_worlds() {
    use hotshoe_trust::Access;
    let judged = |change: &dyn Fn(&mut Component)| {
        let mut release = release();
        change(release.components.get_mut("label").expect("a policy"));
        release.validate().map_err(|error| error.to_string())
    };
    let folder = |path: &'static str| {
        move |component: &mut Component| {
            component.grants.insert(Grant::Wasi);
            component.folders.insert(path.into(), Access::Read);
        }
    };
    judged(&folder("/models")).expect("a folder");
    for path in ["models", "/", "/a/../b"] {
        let said = judged(&folder(path)).expect_err(path);
        assert!(said.contains("lists the folder"), "{said}");
    }
    let said = judged(&|c| {
        c.folders.insert("/a".into(), Access::Write);
    });
    assert!(said.expect_err("no grant").contains("add `wasi`"));

    let hosts = |grants: &'static [Grant]| {
        move |component: &mut Component| {
            component.grants.extend(grants);
            component
                .hosts
                .insert("a.example:443".parse().expect("a host"));
        }
    };
    judged(&hosts(&[Grant::Wasi, Grant::WasiHttp])).expect("a host");
    judged(&hosts(&[Grant::WasiSockets])).expect_err("wasi is missing");
    judged(&hosts(&[Grant::Wasi])).expect_err("neither sockets nor http");

    let topic = |topic: &'static str| {
        move |component: &mut Component| {
            component.topics.insert(topic.into());
        }
    };
    judged(&topic("count")).expect("a topic");
    judged(&topic("a/b")).expect_err("no topic");
    let mut stage = release();
    read(&mut stage).topics.insert("count".into());
    let said = stage.validate().expect_err("no policy").to_string();
    assert!(said.contains("is not a policy"), "{said}");
}

#[test]
fn what_a_component_reaches_is_written_as_it_is_read() {
    let text = r#"{"folders":{"/m":"write"},"hosts":["A.example:80"],"topics":["count"],"grants":["wasi","wasi-http"]}"#;
    let mut value = serde_json::to_value(&release().components["label"]).expect("JSON");
    let plain = value.as_object().expect("an object").clone();
    assert!(!plain.contains_key("hosts") && !plain.contains_key("folders"));
    let more: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let more = more.as_object().expect("an object").clone();
    value.as_object_mut().expect("an object").extend(more);
    let read: Component = serde_json::from_value(value).expect("a component");
    let written = serde_json::to_value(&read).expect("JSON");
    assert_eq!(written["hosts"], serde_json::json!(["a.example:80"]));
    assert_eq!(written["folders"], serde_json::json!({"/m": "write"}));
}
