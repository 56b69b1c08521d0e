#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Models with weights in files beside them, as one file.

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::choice::load;
use common::{arithmetic, file, node, value, weight};
use hotshoe_base::files::FolderError;
use hotshoe_infer::{BackendChoice, Options, Tensor, WholeError, whole};
use proptest::prelude::*;
use tempfile::TempDir;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, StringStringEntryProto, TensorProto};

const LIMIT: u64 = 1 << 20;

/// `y = x + w`; the two elements of `w` are where these entries say.
fn beside(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().map(|(key, value)| StringStringEntryProto {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    file(GraphProto {
        name: "beside".to_owned(),
        input: vec![value("x", DataType::Float, &[2])],
        output: vec![value("y", DataType::Float, &[2])],
        initializer: vec![TensorProto {
            data_location: Some(DataLocation::External as i32),
            external_data: entries.collect(),
            ..weight("w", &[2], &[])
        }],
        node: vec![node("Add", &["x", "w"], "y")],
        ..GraphProto::default()
    })
}

/// A folder with the elements 10 and 20 behind four other bytes.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let elements: Vec<u8> = [1.0_f32, 10.0, 20.0]
        .iter()
        .flat_map(|it| it.to_le_bytes())
        .collect();
    fs::write(folder.path().join("data/w.bin"), elements).unwrap();
    folder
}

const PLACE: [(&str, &str); 3] = [("location", "data/w.bin"), ("offset", "4"), ("length", "8")];

#[test]
fn weights_beside_a_model_become_a_part_of_it() {
    let folder = folder();
    // The length may be left out.
    for entries in [&PLACE[..], &PLACE[..2]] {
        let joined = whole(folder.path(), &beside(entries), LIMIT)
            .unwrap()
            .unwrap();
        let model = load(&joined, BackendChoice::Tract, Options::default()).unwrap();
        let x = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
        let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
        assert_eq!(y.as_f32().unwrap(), [11.0, 22.0]);
        // The file's other fields stay.
        assert_eq!(model.metadata("labels"), Some("good\nbad"));
        assert!(whole(folder.path(), &joined, LIMIT).unwrap().is_none());
    }
    assert!(
        whole(folder.path(), &arithmetic(), LIMIT)
            .unwrap()
            .is_none()
    );
}

#[test]
fn tensors_in_turn_from_two_files_become_a_part_of_the_model() {
    let folder = folder();
    let elements: Vec<u8> = [100.0_f32, 200.0]
        .iter()
        .flat_map(|it| it.to_le_bytes())
        .collect();
    fs::write(folder.path().join("v.bin"), elements).unwrap();
    let external = |name: &str, location: &str, offset: &str| TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: [("location", location), ("offset", offset), ("length", "8")]
            .map(|(key, value)| StringStringEntryProto {
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .to_vec(),
        ..weight(name, &[2], &[])
    };
    let bytes = file(GraphProto {
        name: "two".to_owned(),
        input: vec![value("x", DataType::Float, &[2])],
        output: vec![value("y", DataType::Float, &[2])],
        initializer: vec![
            external("u", "data/w.bin", "0"),
            external("v", "v.bin", "0"),
            external("w", "data/w.bin", "4"),
        ],
        node: vec![
            node("Add", &["x", "u"], "s"),
            node("Add", &["s", "v"], "t"),
            node("Add", &["t", "w"], "y"),
        ],
        ..GraphProto::default()
    });
    let joined = whole(folder.path(), &bytes, LIMIT).unwrap().unwrap();
    let model = load(&joined, BackendChoice::Tract, Options::default()).unwrap();
    let x = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
    let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
    assert_eq!(y.as_f32().unwrap(), [112.0, 232.0]);
}

fn refused(folder: &TempDir, entries: &[(&str, &str)]) -> WholeError {
    whole(folder.path(), &beside(entries), LIMIT).unwrap_err()
}

#[test]
fn a_side_file_outside_of_the_models_folder_is_refused() {
    let (folder, other) = (folder(), folder());
    let outside = other.path().join("data/w.bin");
    for location in [
        "../w.bin",
        "data/../../w.bin",
        "",
        outside.to_str().unwrap(),
    ] {
        let error = refused(&folder, &[("location", location)]);
        assert!(
            matches!(error, WholeError::LeadsOut { .. }),
            "{location}: {error}"
        );
    }
    symlink(&outside, folder.path().join("link.bin")).unwrap();
    let error = refused(&folder, &[("location", "link.bin"), ("offset", "4")]);
    assert!(
        matches!(
            error,
            WholeError::Side {
                source: FolderError::LinkLeadsOut { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_incomplete_side_file_is_named() {
    let folder = folder();
    for (key, value) in [
        ("offset", "8"),
        ("offset", "18446744073709551615"),
        ("offset", "-1"),
        ("length", "9"),
        ("length", "many"),
    ] {
        let entries = PLACE.map(|(known, own)| (known, if known == key { value } else { own }));
        let error = refused(&folder, &entries);
        assert!(
            matches!(&error, WholeError::Short { tensor, bytes: 12, .. } if tensor == "w"),
            "{key} {value}: {error}"
        );
    }
    let missing = refused(&folder, &[("location", "none.bin")]);
    assert!(
        matches!(&missing, WholeError::Side { location, .. } if location == "none.bin"),
        "{missing}"
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    fs::write(folder.path().join("pointer.bin"), pointer).unwrap();
    let error = refused(&folder, &[("location", "pointer.bin")]);
    assert!(matches!(error, WholeError::SidePointer { .. }), "{error}");
    let whole_file = arithmetic();
    let half = whole(folder.path(), &whole_file[..whole_file.len() / 2], LIMIT);
    assert!(matches!(half, Err(WholeError::Model(_))));
}

#[test]
fn a_weight_without_the_bytes_of_its_shape_is_named() {
    let folder = folder();
    let cut = file(GraphProto {
        name: "cut".to_owned(),
        input: vec![value("x", DataType::Float, &[2])],
        output: vec![value("y", DataType::Float, &[2])],
        initializer: vec![TensorProto {
            raw_data: vec![0; 4],
            ..weight("w", &[2], &[])
        }],
        node: vec![node("Add", &["x", "w"], "y")],
        ..GraphProto::default()
    });
    let error = whole(folder.path(), &cut, LIMIT).unwrap_err();
    assert!(
        matches!(&error, WholeError::Incomplete { tensor } if tensor == "w"),
        "{error}"
    );
    // The length that the model states for a side file is too short.
    let short = PLACE.map(|(key, own)| (key, if key == "length" { "4" } else { own }));
    let error = refused(&folder, &short);
    assert!(matches!(error, WholeError::Incomplete { .. }), "{error}");
}

#[test]
fn a_model_and_its_side_files_are_bounded_together() {
    let folder = folder();
    let bytes = beside(&PLACE);
    let most = bytes.len() as u64 + 8;
    assert!(whole(folder.path(), &bytes, most).is_ok());
    let error = whole(folder.path(), &bytes, most - 1).unwrap_err();
    assert!(matches!(error, WholeError::TooLarge { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_file_is_joined_or_refused(at: prop::sample::Index, value: u8) {
        let (folder, mut bytes) = (folder(), beside(&PLACE));
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(Some(joined)) = whole(folder.path(), &bytes, LIMIT) {
            prop_assert!(joined.len() as u64 <= LIMIT);
        }
    }
}
