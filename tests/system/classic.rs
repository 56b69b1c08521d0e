//! A plain program for `wasi:nn` as a stage: it finds what ONNX Runtime finds, and knows nothing of Hotshoe.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hotshoe_devkit::interface;
use hotshoe_tests::{Need, skip};
use hotshoe_vision::{Budget, DecodeLimits, Image, Rotation, crop, decode, rotate};
use serde_json::Value;

use super::support::{Workspace, environment, json_lines};

/// Most that a score may differ from ONNX Runtime's.
const TOLERANCE: f64 = 1e-4;
/// Of a picture, in pixels.
const SIZE: (f32, f32) = (192.0, 48.0);
const TARGET: &str = "wasm32-wasip2";

fn folder() -> PathBuf {
    environment().root.join("examples/wasi-nn-classic")
}

/// The example's release, with paths that hold from anywhere.
fn recipe() -> String {
    let here = folder();
    let root = environment().root.display();
    fs::read_to_string(here.join("release.toml"))
        .expect("a recipe")
        .replace("\"../../target", &format!("\"{root}/target"))
        .replace(
            "\"upright.ppm",
            &format!("\"{}/upright.ppm", here.display()),
        )
        .replace("\"turned.ppm", &format!("\"{}/turned.ppm", here.display()))
        .replace("\"expected/", &format!("\"{}/expected/", here.display()))
}

fn expected(name: &str) -> Value {
    let path = folder().join(format!("expected/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The piece of a page that a record is about, as a PPM file.
fn piece(record: &Value) -> Vec<u8> {
    let page = fs::read(environment().picture(record["of"].as_str().unwrap())).unwrap();
    let budget = Budget::unlimited();
    let page = decode(&page, &DecodeLimits::default(), &budget).unwrap();
    let at = |name: &str| record[name].as_f64().unwrap() as f32;
    let piece = crop(&page, at("x"), at("y"), SIZE.0, SIZE.1, &budget).unwrap();
    let turned = record["turned"].as_bool().unwrap();
    let piece: Image = if turned {
        rotate(&piece, Rotation::Half, &budget).unwrap()
    } else {
        piece
    };
    [b"P6 192 48 255\n", piece.pixels()].concat()
}

#[test]
fn it_finds_what_onnx_runtime_finds() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe());
    let names = ["upright", "turned", "page-top", "page-turned"];
    let mut inputs = Vec::new();
    for name in names {
        let record = expected(name);
        let drawn = folder().join(format!("{name}.ppm"));
        inputs.push(if record["of"].is_null() {
            drawn
        } else {
            let path = workspace.path(&format!("{name}.ppm"));
            fs::write(&path, piece(&record)).unwrap();
            path
        });
    }
    fs::write(workspace.path("small.ppm"), "P6 2 1 255\n......").unwrap();
    inputs.push(workspace.path("small.ppm"));
    let output = workspace.exec(&release, &inputs);
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    for (name, answer) in names.into_iter().zip(&answers) {
        let record = expected(name);
        let found = answer["insight"]["classes"].as_array().expect(name);
        let wanted = record["classes"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{name}: {answer}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found["label"], wanted["label"], "{name}: {answer}");
            assert_eq!(found["index"], wanted["index"], "{name}: {answer}");
            let off = found["score"].as_f64().unwrap() - wanted["score"].as_f64().unwrap();
            assert!(off.abs() <= TOLERANCE, "{name}: off by {off}");
        }
    }
    let refused = &answers[names.len()]["error"];
    assert_eq!(refused["fault"], "invalid_input", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("2 x 1"));
}

#[test]
fn of_the_host_it_imports_wasi_nn_alone() {
    let bytes = fs::read(environment().component("classic-stage")).unwrap();
    let imports = interface(&bytes).unwrap().imports;
    // The stage's own sample, and the types of its answer, are what a stage is.
    let own = [
        "hotshoe:pipeline/types@0.1.0",
        "hotshoe:pipeline/samples@0.1.0",
    ];
    let others = imports
        .iter()
        .filter(|import| !own.contains(&import.as_str()));
    let others: Vec<_> = others.collect();
    assert!(!others.is_empty());
    for import in others {
        assert!(import.starts_with("wasi:nn/"), "{import}");
    }
}

#[test]
fn the_same_sources_are_a_command_that_knows_nothing_of_hotshoe() {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .expect("rustc");
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries.stdout).trim());
    if !libraries.exists() {
        let reason = format!("rustc has no {TARGET}; `rustup target add {TARGET}` gets it");
        return skip(Need::Wasip2, &reason);
    }
    let root = &environment().root;
    let build = root.join("target/guests-build");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&build)
        .args(["--package", "wasi-nn-classic", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let command = build.join(format!("{TARGET}/release/wasi-nn-classic.wasm"));
    let found = interface(&fs::read(command).unwrap()).unwrap();
    let names = || found.imports.iter().chain(&found.exports);
    assert!(names().any(|name| name.starts_with("wasi:cli/run@")));
    assert!(names().any(|name| name.starts_with("wasi:nn/graph@")));
    assert!(!names().any(|name| name.starts_with("hotshoe:")));
}
