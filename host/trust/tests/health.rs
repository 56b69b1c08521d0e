//! Chunks, self-tests, kept state and the health gate of a release: how they are written, and their rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use common::{RELEASE_TOML, blobs, case, release, time};
use hotshoe_trust::{
    Blob, ChunkIndex, Digest, Grant, HealthBounds, HealthGate, OnFailure, Release, ReleaseError,
    ReleaseLimits, SelfTest, Shadow, SigningKey, StageFailure, Step,
    manifest::{self, Manifest},
    release_toml::{ReleaseToml, ReleaseTomlError},
    strict_json,
    toml_file::{self, TomlError},
    verify_for_registry,
};
use proptest::prelude::*;

const MORE: &str = r#"
[[tests]]
name = "clear"
sample = "page.png"
content-type = "image/png"
expected = "page.json"
min-agreement = 0.9
[health]
min-samples = 5
max-latency-ratio = 1.5
on-failure = "keep"
[health.shadow]
samples = 3
"#;

/// The valid release with all that this file is about.
fn full() -> Release {
    let text = RELEASE_TOML
        .replace(
            "grants = [\"log\"]",
            "grants = [\"log\", \"state\"]\nstate-version = 2",
        )
        .replace(
            "policy = \"label\"",
            "policy = \"label\"\non-failure = \"fail-open\"",
        )
        + MORE;
    let mut blobs = blobs();
    blobs.insert("page.png".into(), Blob::of(b"a page"));
    blobs.insert("page.json".into(), Blob::of(b"{}"));
    let index = Blob::of(&index(&[4]));
    let chunks = [(Digest::of(b"onnx"), index)].into();
    let file = ReleaseToml::parse(&text).unwrap();
    let files: Vec<_> = file.files().filter(|f| f.table == "tests").collect();
    assert_eq!(
        files
            .iter()
            .map(|f| (f.name, f.file, f.max_bytes))
            .collect::<Vec<_>>(),
        [
            ("clear", "page.png", ReleaseLimits::SAMPLE_BYTES),
            ("clear", "page.json", ReleaseLimits::EXPECTED_BYTES)
        ]
    );
    file.release(time("2026-05-01T00:00:00Z"), &blobs, chunks)
        .unwrap()
}

fn index(sizes: &[u64]) -> Vec<u8> {
    let chunks = sizes.iter().map(|size| Blob {
        digest: Digest::of(b"a chunk"),
        size: *size,
    });
    ChunkIndex {
        blob: Blob::of(b""),
        chunks: chunks.collect(),
    }
    .to_bytes()
}

#[test]
fn a_release_toml_says_how_to_prove_the_release() {
    let release = full();
    let test = SelfTest {
        name: "clear".into(),
        sample: Blob::of(b"a page"),
        media_type: "image/png".into(),
        expected: Blob::of(b"{}"),
        min_agreement: 0.9,
    };
    assert_eq!(release.tests, [test]);
    let gate = HealthGate {
        min_samples: 5,
        max_latency_ratio: Some(1.5),
        on_failure: OnFailure::Keep,
        shadow: Some(Shadow {
            samples: 3,
            ..Shadow::default()
        }),
        ..HealthGate::default()
    };
    assert_eq!(release.health, gate);
    assert_eq!(release.components["label"].state_version, 2);
    assert!(release.components["label"].grants.contains(&Grant::State));
    assert!(matches!(
        release.pipeline[1],
        Step::Policy {
            on_failure: StageFailure::FailOpen,
            ..
        }
    ));
    let json = serde_json::to_vec(&release).unwrap();
    assert_eq!(
        strict_json::parse::<Release>(&json, 1 << 20).unwrap(),
        release
    );
}

#[test]
fn what_a_release_does_not_say_is_not_written() {
    let json = serde_json::to_string(&release()).unwrap();
    for key in ["chunks", "tests", "health", "state-version", "on-failure"] {
        assert!(!json.contains(key), "{json}");
    }
}

#[test]
fn layers_hold_the_tests_and_the_indexes() {
    let release = full();
    let config = serde_json::to_vec(&release).unwrap();
    let made = Manifest::of(&release, &config);
    let has = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        made.layers
            .iter()
            .any(|l| l.digest == digest && l.media_type == media_type)
    };
    assert!(has(b"a page", "image/png") && has(b"{}", manifest::INSIGHT));
    assert!(has(&index(&[4]), manifest::CHUNKS));
    assert_eq!(release.blobs().count(), made.layers.len());
    made.check_layers(&release).unwrap();
    let mut fewer = made.clone();
    fewer
        .layers
        .retain(|layer| layer.media_type != manifest::CHUNKS);
    fewer.check_layers(&release).unwrap_err();
}

