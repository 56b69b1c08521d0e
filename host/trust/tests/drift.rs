//! `[drift]`: its defaults, and what it may say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::release;
use hotshoe_trust::{
    Blob, Drift, DriftAction, Mode, Rate, Release, ReleaseError, ReleaseLimits, Rests,
    manifest::Manifest, toml_file,
};

fn baseline() -> Blob {
    Blob::of(b"a baseline")
}

fn with(change: impl FnOnce(&mut Drift)) -> Release {
    let mut release = release();
    let mut drift = Drift::new(baseline());
    change(&mut drift);
    release.drift = Some(drift);
    release
}

/// What is out of range.
fn range(change: impl FnOnce(&mut Drift)) -> (String, f64) {
    match with(change).validate() {
        Err(ReleaseError::Range { what, value, .. }) => (what, value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_with_a_baseline_alone_has_the_defaults() {
    let read: Drift<String> = toml_file::parse("baseline = \"baseline.json\"\n").unwrap();
    assert_eq!(read, Drift::new("baseline.json".to_owned()));
    assert_eq!(read.with_baseline(baseline()), Drift::new(baseline()));
    assert!(toml_file::parse::<Drift<String>>("window = 7\n").is_err());
    let unknown = "baseline = \"b\"\nthreshold = 1\n";
    assert!(toml_file::parse::<Drift<String>>(unknown).is_err());
    let text = "baseline = \"b\"\naction = \"previous\"\np-value = 0.01\nwindow-seconds = 60\n";
    let read: Drift<String> = toml_file::parse(text).unwrap();
    assert_eq!(read.action, DriftAction::Previous);
    assert_eq!((read.p_value, read.window_seconds), (0.01, 60));
}

#[test]
fn the_baseline_is_a_blob_of_the_release() {
    let release = with(|_| ());
    release.validate().unwrap();
    assert!(release.blobs().any(|blob| blob == baseline()));
    let config = serde_json::to_vec(&release).unwrap();
    let read: Release = serde_json::from_slice(&config).unwrap();
    assert_eq!(read, release);
    let manifest = Manifest::of(&release, &config);
    let layer = manifest.layers.iter().find(|it| it.blob() == baseline());
    let media_type = layer.unwrap().media_type.as_str();
    assert_eq!(media_type, hotshoe_trust::manifest::BASELINE);
    manifest.check_layers(&release).unwrap();
}

#[test]
fn numbers_that_are_out_of_range_are_refused() {
    let of = |key: &str| format!("`{key}` of [drift]");
    assert_eq!(range(|it| it.at_least = 19), (of("at-least"), 19.0));
    // A window has at least `at-least` samples.
    assert_eq!(range(|it| it.window = 99), (of("window"), 99.0));
    assert_eq!(range(|it| it.window = 10_001), (of("window"), 10_001.0));
    assert_eq!(range(|it| it.every = 0), (of("every"), 0.0));
    assert_eq!(range(|it| it.windows = 0), (of("windows"), 0.0));
    assert_eq!(range(|it| it.ks = 1.5), (of("ks"), 1.5));
    assert_eq!(range(|it| it.p_value = 0.5), (of("p-value"), 0.5));
    assert!(range(|it| it.psi = f64::NAN).1.is_nan());
    let large = ReleaseLimits::BASELINE_BYTES + 1;
    let too_large = with(|it| it.baseline.size = large).validate();
    assert!(matches!(
        too_large,
        Err(ReleaseError::Limit { what, value, .. })
            if what == "size of `baseline` of [drift]" && value == large
    ));
}

#[test]
fn a_mode_is_named_with_its_action_and_is_one_of_the_release() {
    let problem = |release: &Release| match release.validate() {
        Err(ReleaseError::Drift { problem }) => problem,
        other => panic!("{other:?}"),
    };
    let missing = with(|it| it.action = DriftAction::Mode);
    assert!(problem(&missing).contains("needs the name of a `mode`"));
    let surplus = with(|it| it.mode = Some("reduced".to_owned()));
    assert!(problem(&surplus).contains("only valid with"));
    let mut named = with(|it| {
        it.action = DriftAction::Mode;
        it.mode = Some("reduced".to_owned());
    });
    assert!(problem(&named).contains("no mode `reduced`"));
    let mode = |level| Mode {
        level,
        rate: Rate {
            every: level + 1,
            ..Rate::FULL
        },
        variants: [].into(),
        rests: Rests::default(),
    };
    named.modes.insert("full".to_owned(), mode(0));
    named.modes.insert("reduced".to_owned(), mode(1));
    named.validate().unwrap();
}
