//! The formats that people and other programs write: digests, strict JSON, TOML and releases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use common::{release, time};
use hotshoe_trust::{
    Blob, Component, Digest, Hasher, Release, ReleaseError, ReleaseLimits, SigningKey, Step,
    TrustError, TrustRoot, World,
    release_toml::{ReleaseToml, ReleaseTomlError},
    strict_json::{self, JsonError, MAX_DEPTH},
    toml_file::TomlError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON value, of at most four levels.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::from_iter(map)),
        ]
    })
}

proptest! {
    #[test]
    fn a_digest_reads_back(bytes: Vec<u8>, at in 0_usize..40) {
        let digest = Digest::of(&bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let mut hasher = Hasher::new();
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        hasher.update(head);
        hasher.update(tail);
        prop_assert_eq!(hasher.finish(), digest);
    }

    #[test]
    fn a_digest_has_one_spelling(text in "(sha256:)?[0-9a-fA-F]{60,68}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn strict_json_reads_what_is_written(value in any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert!(strict_json::check(&text, 1 << 20).is_ok());
    }

    #[test]
    fn strict_json_accepts_nothing_that_is_no_json(bytes: Vec<u8>) {
        if strict_json::check(&bytes, 1 << 20).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn strict_json_refuses_a_repeated_key_at_every_depth(
        value in any_json(), key: String, path in prop::collection::vec(any::<bool>(), 0..20)
    ) {
        let key_text = serde_json::to_string(&key).unwrap();
        let mut text = format!("{{{key_text}:{value},\"\\u0000other\":1,{key_text}:2}}");
        for in_array in path {
            text = if in_array { format!("[0,{text}]") } else { format!("{{\"a\":0,\"b\":{text}}}") };
        }
        match strict_json::check(text.as_bytes(), 1 << 20) {
            Err(JsonError::DuplicateKey { key: found, .. }) => prop_assert_eq!(found, key),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn release_toml_never_panics(text in "(name|generation|\\[|\\]|=|\"|\n|[a-z.0-9 {}]){0,60}") {
        let _ = ReleaseToml::parse(&text);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line(key in 0_usize..13, at in 0_usize..3, letter in "[a-z]") {
        let keys = [
            "name", "generation", "expires-in", "hotshoe", "names", "labels", "file", "world", "grants", "models",
            "limits", "memory-mib", "media-type",
        ];
        let key = keys[key];
        let mut wrong = key.to_owned();
        wrong.insert_str(1 + at, &letter);
        let line = RELEASE_TOML.lines().position(|l| l.starts_with(key) || l.contains(&format!("{{ {key} ="))).unwrap();
        let lines = RELEASE_TOML.lines().enumerate();
        let text: Vec<_> = lines.map(|(n, l)| if n == line { l.replacen(key, &wrong, 1) } else { l.to_owned() }).collect();
        match ReleaseToml::parse(&text.join("\n")) {
            // Another known key may lie as near to the misspelt one (`names` to `namess`).
            Err(TomlError::Unknown { line: found_line, found, nearest, .. }) => {
                prop_assert_eq!((found_line, found), (line + 1, wrong));
                prop_assert_eq!(nearest.as_deref(), Some(key));
            }
            // `name` and `names` are both known, each elsewhere.
            other => prop_assert!(false, "{}: {:?}", wrong, other),
        }
    }
}

const RELEASE_TOML: &str = r#"name = "ocr"
generation = 7
expires-in = "90d"
hotshoe = ">=0.1"
[devices]
names = ["cam-*"]
labels = { line = "a" }
[components.read]
file = "stage.wasm"
world = "stage"
grants = ["log", "infer", "data", "config"]
models = ["detect"]
data = ["characters"]
config = { language = "en" }
limits = { memory-mib = 64, deadline-ms = 1000, tensor-mib = 256 }
[components.label]
file = "policy.wasm"
world = "policy"
grants = ["log"]
[models.detect]
file = "detect.onnx"
[data.characters]
file = "characters.txt"
media-type = "text/plain"
[[pipeline]]
stage = "read"
[[pipeline]]
policy = "label"
"#;

fn blobs() -> BTreeMap<String, Blob> {
    let files: [(&str, &[u8]); 4] = [
        ("stage.wasm", b"stage wasm"),
        ("policy.wasm", b"policy wasm"),
        ("detect.onnx", b"onnx"),
        ("characters.txt", b"abc"),
    ];
    files
        .into_iter()
        .map(|(file, bytes)| (file.to_owned(), Blob::of(bytes)))
        .collect()
}

#[test]
fn strict_json_limits() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    strict_json::check(nested(MAX_DEPTH).as_bytes(), 1 << 20).unwrap();
    for depth in [MAX_DEPTH + 1, 100_000] {
        let refused = strict_json::check(nested(depth).as_bytes(), 1 << 20);
        assert!(
            matches!(refused, Err(JsonError::TooDeep { .. })),
            "{refused:?}"
        );
    }
    let refused = strict_json::check(b"[1, 2]", 5);
    assert!(
        matches!(refused, Err(JsonError::TooLarge { size: 6, limit: 5 })),
        "{refused:?}"
    );
    let trailing = strict_json::check(b"{} {}", 9);
    assert!(
        matches!(trailing, Err(JsonError::Invalid(_))),
        "{trailing:?}"
    );
}

#[test]
fn a_release_toml_makes_the_release() {
    let file = ReleaseToml::parse(RELEASE_TOML).unwrap();
    let files: Vec<_> = file.files().map(|f| f.file).collect();
    assert_eq!(
        files,
        ["policy.wasm", "stage.wasm", "detect.onnx", "characters.txt"]
    );
    let made = file
        .release(time("2026-05-01T00:00:00Z"), &blobs())
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
            .release(issued, &blobs())
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

#[test]
fn unknown_keys_of_a_release_toml_are_named_with_line_and_nearest() {
    for (from, to, message) in [
        (
            "generation =",
            "genration =",
            "line 2: unknown key `genration`; did you mean `generation`?",
        ),
        (
            "[devices]",
            "[device]",
            "line 5: unknown key `device`; did you mean `devices`?",
        ),
        (
            "world = \"stage\"",
            "wrold = \"stage\"",
            "line 10: unknown key `wrold`; did you mean `world`?",
        ),
        (
            "world = \"stage\"",
            "world = \"stag\"",
            "line 10: unknown value `stag`; did you mean `stage`?",
        ),
        (
            "\"log\", \"infer\"",
            "\"log\", \"infr\"",
            "line 11: unknown value `infr`; did you mean `infer`?",
        ),
        (
            "deadline-ms",
            "deadline",
            "line 15: unknown key `deadline`; did you mean `deadline-ms`?",
        ),
        (
            "file = \"detect.onnx\"",
            "path = \"detect.onnx\"",
            "line 21: unknown key `path`; known here: file",
        ),
        (
            "media-type",
            "mediatype",
            "line 24: unknown key `mediatype`; did you mean `media-type`?",
        ),
        (
            "stage = \"read\"",
            "stge = \"read\"",
            "line 26: unknown value `stge`; did you mean `stage`?",
        ),
    ] {
        assert!(RELEASE_TOML.contains(from));
        let error = ReleaseToml::parse(&RELEASE_TOML.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.to_string(), message, "{from} -> {to}");
    }
}

#[test]
fn unknown_keys_of_a_trust_toml_are_named_with_line_and_nearest() {
    let key = SigningKey::generate().unwrap().public_key().unwrap();
    let good = format!(
        "threshold = 1\n{}",
        TrustRoot::key_entry("a", &key, &["ocr", "demo-*"])
    );
    TrustRoot::parse(&good).unwrap();
    for (from, to, message) in [
        (
            "threshold",
            "treshold",
            "line 1: unknown key `treshold`; did you mean `threshold`?",
        ),
        (
            "scheme",
            "schema",
            "line 3: unknown key `schema`; did you mean `scheme`?",
        ),
        (
            "\"ecdsa-p256-sha256\"",
            "\"ecdsa\"",
            "line 3: unknown value `ecdsa`; did you mean `ecdsa-p256-sha256`?",
        ),
        (
            "releases",
            "release",
            "line 4: unknown key `release`; did you mean `releases`?",
        ),
        (
            "public-key",
            "publickey",
            "line 5: unknown key `publickey`; did you mean `public-key`?",
        ),
    ] {
        let error = TrustRoot::parse(&good.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_trust_toml_that_makes_no_sense_is_refused() {
    let key = SigningKey::generate().unwrap().public_key().unwrap();
    let entry = |name: &str| TrustRoot::key_entry(name, &key, &["ocr"]);
    let parse = |threshold: &str, entries: String| {
        TrustRoot::parse(&format!("threshold = {threshold}\n{entries}"))
    };
    assert!(matches!(parse("0", entry("a")), Err(TrustError::Toml(_))));
    assert!(matches!(
        parse("2", entry("a")),
        Err(TrustError::Threshold {
            threshold: 2,
            keys: 1
        })
    ));
    assert!(matches!(
        parse("1", entry("a") + &entry("b")),
        Err(TrustError::SameKey { .. })
    ));
    assert!(matches!(
        parse("1", entry("a").replace("\"ocr\"", "")),
        Err(TrustError::NoReleases { .. })
    ));
    assert!(matches!(
        parse("1", entry("a").replace("ocr", "[")),
        Err(TrustError::Glob { .. })
    ));
    assert!(matches!(
        parse("1", entry("a").replace("ecdsa-p256-sha256", "ed25519")),
        Err(TrustError::Key { .. })
    ));
    assert!(matches!(
        parse("1", entry("a").replace("BEGIN PUBLIC", "BEGIN")),
        Err(TrustError::Key { .. })
    ));
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
        broken(|r| drop(r.models.clear())),
        ReleaseError::Missing { what: "model", .. }
    ));
    assert!(matches!(
        broken(|r| drop(r.data.clear())),
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
