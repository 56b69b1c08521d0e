//! A model that carries a state from sample to sample: the voice activity example, and whose state it is.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_link::FeedError;
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Digest;
use serde_json::Value;
use tempfile::TempDir;
use voice_activity::{BLOCK, RATE, WINDOW};

use super::site::{Site, noise, settled_on};
use super::support::{DEADLINE, Daemon, Workspace, environment};

/// Debian's package with recordings of speech. 1995-2014 Carnegie Mellon University, BSD-2.
const PACKAGE: &str = "pocketsphinx-testdata";
/// "Go forward ten meters", in that package.
const RECORDING: &str = "usr/share/pocketsphinx/test/data/goforward.raw";
/// Most that two backends may differ in a probability. The state carries differences on.
const TOLERANCE: f64 = 1e-3;
/// Two runs of the same plan on the same state differ by nothing at all.
const SAME: f64 = 0.0;

fn folder() -> PathBuf {
    environment().root.join("examples/voice-activity")
}

/// The example's release, with paths that hold from anywhere.
fn recipe(generation: u64) -> String {
    let root = &environment().root;
    fetch(root, Extra::SileroVad, &Progress::silent()).expect("the model");
    let here = folder();
    fs::read_to_string(here.join("release.toml"))
        .expect("a recipe")
        .replace("\"../../target", &format!("\"{}/target", root.display()))
        .replace("\"vowel.wav", &format!("\"{}/vowel.wav", here.display()))
        .replace("\"expected/", &format!("\"{}/expected/", here.display()))
        .replace("generation = 1", &format!("generation = {generation}"))
}

/// What the reference found in the recording, and the recording's digest.
fn reference() -> (Vec<f64>, String) {
    let text = fs::read(folder().join("expected/goforward.json")).expect("a record");
    let record: Value = serde_json::from_slice(&text).expect("JSON");
    let speech = record["speech"].as_array().expect("numbers");
    let speech = speech.iter().map(|p| p.as_f64().expect("a number"));
    let digest = format!("sha256:{}", record["sha256"].as_str().expect("a digest"));
    (speech.collect(), digest)
}

/// The recording's samples, or why it cannot be had.
fn recording(digest: &str) -> Result<Vec<i16>, String> {
    let kept = environment().root.join("target/fixtures/goforward.raw");
    let known = |path: &Path| {
        let bytes = fs::read(path).ok()?;
        (Digest::of(&bytes).to_string() == digest).then_some(bytes)
    };
    let bytes = match known(&kept) {
        Some(bytes) => bytes,
        None => {
            let folder = TempDir::new().map_err(|error| error.to_string())?;
            run(Command::new("apt-get")
                .args(["download", PACKAGE])
                .current_dir(folder.path()))?;
            let package = fs::read_dir(folder.path())
                .map_err(|error| error.to_string())?
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|end| end == "deb"))
                .ok_or("apt-get left no package")?;
            run(Command::new("dpkg")
                .arg("-x")
                .arg(package)
                .arg(folder.path()))?;
            let bytes = known(&folder.path().join(RECORDING))
                .ok_or("the package holds another recording")?;
            fs::write(&kept, &bytes).map_err(|error| error.to_string())?;
            bytes
        }
    };
    Ok(bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| i16::from_le_bytes(*bytes))
        .collect())
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name}: {}", said.lines().last().unwrap_or("-")))
}

/// A sound of its own for each number, loud enough to move the model's state.
fn sound(blocks: usize, seed: u64) -> Vec<i16> {
    let bytes = noise(seed, 2 * WINDOW * blocks);
    let samples = bytes.as_chunks().0.iter();
    samples
        .map(|bytes| i16::from_le_bytes(*bytes) / 4)
        .collect()
}

