//! Modes of a release, and its governor.
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
    Mode, Rate, Release, ReleaseError, RestingOutput, Rests, Variant, World,
    release_toml::{ReleaseToml, ReleaseTomlError},
    strict_json,
};
use proptest::prelude::*;
use serde_json::json;

/// The `release.toml` of the tests, whose policy fails open, with these lines at its end.
fn with(lines: &str) -> Result<Release, ReleaseTomlError> {
    let open = RELEASE_TOML.replace(
        "policy = \"label\"",
        "policy = \"label\"\non-failure = \"fail-open\"",
    );
    let file = ReleaseToml::parse(&format!("{open}{lines}")).unwrap();
    file.release(time("2026-05-01T00:00:00Z"), &blobs(), BTreeMap::new())
}

const MODES: &str = r#"
[modes.full]
level = 0
[modes.reduced]
level = 1
rate = { every = 3 }
[modes.minimal]
level = 2
rate = { max-per-second = 2, only-on-motion = true }
variants = { detect = "default" }
rests = { components = ["label"], outputs = ["custom", "insight"] }
"#;

#[test]
fn a_release_toml_says_which_modes_there_are() {
    let release = with(MODES).unwrap();
    assert_eq!(release.full_mode(), Some("full"));
    let reduced = Mode {
        level: 1,
        rate: Rate {
            every: 3,
            ..Rate::FULL
        },
        variants: BTreeMap::new(),
        rests: Rests::default(),
    };
    let minimal = Mode {
        level: 2,
        rate: Rate {
            every: 1,
            max_per_second: Some(2.0),
            only_on_motion: true,
        },
        variants: [("detect".to_owned(), Variant::ONLY.to_owned())].into(),
        rests: Rests {
            components: ["label".to_owned()].into(),
            outputs: [RestingOutput::Insight, RestingOutput::Custom].into(),
        },
    };
    assert_eq!(release.modes["reduced"], reduced);
    assert_eq!(release.modes["minimal"], minimal);
    let json = serde_json::to_value(&release).unwrap();
    let written = json!({
        "full": { "level": 0 },
        "reduced": { "level": 1, "rate": { "every": 3 } },
        "minimal": {
            "level": 2,
            "rate": { "max-per-second": 2.0, "only-on-motion": true },
            "variants": { "detect": "default" },
            "rests": { "components": ["label"], "outputs": ["insight", "custom"] },
        },
    });
    assert_eq!(json["modes"], written);
    let bytes = serde_json::to_vec(&release).unwrap();
    assert_eq!(
        strict_json::parse::<Release>(&bytes, 1 << 20).unwrap(),
        release
    );
}

#[test]
fn a_release_without_modes_is_written_as_before() {
    let release = release();
    assert_eq!(release.full_mode(), None);
    let json = serde_json::to_string(&release).unwrap();
    assert!(!json.contains("modes"), "{json}");
}

