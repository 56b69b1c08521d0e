//! The formats that people and other programs write: digests, strict JSON, and TOML.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::RELEASE_TOML;
use hotshoe_trust::{
    Digest, Hasher, SigningKey, TrustError, TrustRoot,
    release_toml::ReleaseToml,
    strict_json::{self, JsonError, MAX_DEPTH},
    toml_file::TomlError,
};
use proptest::prelude::*;
use serde_json::Value;

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
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(Value::from_iter),
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
            "line 21: unknown key `path`; known here: file, variants, prefer, deadline-ms, max-batch, max-wait-us, state, outputs",
        ),
        (
            "media-type",
            "mediatype",
            "line 24: unknown key `mediatype`; did you mean `media-type`?",
        ),
        (
            "stage = \"read\"",
            "stge = \"read\"",
            "line 26: unknown key `stge`; did you mean `stage`?",
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
