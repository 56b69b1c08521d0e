//! Masks of `[privacy]`, through the real daemon: nothing under them reaches a component, a recording or an answer.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use hotshoe_link::FeedReply;
use hotshoe_store::{RecordedPart, Recording};
use hotshoe_vision::{
    Budget, DecodeLimits, DecodeOptions, Format, Image, decode_with, encode as encode_image,
};
use serde_json::Value;

use crate::support::{DEADLINE, Daemon, Workspace, environment, json_lines, refusal, success};

const SECRET: [u8; 3] = [250, 1, 240];
pub(crate) const PUBLIC: [u8; 3] = [10, 200, 30];
/// The left pixel of 2 x 1, without touching the right one.
const LEFT: &str = "polygon = [[0, 0], [0.45, 0], [0.45, 1], [0, 1]]";
/// A raw frame of the two colours.
const FRAME: &str = "video/x-raw; format=RGB; width=2; height=1";
/// The sum of the bytes of a frame of both colours, and of the public one alone.
const SUM: f64 = 731.0;
const SUM_OF_PUBLIC: f64 = 240.0;

pub(crate) fn privacy(source: &str) -> String {
    format!("[privacy]\nmasks = [{{ source = \"{source}\", {LEFT} }}]\n")
}

/// A release of one stage.
pub(crate) fn recipe(stage: &str, grants: &str, more: &str) -> String {
    let component = environment().component(stage);
    format!(
        "name = \"{stage}\"\ngeneration = 1\nexpires-in = \"90d\"\n[components.{stage}]\nfile = \"{}\"\nworld = \"stage\"\ngrants = [{grants}]\n[[pipeline]]\nstage = \"{stage}\"\n{more}",
        component.display()
    )
}

fn picture(width: u32, height: u32, pixels: Vec<u8>) -> Image {
    Image::from_rgb(width, height, pixels).unwrap()
}

fn file(image: &Image, format: Format) -> Vec<u8> {
    encode_image(image, format, 95, &Budget::unlimited()).unwrap()
}

fn both() -> Vec<u8> {
    [SECRET, PUBLIC].concat()
}

pub(crate) fn png() -> Vec<u8> {
    file(&picture(2, 1, both()), Format::Png)
}

fn bmp() -> Vec<u8> {
    let header = |size: u32| {
        [
            &b"BM"[..],
            &size.to_le_bytes(),
            &[0; 4],
            &54_u32.to_le_bytes(),
        ]
        .concat()
    };
    // BITMAPINFOHEADER: 2 x 1 pixels, one plane, 24 bits, no compression; a row is blue, green, red, padded to 8 bytes.
    let info: [u32; 10] = [40, 2, 1, 1 | 24 << 16, 0, 8, 0, 0, 0, 0];
    let info: Vec<u8> = info.iter().flat_map(|it| it.to_le_bytes()).collect();
    let [left, right] = [SECRET, PUBLIC].map(|[r, g, b]| [b, g, r]);
    [header(62), info, left.to_vec(), right.to_vec(), vec![0; 2]].concat()
}

/// Sends one sample under a name, and returns its answer.
fn ask(daemon: &Daemon, name: &str, content_type: &str, payload: Vec<u8>) -> FeedReply {
    let feeder = daemon.feeder(1);
    feeder.send(name, content_type, "one", payload).unwrap();
    feeder.next(DEADLINE).expect("an answer")
}

/// The lines of `pictures`.
fn lines(answer: &FeedReply) -> Vec<String> {
    let result = answer.result.as_ref().unwrap();
    let classes = result["insight"]["classes"].as_array();
    let classes = classes.unwrap_or_else(|| panic!("{result}"));
    let labels = classes.iter().map(|class| class["label"].as_str().unwrap());
    labels.map(str::to_owned).collect()
}

/// The sum of all bytes that `measure` read.
fn sum(answer: &FeedReply) -> f64 {
    let result = answer.result.as_ref().unwrap();
    let scalars = result["insight"]["scalars"].as_array();
    let scalars = scalars.unwrap_or_else(|| panic!("{result}"));
    scalars[1]["value"].as_f64().unwrap()
}

#[test]
fn no_decoder_and_no_read_of_a_component_sees_what_is_under_a_mask() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("pictures", "\"vision\"", &privacy("*")));
    let daemon = workspace.device("cam", &release, "").run();
    for (content_type, payload) in [
        ("image/png", png()),
        ("image/bmp", bmp()),
        (FRAME, both()),
        // What it is called does not matter.
        ("application/octet-stream", png()),
    ] {
        let answer = ask(&daemon, "yard", content_type, payload);
        let lines = lines(&answer);
        for way in ["default", "stored", "on red", "bytes"] {
            let expected = format!("{way}: 2x1 [0, 0, 0]");
            assert!(lines.contains(&expected), "{content_type}: {lines:?}");
        }
        // The time of the masks is one of a stage.
        let result = answer.result.as_ref().unwrap();
        assert_eq!(result["stages"][0]["name"], "privacy", "{result}");
    }
    assert!(daemon.status().counters.add_up());
}