#[test]
fn only_a_policy_fails_open() {
    for (from, to) in [
        (
            "stage = \"read\"",
            "stage = \"read\"\non-failure = \"fail-open\"",
        ),
        ("stage = \"read\"", "on-failure = \"fail-open\""),
        ("stage = \"read\"", ""),
    ] {
        let text = RELEASE_TOML.replace(from, to);
        let refused = ReleaseToml::parse(&text).unwrap_err();
        assert!(matches!(refused, TomlError::Invalid { .. }), "{refused}");
    }
    let text = RELEASE_TOML.replace("stage = \"read\"", "stag = \"read\"");
    let refused = ReleaseToml::parse(&text).unwrap_err();
    assert!(
        refused.to_string().contains("did you mean `stage`?"),
        "{refused}"
    );
}

/// Changes the valid release, and gives the rule that it now breaks.
#[track_caller]
fn broken(change: impl FnOnce(&mut Release)) -> ReleaseError {
    let mut release = full();
    release.validate().unwrap();
    change(&mut release);
    release.validate().unwrap_err()
}

#[test]
fn rules_of_self_tests_and_state() {
    assert!(matches!(
        broken(|r| r.tests[0].name = "Clear".into()),
        ReleaseError::Name {
            what: "self-test",
            ..
        }
    ));
    assert!(matches!(
        broken(|r| r.tests.push(r.tests[0].clone())),
        ReleaseError::SameTest { .. }
    ));
    assert!(matches!(
        broken(|r| r.tests[0].media_type = "png".into()),
        ReleaseError::MediaType { .. }
    ));
    let changes: [fn(&mut Release); 4] = [
        |r| r.tests[0].sample.size = ReleaseLimits::SAMPLE_BYTES + 1,
        |r| r.tests[0].expected.size = ReleaseLimits::EXPECTED_BYTES + 1,
        |r| r.tests[0].expected.size = 0,
        |r| {
            for number in 0..64 {
                let name = format!("t{number}");
                r.tests.push(SelfTest {
                    name,
                    ..r.tests[0].clone()
                });
            }
        },
    ];
    for change in changes {
        assert!(matches!(broken(change), ReleaseError::Limit { .. }));
    }
    for agreement in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(
            broken(|r| r.tests[0].min_agreement = agreement),
            ReleaseError::Range { .. }
        ));
    }
    assert!(matches!(
        broken(|r| r.components.get_mut("read").unwrap().state_version = 2),
        ReleaseError::StateVersion { .. }
    ));
    assert!(matches!(
        broken(|r| r.components.get_mut("label").unwrap().state_version = 0),
        ReleaseError::Limit { .. }
    ));
}

#[test]
fn rules_of_chunks() {
    let entry = |r: &mut Release, size: u64| r.chunks.values_mut().for_each(|i| i.size = size);
    assert!(matches!(
        broken(|r| {
            r.chunks
                .insert(Digest::of(b"elsewhere"), Blob::of(&index(&[4])));
        }),
        ReleaseError::ChunksOfNothing { .. }
    ));
    let own = Blob::of(&index(&[4]));
    assert!(matches!(
        broken(|r| {
            r.chunks.insert(own.digest, Blob::of(&index(&[5])));
        }),
        ReleaseError::ChunkedIndex { .. }
    ));
    assert!(matches!(
        broken(|r| entry(r, ReleaseLimits::INDEX_BYTES + 1)),
        ReleaseError::Limit { .. }
    ));
    // No chunk at all, half a chunk, and more chunks than the blob has bytes.
    for size in [17, 30, 17 + 36 * 5] {
        assert!(matches!(
            broken(|r| entry(r, size)),
            ReleaseError::IndexSize { .. }
        ));
    }
    assert!(matches!(
        broken(|r| r.models.get_mut("detect").unwrap().variants[0].blob.size = 300_000),
        ReleaseError::IndexSize { .. }
    ));
}

#[test]
fn rules_of_the_health_gate() {
    let changes: [fn(&mut HealthGate); 6] = [
        |h| h.max_error_rate = 1.01,
        |h| h.max_trap_rate = -1.0,
        |h| h.max_deadline_miss_rate = f64::NAN,
        |h| h.max_latency_ratio = Some(0.0),
        |h| h.shadow.as_mut().unwrap().share = 0.0,
        |h| h.shadow.as_mut().unwrap().min_agreement = f64::INFINITY,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = broken(|r| change(&mut r.health));
        assert!(
            matches!(error, ReleaseError::Range { .. }),
            "{number}: {error}"
        );
    }
    let changes: [fn(&mut HealthGate); 5] = [
        |h| h.tries = 11,
        |h| h.min_samples = ReleaseLimits::TRIAL_SAMPLES + 1,
        |h| h.min_seconds = ReleaseLimits::TRIAL_SECONDS + 1,
        |h| h.max_latency_p95_ms = Some(0),
        |h| h.shadow.as_mut().unwrap().samples = 0,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = broken(|r| change(&mut r.health));
        assert!(
            matches!(error, ReleaseError::Limit { .. }),
            "{number}: {error}"
        );
    }
    let text = format!("{RELEASE_TOML}\n[health]\ntries = 11\n");
    let issued = time("2026-05-01T00:00:00Z");
    let refused = ReleaseToml::parse(&text)
        .unwrap()
        .release(issued, &blobs(), BTreeMap::new());
    assert!(matches!(refused, Err(ReleaseTomlError::Invalid(_))));
    let unknown = ReleaseToml::parse(&text.replace("tries", "tryes")).unwrap_err();
    assert!(
        unknown.to_string().contains("did you mean `tries`?"),
        "{unknown}"
    );
}

