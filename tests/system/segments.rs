//! The voice activity example's policy in Python: where speech begins and ends in a stream, as the package silero-vad finds it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Digest;
use serde_json::{Value, json};
use voice_activity::{RATE, WINDOW};

use super::support::{DEADLINE, Workspace, environment};

/// The stream, its segments and the probabilities in it, as the reference found them.
struct Reference {
    sound: Vec<i16>,
    segments: Vec<Value>,
}

fn reference() -> Reference {
    let folder = environment().root.join("examples/voice-activity");
    let record = fs::read(folder.join("expected/stream.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let file = fs::read(folder.join("stream.wav")).unwrap();
    let digest = format!("sha256:{}", record["sha256"].as_str().unwrap());
    assert_eq!(Digest::of(&file).to_string(), digest);
    // The header that our own script writes has 44 bytes.
    let mut sound: Vec<i16> = file[44..]
        .as_chunks()
        .0
        .iter()
        .map(|bytes| i16::from_le_bytes(*bytes))
        .collect();
    sound.resize(sound.len().next_multiple_of(WINDOW), 0);
    let segments = record["segments"].as_array().unwrap().clone();
    Reference { sound, segments }
}

/// The example's release with its policy built, or why that cannot be had here.
fn recipe() -> Result<String, String> {
    let root = &environment().root;
    fetch(root, Extra::SileroVad, &Progress::silent()).expect("the model");
    let here = root.join("examples/voice-activity");
    let output = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["build", "--yes"])
        .arg(here.join("segments.toml"))
        .env("HOTSHOE_TOOLS", root.join("target/tools"))
        .env_remove("RUST_LOG")
        .output()
        .expect("hotshoe starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        // Only what cannot be fetched here is no fault of ours.
        let other_system = format!(" on {}; ", std::env::consts::ARCH);
        let absent = said.contains("cannot get ") || said.contains(&other_system);
        assert!(absent, "{said}");
        return Err(said);
    }
    let text = fs::read_to_string(here.join("segments.toml")).expect("a recipe");
    Ok(text.replace("\"../../target", &format!("\"{}/target", root.display())))
}

#[test]
fn segments_open_and_close_as_the_package_does_it() {
    let recipe = match recipe() {
        Ok(recipe) => recipe,
        Err(reason) => {
            return skip(Need::Compilers, &reason);
        }
    };
    let Reference { sound, segments } = reference();
    let workspace = Workspace::new();
    let device = workspace.device("a", &workspace.release(&recipe), "[workers]\nthreads = 2");
    let daemon = device.run();
    let outputs = daemon
        .client()
        .outputs(Some("lab"), Some("a"), 1024)
        .unwrap();
    let feeder = daemon.feeder(1);
    // Two microphones at once, of which one hears the stream a second later.
    let late = [vec![0; WINDOW * 31], sound.clone()].concat();
    let streams = BTreeMap::from([("gate", sound), ("belt", late)]);
    let blocks = streams.values().map(|sound| voice_activity::blocks(sound));
    let blocks: Vec<_> = blocks.collect();
    let kind = format!("audio/pcm;rate={RATE}");
    for number in 0..blocks.iter().map(Vec::len).max().unwrap_or(0) {
        for (source, blocks) in streams.keys().zip(&blocks) {
            let Some(block) = blocks.get(number) else {
                continue;
            };
            let payload = block.iter().flat_map(|sample| sample.to_le_bytes());
            let id = format!("{source}-{number}");
            feeder.send(source, &kind, &id, payload.collect()).unwrap();
            let answer = feeder.next(DEADLINE).expect("an answer").result.unwrap();
            assert_eq!(answer["insight"], Value::Null, "{answer:#}");
        }
    }
    let mut found: Vec<Value> = Vec::new();
    let mut alerts = 0;
    let started = Instant::now();
    while found.len() < 2 * segments.len() || alerts < 2 * segments.len() {
        assert!(started.elapsed() < DEADLINE, "{found:?} {}", daemon.log());
        let Some(message) = outputs.next(DEADLINE) else {
            continue;
        };
        match message.key.as_str() {
            "hotshoe/lab/a/output/custom/segment" => found.push(message.body),
            "hotshoe/lab/a/output/action" => alerts += 1,
            other => panic!("{other}: {:#}", message.body),
        }
    }
    let plain = |from: u64| {
        let shifted = |segment: &Value, name: &str| segment[name].as_u64().unwrap() + from;
        segments
            .iter()
            .map(|segment| (shifted(segment, "start"), shifted(segment, "end")))
            .collect::<Vec<_>>()
    };
    let mut expected = [plain(0), plain(31 * WINDOW as u64)].concat();
    expected.sort_unstable();
    let mut ends: Vec<_> = found
        .iter()
        .map(|segment| {
            assert_eq!(segment["rate"], json!(RATE), "{segment}");
            let number = |name: &str| segment[name].as_u64().unwrap();
            (number("start"), number("end"))
        })
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, expected);
}
