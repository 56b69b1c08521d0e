//! The kinds of releases: what each may have, and that name and kind agree.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeMap;

use hotshoe_trust::{
    Blob, Release, ReleaseError, ReleaseKind,
    release_toml::{ReleaseToml, ReleaseTomlError},
};

/// The release that a `release.toml` describes, with a blob of `bytes` bytes for each file.
fn release(text: &str, bytes: usize) -> Result<Release, ReleaseTomlError> {
    let parsed = ReleaseToml::parse(text).unwrap();
    let blobs = parsed.files().map(|file| {
        let mut blob = Blob::of(file.file.as_bytes());
        blob.size = bytes as u64;
        (file.file.to_owned(), blob)
    });
    let blobs: BTreeMap<_, _> = blobs.collect();
    parsed.release(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        &blobs,
        BTreeMap::new(),
    )
}

fn error(text: &str, bytes: usize) -> ReleaseError {
    match release(text, bytes) {
        Err(ReleaseTomlError::Invalid(error)) => error,
        other => panic!("{other:?}"),
    }
}

const HEAD: &str = "generation = 1\nexpires-in = \"1d\"\n";
const CONFIG: &str =
    "[data.\"hotshoe.toml\"]\nfile = \"fleet.toml\"\nmedia-type = \"text/plain\"\n";
const HOST: &str =
    "[data.x86_64-linux]\nfile = \"hotshoe\"\nmedia-type = \"application/octet-stream\"\n";

#[test]
fn the_name_of_a_release_says_its_kind() {
    for (name, kind) in [
        ("hotshoe.config", ReleaseKind::Config),
        ("hotshoe.config.cameras", ReleaseKind::Config),
        ("hotshoe.host", ReleaseKind::Host),
        ("hotshoe.host.arm", ReleaseKind::Host),
        ("hotshoe.configs", ReleaseKind::Pipeline),
        ("hotshoe", ReleaseKind::Pipeline),
        ("ocr", ReleaseKind::Pipeline),
    ] {
        assert_eq!(ReleaseKind::of_name(name), kind, "{name}");
    }
}

#[test]
fn each_kind_is_packed_with_its_files_and_says_so_in_json() {
    let config = format!("kind = \"config\"\nname = \"hotshoe.config\"\n{HEAD}{CONFIG}");
    let config = release(&config, 100).unwrap();
    assert_eq!(config.kind, ReleaseKind::Config);
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["kind"], "config");
    assert!(json.get("pipeline").is_none(), "{json}");
    let host = format!("kind = \"host\"\nname = \"hotshoe.host\"\n{HEAD}{HOST}");
    // Above the limit of the data of a pipeline.
    let host = release(&host, 100 << 20).unwrap();
    assert_eq!(serde_json::to_value(&host).unwrap()["kind"], "host");
    let again: Release = serde_json::from_value(serde_json::to_value(&host).unwrap()).unwrap();
    assert_eq!(again, host);
}

#[test]
fn a_name_of_another_kind_is_refused_both_ways() {
    for text in [
        format!("kind = \"config\"\nname = \"cameras\"\n{HEAD}{CONFIG}"),
        format!("kind = \"host\"\nname = \"hotshoe.config\"\n{HEAD}{HOST}"),
        format!("name = \"hotshoe.host\"\n{HEAD}{HOST}"),
    ] {
        assert!(
            matches!(error(&text, 1), ReleaseError::KindName { .. }),
            "{text}"
        );
    }
}

#[test]
fn only_a_pipeline_has_steps_and_a_config_has_one_file_of_its_name() {
    let steps = "[[pipeline]]\nstage = \"a\"\n";
    let text = format!("kind = \"config\"\nname = \"hotshoe.config\"\n{HEAD}{CONFIG}{steps}");
    let found = error(&text, 1);
    assert!(
        matches!(
            found,
            ReleaseError::KindKey {
                key: "pipeline",
                kind: ReleaseKind::Config
            }
        ),
        "{found}"
    );
    let text = format!("kind = \"config\"\nname = \"hotshoe.config\"\n{HEAD}{HOST}");
    assert_eq!(error(&text, 1), ReleaseError::NoConfigFile);
    let text = format!("kind = \"config\"\nname = \"hotshoe.config\"\n{HEAD}{CONFIG}{HOST}");
    assert!(matches!(error(&text, 1), ReleaseError::Limit { .. }));
    let text = format!("kind = \"config\"\nname = \"hotshoe.config\"\n{HEAD}{CONFIG}");
    assert!(matches!(
        error(&text, (256 << 10) + 1),
        ReleaseError::Limit { .. }
    ));
    let text = format!("kind = \"host\"\nname = \"hotshoe.host\"\n{HEAD}");
    assert!(matches!(error(&text, 1), ReleaseError::Limit { .. }));
}