#[test]
fn a_sample_that_cannot_be_masked_is_refused_and_nothing_of_it_gets_out() {
    const TEXT: &str = "the-secret-of-the-yard";
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("measure", "", &privacy("*")));
    let daemon = workspace.device("cam", &release, "").run();
    let damaged = [&png()[..30], TEXT.as_bytes()].concat();
    for (content_type, payload) in [
        ("text/plain", TEXT.as_bytes().to_vec()),
        ("image/png", damaged),
        (FRAME, TEXT.as_bytes().to_vec()),
        (
            "video/x-raw; format=I420; width=2; height=2",
            TEXT.as_bytes().to_vec(),
        ),
    ] {
        let answer = ask(&daemon, "yard", content_type, payload);
        let refused = refusal(&answer);
        assert_eq!(refused["stage"], "privacy", "{refused}");
        assert_eq!(refused["fault"], "privacy_undecodable", "{refused}");
        assert!(!refused.to_string().contains(TEXT), "{refused}");
    }
    // It costs one sample each.
    assert_eq!(sum(&ask(&daemon, "yard", FRAME, both())), SUM_OF_PUBLIC);
    let counters = daemon.status().counters;
    assert!(counters.add_up());
    assert!(!daemon.log().contains(TEXT), "{}", daemon.log());
}

#[test]
fn the_operator_masks_the_sources_that_it_names() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("measure", "", ""));
    let daemon = workspace.device("cam", &release, &privacy("yard")).run();
    assert_eq!(sum(&ask(&daemon, "yard", FRAME, both())), SUM_OF_PUBLIC);
    assert_eq!(sum(&ask(&daemon, "hall", FRAME, both())), SUM);
    // Other sources may send what is not a picture.
    assert_eq!(
        sum(&ask(&daemon, "hall", "text/plain", b"ab".to_vec())),
        195.0
    );
    let answer = ask(&daemon, "yard", "text/plain", b"ab".to_vec());
    assert_eq!(refusal(&answer)["fault"], "privacy_undecodable");
}

#[test]
fn the_operator_adds_to_the_masks_of_the_release() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("measure", "", &privacy("yard")));
    let right = privacy("*").replace(LEFT, "polygon = [[0.55, 0], [1, 0], [1, 1], [0.55, 1]]");
    let daemon = workspace.device("cam", &release, &right).run();
    assert_eq!(sum(&ask(&daemon, "yard", FRAME, both())), 0.0);
    assert_eq!(
        sum(&ask(&daemon, "hall", FRAME, both())),
        SUM - SUM_OF_PUBLIC
    );
}

/// A JPEG file whose left half, which its orientation shows at the top, has the secret colour. So has its thumbnail.
fn phone(thumbnail: &[u8]) -> Vec<u8> {
    let pixels = (0..32).flat_map(|_| (0..64).map(|x| if x < 24 { SECRET } else { [128; 3] }));
    let stored = picture(64, 32, pixels.flatten().collect());
    let file = file(&stored, Format::Jpeg);
    // One entry: orientation 6, a turn by 90 degrees clockwise.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let segment = [&exif[..], thumbnail].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xFF, 0xE1], &length, &segment, &file[2..]].concat()
}

/// Records one sample of a device while it is fed with this one.
fn recorded(workspace: &Workspace, daemon: &Daemon, config: &PathBuf, sample: &[u8]) -> Vec<u8> {
    let out = workspace.path("recorded");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args([
            "record",
            "--device",
            daemon.name(),
            "--stage",
            "sample",
            "--count",
            "1",
        ])
        .arg("--config")
        .arg(config)
        .arg("-o")
        .arg(&out)
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        let answer = ask(daemon, "yard", "image/jpeg", sample.to_vec());
        assert!(answer.result.is_ok(), "{:?}", answer.result);
    }
    assert!(child.wait().unwrap().success(), "{}", daemon.log());
    let recording = Recording::open(&out).unwrap();
    let entry = &recording.entries[0];
    let sample = recording.read(entry, &RecordedPart::Sample).unwrap();
    sample.expect("a sample")
}