#[test]
fn bounds_are_read_and_checked() {
    let read = |text: &str| toml_file::parse::<HealthBounds>(text).unwrap();
    assert_eq!(read(""), HealthBounds::default());
    read("min-samples = 50\nmax-samples = 100\nmax-trap-rate = 0.0\nalways-roll-back = true")
        .check()
        .unwrap();
    for bad in [
        "max-error-rate = 2.0",
        "min-shadow-agreement = nan",
        "max-tries = 11",
        "max-latency-p95-ms = 0",
        "max-latency-ratio = -1.0",
        "min-samples = 3\nmax-samples = 2",
        "min-seconds = 3\nmax-seconds = 2",
    ] {
        let (key, _) = bad.split_once(" = ").unwrap();
        let refused = read(bad).check().unwrap_err().to_string();
        assert!(refused.contains(key), "{bad}: {refused}");
    }
}

#[test]
fn a_device_says_how_long_a_trial_may_ask_for() {
    let gate = HealthGate::default();
    let bounds = HealthBounds {
        max_samples: Some(5),
        min_seconds: Some(60),
        ..HealthBounds::default()
    };
    let bounded = gate.bounded(&bounds);
    assert_eq!((bounded.min_samples, bounded.min_seconds), (5, 60));
    assert_eq!(gate.bounded(&HealthBounds::default()), gate);
}

#[test]
fn a_registry_asks_for_signatures_and_times_alone() {
    let key = SigningKey::generate().unwrap();
    let mut case = case(&release(), &key);
    // No device that this host could be, and no host that the release names.
    case.device.name = "other".into();
    case.host = "0.0.1".parse().unwrap();
    case.verify().unwrap_err();
    let verified = verify_for_registry(&case.package, &case.trust, case.now).unwrap();
    assert_eq!(verified.signers(), ["a"]);
    let late = verify_for_registry(&case.package, &case.trust, time("2026-09-01T00:00:00Z"));
    assert_eq!(late.unwrap_err().name(), "expired");
    case.package.bundles.clear();
    let unsigned = verify_for_registry(&case.package, &case.trust, case.now);
    assert_eq!(unsigned.unwrap_err().name(), "no_bundle");
}

proptest! {
    #[test]
    fn bounds_without_caps_never_make_a_gate_laxer(
        rates in prop::array::uniform6(0.0..=1.0_f64), own in prop::option::of(1..1000_u64),
        bound in prop::option::of(1..1000_u64), samples in 0..100_u64, least in prop::option::of(0..100_u64),
        ratio in prop::option::of(0.1..10.0_f64), roll_back: bool, tries in 0..10_u32
    ) {
        let [error, trap, miss, error_bound, trap_bound, agreement] = rates;
        let gate = HealthGate {
            min_samples: samples, max_error_rate: error, max_trap_rate: trap, max_deadline_miss_rate: miss,
            max_latency_p95_ms: own, max_latency_ratio: ratio, tries,
            shadow: Some(Shadow { min_agreement: agreement, ..Shadow::default() }),
            on_failure: OnFailure::Keep, ..HealthGate::default()
        };
        let bounds = HealthBounds {
            min_samples: least, max_error_rate: Some(error_bound), max_trap_rate: Some(trap_bound),
            max_latency_p95_ms: bound, max_latency_ratio: ratio.map(|r| r / 2.0), always_roll_back: roll_back,
            min_shadow_agreement: Some(0.5), max_tries: Some(1), ..HealthBounds::default()
        };
        let bounded = gate.bounded(&bounds);
        prop_assert!(bounded.min_samples >= gate.min_samples.max(least.unwrap_or(0)));
        prop_assert!(bounded.max_error_rate <= error.min(error_bound));
        prop_assert!(bounded.max_trap_rate <= trap.min(trap_bound));
        prop_assert!(bounded.max_latency_p95_ms.unwrap_or(u64::MAX) <= own.unwrap_or(u64::MAX).min(bound.unwrap_or(u64::MAX)));
        prop_assert!(bounded.max_latency_ratio <= ratio);
        prop_assert!(bounded.shadow.as_ref().unwrap().min_agreement >= agreement.max(0.5));
        prop_assert!(bounded.tries <= gate.tries.min(1));
        prop_assert_eq!(bounded.on_failure, if roll_back { OnFailure::Rollback } else { OnFailure::Keep });
        prop_assert_eq!(bounded.bounded(&bounds), bounded);
    }
}
