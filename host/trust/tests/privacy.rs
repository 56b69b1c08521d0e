//! `[privacy]`: what it may say, which sources it applies to, and which outputs pixels can reach.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::release;
use hotshoe_trust::{
    Access, ExposedOutput, Grant, MAX_CORNERS, MAX_MASKS, Privacy, PrivacyBlur, PrivacyError,
    PrivacyMask, PrivacyRules, RawPixels, RecordKind, Release, ReleaseError, Step, pixel_exposure,
    toml_file,
};

const CORNER: [[f64; 2]; 3] = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.25]];

fn masks(sources: &[&str], blur: PrivacyBlur) -> Privacy {
    let mask = |source: &&str| PrivacyMask {
        source: (*source).to_owned(),
        polygon: CORNER.to_vec(),
    };
    let masks = sources.iter().map(mask).collect();
    Privacy { masks, blur }
}

#[test]
fn a_table_is_read_as_it_is_documented() {
    let text = "masks = [{ source = \"*\", polygon = [[0, 0.0], [1, 0], [1.0, 0.25]] }]\nblur = \"masks\"\n";
    let read: Privacy = toml_file::parse(text).unwrap();
    assert_eq!(read, masks(&["*"], PrivacyBlur::Masks));
    read.check().unwrap();
    let empty: Privacy = toml_file::parse("").unwrap();
    assert_eq!(empty, Privacy::default());
    assert!(toml_file::parse::<Privacy>("blur = \"some\"\n").is_err());
    assert!(toml_file::parse::<Privacy>("mask = []\n").is_err());
}

#[test]
fn masks_that_make_no_sense_are_refused() {
    let one = |change: fn(&mut PrivacyMask)| {
        let mut privacy = masks(&["*", "*"], PrivacyBlur::None);
        change(&mut privacy.masks[1]);
        privacy.check().unwrap_err()
    };
    let corners = |count| PrivacyError::Corners { number: 2, count };
    assert_eq!(one(|it| it.polygon.truncate(2)), corners(2));
    let most = MAX_CORNERS + 1;
    assert_eq!(
        one(|it| it.polygon.resize(MAX_CORNERS + 1, [0.5; 2])),
        corners(most)
    );
    let outside = PrivacyError::Corner {
        number: 2,
        x: 0.0,
        y: 1.5,
    };
    assert_eq!(one(|it| it.polygon[0] = [0.0, 1.5]), outside);
    let not_finite = one(|it| it.polygon[0] = [f64::NAN, 0.0]);
    assert!(matches!(not_finite, PrivacyError::Corner { number: 2, .. }));
    for source in ["", "[", &"a".repeat(257)] {
        let privacy = masks(&[source], PrivacyBlur::None);
        let refused = privacy.check().unwrap_err();
        assert!(matches!(refused, PrivacyError::Source { number: 1, .. }));
    }
    let many = masks(&["*"; MAX_MASKS + 1], PrivacyBlur::None);
    assert_eq!(
        many.check(),
        Err(PrivacyError::Masks {
            count: MAX_MASKS + 1
        })
    );
    // A release with such a table is not valid.
    let mut broken = release();
    broken.privacy = many.clone();
    let refused = broken.validate().unwrap_err();
    assert_eq!(refused, ReleaseError::Privacy(many.check().unwrap_err()));
}

#[test]
fn a_glob_matches_a_source_or_its_end() {
    let camera = "hotshoe/lab/line-4/input/camera-1";
    for (glob, applies) in [
        ("*", true),
        (camera, true),
        ("camera-1", true),
        ("camera-*", true),
        ("input/camera-1", true),
        ("camera", false),
        ("camera-2", false),
        ("input", false),
        ("amera-1", false),
    ] {
        let table = masks(&[glob], PrivacyBlur::None);
        let rules = PrivacyRules::of([&table]);
        assert_eq!(rules.areas(camera).count(), usize::from(applies), "{glob}");
    }
}

#[test]
fn masks_with_the_same_glob_share_it_and_keep_their_places() {
    let table = masks(&["b", "a", "b", "*"], PrivacyBlur::All);
    table.check().unwrap();
    let rules = PrivacyRules::of([&table, &table]);
    let numbers = |source: &str| -> Vec<usize> {
        let areas = rules.numbered_areas(source);
        areas.map(|(number, _)| number).collect()
    };
    // Each table has four masks and the blur of the whole picture.
    assert_eq!(numbers("x/b"), [0, 2, 3, 4, 5, 7, 8, 9]);
    assert_eq!(numbers("a"), [1, 3, 4, 6, 8, 9]);
    assert_eq!(numbers("c"), [3, 4, 8, 9]);
    let sources: Vec<&str> = rules.sources().take(5).collect();
    assert_eq!(sources, ["b", "a", "b", "*", "*"]);
}

#[test]
fn the_tables_of_the_release_and_the_device_add_up() {
    let of_release = masks(&["camera-1"], PrivacyBlur::Masks);
    let of_device = masks(&["*"], PrivacyBlur::All);
    let rules = PrivacyRules::of([&of_release, &of_device]);
    let blurred = |source| -> Vec<_> {
        let areas = rules.areas(source);
        areas.map(|it| (it.polygon.len(), it.is_blurred)).collect()
    };
    // The mask of the release, the mask of the device, and the whole picture.
    assert_eq!(blurred("camera-1"), [(3, true), (3, false), (4, true)]);
    assert_eq!(blurred("camera-2"), [(3, false), (4, true)]);
    assert!(!of_release.covers_every_source() && of_device.covers_every_source());
    assert!(masks(&[], PrivacyBlur::All).covers_every_source());
    assert!(!masks(&[], PrivacyBlur::Masks).covers_every_source());
}