fn payload(block: &[i16]) -> Vec<u8> {
    block.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// What the daemon finds in the blocks of a sound, sent one after the other from one source.
fn found(daemon: &Daemon, source: &str, sound: &[i16]) -> Vec<f64> {
    let feeder = daemon.feeder(1);
    let blocks = voice_activity::blocks(sound);
    let answers = blocks.iter().enumerate().map(|(number, block)| {
        let kind = format!("audio/pcm;rate={RATE}");
        feeder
            .send(source, &kind, &number.to_string(), payload(block))
            .expect("sent");
        let fed = feeder.next(DEADLINE).expect("an answer");
        speech(&fed.result.expect("an insight"))
    });
    answers.collect()
}

fn speech(answer: &Value) -> f64 {
    let scalar = &answer["insight"]["scalars"][0];
    assert_eq!(scalar["name"], "speech", "{answer:#}");
    scalar["value"].as_f64().expect("a number")
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let worst = off.fold(0.0, f64::max);
    assert!(worst <= tolerance, "off by {worst}: {found:?}");
}

#[test]
fn speech_is_told_from_silence_as_the_reference_tells_it() {
    let (expected, digest) = reference();
    let recording = match recording(&digest) {
        Ok(recording) => recording,
        Err(reason) => {
            return skip(Need::Fixtures, &format!("no recording: {reason}"));
        }
    };
    let workspace = Workspace::new();
    let daemon = workspace
        .device("a", &workspace.release(&recipe(1)), "")
        .run();
    let found = found(&daemon, "door", &recording);
    assert_close(&found, &expected, TOLERANCE);
    // Half a second of room before the first word, and the words themselves.
    assert!(found[..15].iter().all(|p| *p < 0.1), "{found:?}");
    assert!(found[20..35].iter().all(|p| *p > 0.9), "{found:?}");
}

#[test]
fn each_source_has_a_state_of_its_own() {
    const BLOCKS: usize = 40;
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(1));
    let sounds = [sound(BLOCKS, 1), sound(BLOCKS, 2)];
    let alone: Vec<Vec<f64>> = sounds
        .iter()
        .zip(["a", "b"])
        .map(|(sound, name)| found(&workspace.device(name, &release, "").run(), "door", sound))
        .collect();
    // With the state of the other one, a block is judged otherwise.
    assert_ne!(alone[0], alone[1]);
    let daemon = workspace
        .device("c", &release, "[workers]\nthreads = 2")
        .run();
    let (together, noise) = thread::scope(|scope| {
        let sides = ["left", "right"]
            .iter()
            .zip(&sounds)
            .map(|(source, sound)| {
                let daemon = &daemon;
                scope.spawn(move || found(daemon, source, sound))
            });
        let sides: Vec<_> = sides.collect();
        // A sample that is not a block changes no state.
        let noise: Vec<_> = (0..10)
            .map(|_| daemon.feed(&[("noise", vec![0; BLOCK])]).remove(0).result)
            .collect();
        let found: Vec<_> = sides.into_iter().map(|side| side.join().unwrap()).collect();
        (found, noise)
    });
    for (together, alone) in together.iter().zip(&alone) {
        assert_close(together, alone, SAME);
    }
    for result in noise {
        let Err(FeedError::Refused(body)) = result else {
            panic!("half a block passed: {result:?}");
        };
        assert_eq!(body["fault"], "unsupported", "{body:#}");
    }
}

#[test]
fn blocks_of_one_source_that_wait_together_keep_their_order() {
    const BLOCKS: usize = 64;
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(1));
    let sound = sound(BLOCKS, 3);
    let expected = found(&workspace.device("a", &release, "").run(), "door", &sound);
    let daemon = workspace
        .device("b", &release, "[workers]\nthreads = 2")
        .run();
    let feeder = daemon.feeder(16);
    let blocks = voice_activity::blocks(&sound);
    let mut found = vec![f64::NAN; blocks.len()];
    let kind = format!("audio/pcm;rate={RATE}");
    for (number, block) in blocks.iter().enumerate() {
        feeder
            .send("door", &kind, &number.to_string(), payload(block))
            .unwrap();
    }
    for _ in &blocks {
        let fed = feeder.next(DEADLINE).expect("an answer");
        let number: usize = fed.id.parse().unwrap();
        found[number] = speech(&fed.result.unwrap());
    }
    assert_close(&found, &expected, SAME);
}

#[test]
fn a_wav_file_is_a_block_too() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(1));
    let output = workspace.exec(&release, &[folder().join("vowel.wav")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let record: Value = serde_json::from_reader(Cursor::new(
        fs::read(folder().join("expected/vowel.json")).unwrap(),
    ))
    .unwrap();
    let answer: Value = serde_json::from_str(text.lines().next().expect("a line")).unwrap();
    let expected = record["scalars"][0]["value"].as_f64().unwrap();
    assert_close(&[speech(&answer)], &[expected], TOLERANCE);
}

#[test]
fn after_a_swap_the_state_begins_anew() {
    let mut site = Site::new();
    let gate = "\n[health]\nmin-samples = 3\nmin-seconds = 0\n";
    let first = site.pack(&(recipe(1) + gate));
    let daemon = site.device("cam", &first, "").run();
    let sound = sound(30, 4);
    let before = found(&daemon, "door", &sound);
    // The state matters: the same sound is judged otherwise when it comes again.
    let again = found(&daemon, "door", &sound);
    assert_ne!(before, again);
    let second = site.pack(&(recipe(2) + gate));
    site.publish(&second);
    let started = Instant::now();
    while !settled_on(2)(&daemon.state()) {
        assert!(started.elapsed() < DEADLINE, "no swap: {}", daemon.log());
        found(&daemon, "elsewhere", &sound[..WINDOW]);
    }
    assert_close(&found(&daemon, "door", &sound), &before, SAME);
}
