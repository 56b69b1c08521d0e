//! The privacy camera: which faces it finds, and what of a picture leaves the device.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_link::Outputs;
use hotshoe_trust::Digest;
use hotshoe_vision::{Budget, DecodeLimits, Format, Image, decode, encode};
use privacy_camera::Face;
use serde_json::Value;

use super::support::{DEADLINE, Daemon, Workspace, environment, json_lines};

/// Least overlap with a box of the reference, as intersection over union.
const OVERLAP: f64 = 0.98;
/// Most that a score may differ from the reference's.
const SCORE_TOLERANCE: f32 = 0.01;
/// Of the published file, as in the component.
const QUALITY: u8 = 90;
/// What is blurred around a face, as a share of its size on each side: `margin` of the release.
const MARGIN: f64 = 0.15;
/// Encoding carries the edge of a region so far: JPEG's blocks have 16 pixels, and their colours are smoothed into the next.
const BLOCK: f64 = 18.0;

fn folder() -> PathBuf {
    environment().root.join("examples/privacy-camera")
}

/// The example's release, with paths that hold from anywhere.
fn recipe() -> String {
    let root = &environment().root;
    fetch(root, Extra::Faces, &Progress::silent()).expect("the model");
    fs::read_to_string(folder().join("release.toml"))
        .expect("a recipe")
        .replace("\"../../target", &format!("\"{}/target", root.display()))
}

/// A picture, and the faces that the reference found in it.
fn reference(name: &str) -> (Vec<u8>, Vec<Face>) {
    let record = folder().join(format!("expected/{name}.json"));
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let file = record["picture"].as_str().unwrap();
    let picture = fs::read(environment().picture(file)).unwrap();
    let digest = format!("sha256:{}", record["sha256"].as_str().unwrap());
    assert_eq!(Digest::of(&picture).to_string(), digest);
    let face = |face: &Value| {
        let number = |name: &str| face[name].as_f64().unwrap();
        Face {
            score: number("score") as f32,
            x1: number("x1"),
            y1: number("y1"),
            x2: number("x2"),
            y2: number("y2"),
        }
    };
    let faces = record["faces"].as_array().unwrap().iter().map(face);
    (picture, faces.collect())
}

/// The faces that the postprocessor has told the daemon's log of since `before`.
fn told(daemon: &Daemon, before: usize) -> Vec<Face> {
    let log = daemon.log();
    let lines = log.get(before..).unwrap().lines();
    let said = lines.filter_map(|line| line.split_once("face ")?.1.split_once(" at "));
    let face = |(score, rest): (&str, &str)| {
        let plain = |c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == ' ';
        let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let corners = rest[..end].split_whitespace();
        let corners: Vec<f64> = corners.map(|number| number.parse().unwrap()).collect();
        Face {
            score: score.parse().unwrap(),
            x1: corners[0],
            y1: corners[1],
            x2: corners[2],
            y2: corners[3],
        }
    };
    said.map(face).collect()
}

/// What left the device for one picture.
struct Published {
    picture: Vec<u8>,
    count: String,
}

/// Feeds a picture and waits for both of its messages. `keys` collects what else is heard.
fn publish(
    daemon: &Daemon,
    outputs: &Outputs,
    picture: &[u8],
    keys: &mut BTreeSet<String>,
) -> Published {
    let answer = daemon.feed(&[("sample", picture.to_vec())]).remove(0);
    let answer = answer.result.expect("an answer");
    assert_eq!(answer["insight"], Value::Null, "{answer:#}");
    let (mut picture, mut count) = (None, None);
    let started = Instant::now();
    while picture.is_none() || count.is_none() {
        assert!(started.elapsed() < DEADLINE, "{keys:?} {}", daemon.log());
        let Some(message) = outputs.next(DEADLINE) else {
            continue;
        };
        match message.key.as_str() {
            "hotshoe/lab/a/output/custom/picture" => {
                assert_eq!(message.content_type, "image/jpeg");
                picture = Some(message.payload);
            }
            "hotshoe/lab/a/output/custom/count" => {
                assert_eq!(message.content_type, "text/plain");
                count = Some(String::from_utf8(message.payload).unwrap());
            }
            // That the insight stays, and why.
            "hotshoe/lab/a/output/action" => {
                assert_eq!(message.body["action"]["action"], "drop");
            }
            _ => {}
        }
        keys.insert(message.key);
    }
    Published {
        picture: picture.unwrap(),
        count: count.unwrap(),
    }
}