#[test]
fn an_older_release_is_written_as_before() {
    let text = serde_json::to_string(&release()).unwrap();
    assert!(!text.contains("privacy"));
    let mut masked = release();
    masked.privacy = masks(&["*"], PrivacyBlur::None);
    masked.validate().unwrap();
    let text = serde_json::to_string(&masked).unwrap();
    assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), masked);
}

fn found<'o>(outputs: &'o [ExposedOutput], name: &str) -> &'o ExposedOutput {
    let mut found = outputs.iter().filter(|it| it.output == name);
    let (Some(output), None) = (found.next(), found.next()) else {
        panic!("{name} is not there once: {outputs:#?}");
    };
    output
}

fn assert_path(outputs: &[ExposedOutput], name: &str, path: &[&str]) {
    let output = found(outputs, name);
    assert_eq!(output.path, path, "{name}");
    assert_eq!(
        output.raw_pixels == RawPixels::No,
        path.is_empty(),
        "{name}"
    );
}

#[test]
fn pixels_reach_what_the_graph_and_the_grants_let_them_reach() {
    // A stage `read` and a policy `label`, both with the grant `log` and no other output.
    let mut release = release();
    let outputs = pixel_exposure(&release, &[&release.privacy]);
    assert_path(&outputs, "insight", &["sample", "read", "insight"]);
    assert_path(&outputs, "action", &["sample", "read", "label", "action"]);
    assert_path(&outputs, "error", &["sample", "read", "error"]);
    assert_path(&outputs, "log of read", &["sample", "read", "log of read"]);
    let label = ["sample", "read", "label", "log of label"];
    assert_path(&outputs, "log of label", &label);
    for name in [
        "topic",
        "recording",
        "metrics",
        "state",
        "network",
        "folder",
    ] {
        assert_path(&outputs, name, &[]);
    }
    assert_eq!(outputs.len(), 11);

    // A component that no step names gets no samples.
    let mut unused = release.components["label"].clone();
    unused.grants.insert(Grant::Metrics);
    release.components.insert("unused".into(), unused);
    let label = release.components.get_mut("label").unwrap();
    label.topics.insert("count".into());
    label.folders.insert("/out".into(), Access::Write);
    label.folders.insert("/models".into(), Access::Read);
    label.grants.insert(Grant::WasiHttp);
    label.hosts.insert("a.example:443".parse().unwrap());
    let read = release.components.get_mut("read").unwrap();
    read.grants.insert(Grant::State);
    // The grant alone, without a host.
    read.grants.insert(Grant::WasiSockets);
    release.data_contract.record = RecordKind::ALL.into();
    let outputs = pixel_exposure(&release, &[&release.privacy]);
    let to_label = |last: &'static str| ["sample", "read", "label", last];
    assert_path(&outputs, "topic count", &to_label("topic count"));
    assert_path(
        &outputs,
        "folder /out of label",
        &to_label("folder /out of label"),
    );
    assert_path(&outputs, "network of label", &to_label("network of label"));
    assert_path(
        &outputs,
        "state of read",
        &["sample", "read", "state of read"],
    );
    assert_path(
        &outputs,
        "recording of sample",
        &["sample", "recording of sample"],
    );
    assert_path(
        &outputs,
        "recording of insight",
        &["sample", "read", "recording of insight"],
    );
    assert_path(&outputs, "metrics", &[]);
    assert!(
        outputs
            .iter()
            .all(|it| !it.output.contains("unused") && !it.output.contains("/models"))
    );
}

#[test]
fn pixels_reach_an_insight_through_models_alone() {
    let mut release = release();
    release.pipeline = vec![Step::Infer {
        model: "detect".into(),
    }];
    release.data_contract.record = [RecordKind::Tensors].into();
    let outputs = pixel_exposure(&release, &[&release.privacy]);
    assert_path(&outputs, "insight", &["sample", "[detect]", "insight"]);
    let recording = ["sample", "[detect]", "recording of tensors"];
    assert_path(&outputs, "recording of tensors", &recording);
    assert_path(&outputs, "action", &[]);
    assert_path(&outputs, "error", &[]);
    assert_path(&outputs, "log", &[]);
}

#[test]
fn only_masks_for_every_source_make_outputs_masked() {
    let release = release();
    let some = masks(&["camera-1"], PrivacyBlur::None);
    let every = masks(&["*"], PrivacyBlur::None);
    let none = Privacy::default();
    for (tables, expected, reason) in [
        (vec![&none], RawPixels::Yes, "[privacy] has no masks"),
        (
            vec![&none, &some],
            RawPixels::Yes,
            "masks are burned in first for `camera-1` only",
        ),
        (
            vec![&some, &every],
            RawPixels::Masked,
            "masks are burned in first, for every source",
        ),
    ] {
        let outputs = pixel_exposure(&release, &tables);
        let insight = found(&outputs, "insight");
        assert_eq!(
            (insight.raw_pixels, insight.reason.as_str()),
            (expected, reason)
        );
        assert_eq!(found(&outputs, "network").raw_pixels, RawPixels::No);
    }
}