#[test]
fn rules_of_modes() {
    let full = "[modes.full]\nlevel = 0\n";
    for (lines, said) in [
        ("[modes.full]\nlevel = 1\n", "none is the full one"),
        (
            "[modes.full]\nlevel = 0\nrate = { every = 2 }\n",
            "level 0 is the full mode",
        ),
        (
            "[modes.full]\nlevel = 0\nrests = { outputs = [\"insight\"] }\n",
            "level 0 is the full mode",
        ),
        (
            &format!("{full}[modes.a]\nlevel = 1\n[modes.b]\nlevel = 1\n"),
            "mode `b`: `a` has level 1, too",
        ),
        (
            &format!("{full}[modes.Low]\nlevel = 1\n"),
            "mode name `Low`",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrate = {{ every = 0 }}\n"),
            "`rate.every` of mode `low` is 0",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrate = {{ every = 1000001 }}\n"),
            "allowed are 1 to 1000000",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrate = {{ max-per-second = 0 }}\n"),
            "`rate.max-per-second` of mode `low` is 0",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrate = {{ max-per-second = nan }}\n"),
            "`rate.max-per-second` of mode `low` is NaN",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nvariants = {{ read = \"int8\" }}\n"),
            "mode `low` names model `read`",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nvariants = {{ detect = \"int8\" }}\n"),
            "model `detect` has no variant `int8`; it has default",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrests = {{ components = [\"other\"] }}\n"),
            "mode `low` names component `other`",
        ),
        (
            &format!("{full}[modes.low]\nlevel = 1\nrests = {{ components = [\"read\"] }}\n"),
            "component `read` may not rest",
        ),
    ] {
        let refused = with(lines).unwrap_err().to_string();
        assert!(refused.contains(said), "{lines}: {refused}");
    }
    let many: String = (0..=16)
        .map(|level| format!("[modes.m{level}]\nlevel = {level}\n"))
        .collect();
    let refused = with(&many).unwrap_err().to_string();
    assert!(
        refused.contains("the number of modes is 17; allowed are 1 to 16"),
        "{refused}"
    );
}

#[test]
fn a_policy_that_samples_need_does_not_rest() {
    let mut release = with(MODES).unwrap();
    release.pipeline = common::release().pipeline;
    let refused = release.validate().unwrap_err();
    assert!(
        matches!(&refused, ReleaseError::Mode { mode, .. } if mode == "minimal"),
        "{refused}"
    );
}

#[test]
fn a_mode_needs_a_level_and_knows_its_keys() {
    for (lines, said) in [
        ("[modes.full]\n", "missing field `level`"),
        ("[modes.full]\nlevl = 0\n", "did you mean `level`?"),
        (
            "[modes.full]\nlevel = 0\nrate = { evry = 2 }\n",
            "did you mean `every`?",
        ),
        (
            "[modes.full]\nlevel = 0\nrests = { outputs = [\"error\"] }\n",
            "unknown value `error`",
        ),
    ] {
        let refused = ReleaseToml::parse(&format!("{RELEASE_TOML}{lines}")).unwrap_err();
        let refused = format!("{refused}: {refused:?}");
        assert!(refused.contains(said), "{lines}: {refused}");
    }
}

#[test]
fn the_stricter_rate_lets_through_what_both_do() {
    let third = Rate {
        every: 3,
        ..Rate::FULL
    };
    let two = Rate {
        max_per_second: Some(2.0),
        ..Rate::FULL
    };
    let moved = Rate {
        every: 2,
        max_per_second: Some(5.0),
        only_on_motion: true,
    };
    let expected = Rate {
        every: 3,
        max_per_second: Some(2.0),
        only_on_motion: true,
    };
    assert_eq!(third.stricter(two).stricter(moved), expected);
    assert_eq!(third.stricter(Rate::FULL), third);
}

proptest! {
    #[test]
    fn the_stricter_rate_does_not_depend_on_the_order(
        rates in prop::collection::vec(
            (1_u32..=1_000_000, prop::option::of(0.001_f64..=10_000.0), any::<bool>()), 2..=2
        )
    ) {
        let rate = |at: usize| Rate {
            every: rates[at].0,
            max_per_second: rates[at].1,
            only_on_motion: rates[at].2,
        };
        prop_assert_eq!(rate(0).stricter(rate(1)), rate(1).stricter(rate(0)));
        prop_assert_eq!(rate(0).stricter(rate(0)), rate(0));
        prop_assert_eq!(rate(0).out_of_range(), None);
    }
}

#[test]
fn a_release_has_one_governor_that_is_no_step() {
    let governor = |file: &str, name: &str| {
        format!("[components.{name}]\nfile = \"{file}\"\nworld = \"governor\"\n")
    };
    let one = with(&governor("stage.wasm", "heat")).unwrap();
    assert_eq!(one.components["heat"].world, World::Governor);
    let two = governor("stage.wasm", "heat") + &governor("stage.wasm", "power");
    let refused = with(&two).unwrap_err();
    assert!(
        matches!(
            &refused,
            ReleaseTomlError::Invalid(ReleaseError::TwoGovernors { first, second })
                if first == "heat" && second == "power"
        ),
        "{refused}"
    );
    let mut step = one;
    step.components.get_mut("label").unwrap().world = World::Governor;
    step.components.remove("heat");
    let refused = step.validate().unwrap_err();
    assert!(
        matches!(
            refused,
            ReleaseError::World {
                step: 2,
                needed: World::Policy,
                found: World::Governor,
                ..
            }
        ),
        "{refused}"
    );
}
