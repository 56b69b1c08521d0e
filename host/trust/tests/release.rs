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
    Blob, Component, Release, ReleaseError, ReleaseLimits, StageFailure, Step, World,
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
    ] {
        judged(good).expect(good);
    }
    for (bad, at) in [
        ("", 1),
        ("policy", 1),
        ("infer", 1),
        ("post", 1),
        ("pre", 2),
        ("pre infer", 3),
        ("pre policy", 2),
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