#[test]
fn a_recording_has_no_pixel_under_a_mask_and_no_thumbnail() {
    let workspace = Workspace::new();
    let contract = "[data-contract]\nrecord = [\"sample\", \"insight\"]\n";
    let top = "polygon = [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]";
    let release = workspace.release(&recipe("measure", "", contract));
    let more = format!(
        "[record]\nallow = [\"sample\", \"insight\"]\n{}",
        privacy("yard").replace(LEFT, top)
    );
    let device = workspace.device("cam", &release, &more);
    let daemon = device.run();
    let thumbnail = file(&picture(8, 8, SECRET.repeat(64)), Format::Jpeg);
    let sent = phone(&thumbnail);
    let taken = recorded(&workspace, &daemon, &device.config, &sent);
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    let end = &thumbnail[thumbnail.len() - 20..];
    assert!(holds(&sent, end) && !holds(&taken, end) && !holds(&taken, b"Exif"));

    let (options, limits) = (DecodeOptions::default(), DecodeLimits::default());
    let shown = |bytes: &[u8]| decode_with(bytes, &options, &limits, &Budget::unlimited()).unwrap();
    let is_secret = |&[r, g, b]: &[u8; 3]| r > 150 && g < 100 && b > 150;
    let secrets = |image: &Image| {
        let pixels = image.pixels().as_chunks::<3>().0.iter();
        pixels.filter(|pixel| is_secret(pixel)).count()
    };
    let (before, after) = (shown(&sent), shown(&taken));
    assert!(secrets(&before) > 32 * 20);
    assert_eq!(secrets(&after), 0);
    assert_eq!((after.width(), after.height()), (32, 64));
}

#[test]
fn the_masks_of_a_device_do_not_apply_to_self_tests() {
    let workspace = Workspace::new();
    let sample = workspace.path("two.png");
    fs::write(&sample, png()).unwrap();
    let plain = recipe("pictures", "\"vision\"", "");
    let release = workspace.release(&plain);
    let output = workspace.exec(&release, std::slice::from_ref(&sample));
    let results = json_lines(&String::from_utf8(output.stdout).unwrap());
    let expected = workspace.path("two.json");
    fs::write(&expected, results[0]["insight"].to_string()).unwrap();
    fs::remove_dir_all(&release).unwrap();

    let tests = format!(
        "[[tests]]\nname = \"two\"\nsample = \"{}\"\ncontent-type = \"image/png\"\nexpected = \"{}\"\nmin-agreement = 0.999\n",
        sample.display(),
        expected.display()
    );
    let release = workspace.release(&(plain + &tests));
    // Installed, and so tested, under the masks of the device.
    let daemon = workspace.device("cam", &release, &privacy("*")).run();
    let lines = lines(&ask(&daemon, "yard", "image/png", png()));
    assert!(
        lines.contains(&"bytes: 2x1 [0, 0, 0]".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn inspect_says_which_outputs_raw_pixels_reach() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("pictures", "\"vision\"", &privacy("yard")));
    let release = release.display().to_string();
    let shown = |more: &[&str]| -> Value {
        let all = ["inspect", &release, "--json"]
            .into_iter()
            .chain(more.iter().copied());
        serde_json::from_str(&success(all)).unwrap()
    };
    let of = |shown: &Value, output: &str| -> Value {
        let outputs = shown["pixels"].as_array().unwrap();
        let found = outputs.iter().find(|it| it["output"] == output);
        found.unwrap_or_else(|| panic!("{output}: {shown}")).clone()
    };
    let own = shown(&[]);
    assert_eq!(own["release"]["privacy"]["masks"][0]["source"], "yard");
    let insight = of(&own, "insight");
    assert_eq!(insight["raw-pixels"], "yes");
    assert_eq!(
        insight["path"],
        serde_json::json!(["sample", "pictures", "insight"])
    );
    // Without grants, nothing else leads out.
    for output in [
        "action",
        "topic",
        "recording",
        "log",
        "metrics",
        "state",
        "network",
        "folder",
    ] {
        assert_eq!(of(&own, output)["raw-pixels"], "no", "{output}");
    }

    let config = workspace.path("cam.toml");
    let text = format!("site = \"lab\"\ndevice = \"cam\"\n{}", privacy("*"));
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let with_device = shown(&["--config", &config]);
    assert_eq!(of(&with_device, "insight")["raw-pixels"], "masked");
    assert_eq!(of(&with_device, "error")["raw-pixels"], "masked");
    assert_eq!(of(&with_device, "network")["raw-pixels"], "no");

    let tree = success(["inspect", &release]);
    assert!(
        tree.contains("insight: yes; sample -> pictures -> insight"),
        "{tree}"
    );
}
