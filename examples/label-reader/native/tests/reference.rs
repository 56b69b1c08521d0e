//! Reads the four pictures natively and compares with what rapidocr-onnxruntime 1.4.4 read (`expected/`, made by `record_reference.py`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;

use hotshoe_devkit::{Environment, Progress};
use hotshoe_infer::{ModelOptions, Models, Options};
use hotshoe_trust::Digest;
use label_reader_native::NativeReader;

/// Characters that may differ, of all.
const CHARACTER_ERROR_RATE: f64 = 0.01;
/// How far a corner may be off, in pixels.
const CORNER: f32 = 2.0;

#[derive(serde::Deserialize)]
struct Expected {
    picture: String,
    lines: Vec<ExpectedLine>,
}

#[derive(serde::Deserialize)]
struct ExpectedLine {
    text: String,
    outline: [[f32; 2]; 4],
}

/// Levenshtein's distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn reader(environment: &Environment) -> NativeReader {
    let models = Models::new(Options::default());
    let load = |name: &str| {
        let bytes = std::fs::read(environment.model(name)).unwrap();
        models
            .load(Digest::of(&bytes), &bytes, &ModelOptions::default())
            .unwrap()
    };
    NativeReader::new(load("detect"), load("classify-angle"), load("recognise"))
}

#[test]
fn the_pictures_read_as_the_reference_reads_them() {
    let root = hotshoe_devkit::find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let environment = hotshoe_devkit::set_up(&root, &Progress::plain()).unwrap();
    let reader = reader(&environment);
    let (mut wrong, mut all) = (0, 0);
    for name in ["page", "text", "china", "flower"] {
        let file = root.join(format!("examples/label-reader/expected/{name}.json"));
        let expected: Expected = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let picture = std::fs::read(environment.picture(&expected.picture)).unwrap();
        let lines = reader.read(&picture).unwrap();
        println!(
            "{name}: {:?}",
            lines
                .iter()
                .map(|line| (line.text.as_str(), line.score))
                .collect::<Vec<_>>()
        );
        assert_eq!(lines.len(), expected.lines.len(), "{name}");
        for (line, expected) in lines.iter().zip(&expected.lines) {
            wrong += edits(&line.text, &expected.text);
            all += expected.text.chars().count();
            for (found, wanted) in line
                .outline
                .iter()
                .flatten()
                .zip(expected.outline.iter().flatten())
            {
                assert!(
                    (found - wanted).abs() <= CORNER,
                    "{name}: {:?} instead of {:?}",
                    line.outline,
                    expected.outline
                );
            }
        }
    }
    let rate = wrong as f64 / all as f64;
    println!("character error rate: {wrong} of {all} = {rate:.4}");
    assert!(
        rate <= CHARACTER_ERROR_RATE,
        "{wrong} of {all} characters differ"
    );
}