fn pixels(file: &[u8]) -> Image {
    decode(file, &DecodeLimits::default(), &Budget::unlimited()).expect("a picture")
}

/// The same picture as the device would encode it, had it blurred nothing.
fn encoded(picture: &[u8]) -> Image {
    let budget = Budget::unlimited();
    pixels(&encode(&pixels(picture), Format::Jpeg, QUALITY, &budget).unwrap())
}

/// Mean difference of each pixel of a face from the one to its right: how much there is to see.
fn detail(image: &Image, face: &Face) -> f64 {
    let (mut sum, mut count) = (0_u64, 0_u64);
    for y in face.y1 as u32..face.y2 as u32 {
        for x in face.x1 as u32..face.x2 as u32 - 1 {
            let at = |x: u32| image.pixels()[((y * image.width() + x) * 3 + 1) as usize];
            sum += u64::from(at(x).abs_diff(at(x + 1)));
            count += 1;
        }
    }
    sum as f64 / count as f64
}

#[test]
fn faces_are_found_where_the_reference_finds_them() {
    let workspace = Workspace::new();
    let daemon = workspace
        .device("a", &workspace.release(&recipe()), "")
        .run();
    for name in ["astronaut", "coffee", "china", "flower"] {
        let (picture, expected) = reference(name);
        let before = daemon.log().len();
        daemon.feed(&[(name, picture)]).remove(0).result.unwrap();
        let found = told(&daemon, before);
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            let overlap = found.overlap(expected);
            assert!(overlap >= OVERLAP, "{name}: {overlap}, {found:?}");
            let off = (found.score - expected.score).abs();
            assert!(off <= SCORE_TOLERANCE, "{name}: {found:?}");
        }
    }
}

#[test]
fn the_blurred_picture_and_the_count_leave_and_nothing_else() {
    let workspace = Workspace::new();
    let daemon = workspace
        .device("a", &workspace.release(&recipe()), "")
        .run();
    let outputs = daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap();
    let mut keys = BTreeSet::new();

    let (astronaut, faces) = reference("astronaut");
    let first = publish(&daemon, &outputs, &astronaut, &mut keys);
    assert_eq!(first.count, "1");
    let (blurred, plain) = (pixels(&first.picture), encoded(&astronaut));
    assert_eq!(
        (blurred.width(), blurred.height()),
        (plain.width(), plain.height())
    );
    let left = detail(&blurred, &faces[0]) / detail(&plain, &faces[0]);
    assert!(left < 0.25, "{left} of the face's detail is left");
    // Where the blur does not reach, every pixel is what encoding made of it.
    let around = faces[0].widened(MARGIN + 0.01);
    let pairs = blurred.pixels().chunks(3).zip(plain.pixels().chunks(3));
    let mut outside = 0;
    for (at, (new, old)) in pairs.enumerate() {
        let (x, y) = (at % 512, at / 512);
        let (x, y) = (x as f64, y as f64);
        let near_x = x > around.x1 - BLOCK && x < around.x2 + BLOCK;
        if !(near_x && y > around.y1 - BLOCK && y < around.y2 + BLOCK) {
            assert_eq!(new, old, "at {x}, {y}");
            outside += 1;
        }
    }
    assert!(outside > 200_000, "{outside}");
    // The detector itself does not recognise it any more.
    let again = publish(&daemon, &outputs, &first.picture, &mut keys);
    assert_eq!(again.count, "0");

    let (coffee, _) = reference("coffee");
    let none = publish(&daemon, &outputs, &coffee, &mut keys);
    assert_eq!(none.count, "0");
    assert_eq!(pixels(&none.picture), encoded(&coffee));

    let topics = ["action", "custom/count", "custom/picture"];
    let topics = topics.map(|topic| format!("hotshoe/lab/a/output/{topic}"));
    assert_eq!(keys, BTreeSet::from(topics));
}

#[test]
fn what_is_no_picture_sends_nothing() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe());
    fs::write(workspace.path("notes.png"), "no picture").unwrap();
    let output = workspace.exec(&release, &[workspace.path("notes.png")]);
    let answer = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
    assert_eq!(answer["error"]["stage"], "privacy-pre", "{answer}");
    assert_eq!(answer["actions"], Value::Null);
}
