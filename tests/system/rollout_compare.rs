//! A comparison by device through real daemons, and what a plan says before anything is published.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::rollout::Scene;
use super::site::{light, settled_on};
use super::support::{DEADLINE, Daemon, failure, json_lines, success};

/// With this seed, `lab/one` takes the release and `lab/two` keeps the one before it.
const SEED: &str = "0";
/// Samples that make the value of a device.
const SAMPLES: usize = 20;

/// A controller that compares both devices in the first stage.
fn start(scene: &Scene) -> Child {
    let (key, previous) = (scene.key(), scene.text(&scene.first.folder));
    let samples = SAMPLES.to_string();
    let more = [
        "--key",
        &key,
        "--previous",
        &previous,
        "--stages",
        "100%",
        "--watch",
        "1h",
        "--spread",
        "1s",
        "--first-device",
        "lab/one",
        "--first-device",
        "lab/two",
        "--min-samples",
        "0",
        "--seed",
        SEED,
        "--compare",
        "mean(scalars.*.value)",
        "--compare-samples",
        &samples,
    ];
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(scene.arguments("start", &scene.text(&scene.second.folder), &more))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a controller")
}

/// Samples of one byte: their insight has the number of bytes, 1, and their sum.
fn feed(device: &Daemon, byte: u8) {
    let samples: Vec<(&str, Vec<u8>)> = (0..SAMPLES).map(|_| ("sample", vec![byte])).collect();
    device.feed(&samples);
}

#[test]
fn each_arm_gives_the_mean_of_its_first_samples_and_the_status_says_what_is_missing() {
    let scene = Scene::new();
    let mut controller = start(&scene);
    // Three bytes are beyond 0 to 1, and so are no values.
    scene.one.feed_until(settled_on(2));
    let started = Instant::now();
    let status = loop {
        feed(&scene.one, 1);
        feed(&scene.two, 0);
        let status = success(scene.arguments("status", "light", &[]));
        let status = json_lines(&status).pop().unwrap_or_default();
        let devices = |arm: &str| status["comparison"][arm]["devices"] == 1;
        if devices("new") && devices("kept") {
            break status;
        }
        assert!(started.elapsed() < DEADLINE, "{status:#}");
    };
    controller.kill().unwrap();
    controller.wait().unwrap();
    let comparison = &status["comparison"];
    assert_eq!(comparison["metric"], "mean(scalars.*.value)");
    assert_eq!(comparison["new"]["mean"], 1.0);
    assert_eq!(comparison["kept"]["mean"], 0.5);
    assert_eq!(comparison["verdict"], "not-known");
    // Two devices say little.
    assert!(comparison["needed"].as_u64().unwrap() > 1, "{status:#}");
    assert!(settled_on(1)(&scene.two.state()));
}

/// What `hotshoe rollout plan --dry-run` says.
fn planned(scene: &Scene, release: &str, previous: &str, more: &[&str]) -> Value {
    let mut options = vec!["--dry-run", "--previous", previous, "--watch", "4s"];
    options.extend(more);
    let said = success(scene.arguments("plan", release, &options));
    serde_json::from_str(&said).unwrap()
}

fn outcomes(plan: &Value) -> Vec<&str> {
    let devices = plan["devices"].as_array().unwrap().iter();
    devices.map(|it| it["outcome"].as_str().unwrap()).collect()
}

#[test]
fn a_plan_says_before_it_is_signed_what_each_device_would_do() {
    let scene = Scene::new();
    let first = scene.text(&scene.first.folder);
    let second = scene.text(&scene.second.folder);
    let plan = planned(&scene, &second, &first, &[]);
    assert_eq!(outcomes(&plan), ["takes", "takes"], "{plan:#}");
    // A quarter of the watch time.
    assert_eq!(plan["spread_s"], 1);
    let plan = planned(
        &scene,
        &second,
        &first,
        &["--max-site-bytes-per-second", "1000"],
    );
    assert!(plan["spread_s"].as_u64().unwrap() > 1, "{plan:#}");
    let plan = planned(&scene, &first, &second, &[]);
    assert_eq!(outcomes(&plan), ["has", "has"], "{plan:#}");
    let other = scene
        .site
        .pack(&light(3, "[devices]\nnames = [\"three\"]\n"));
    let plan = planned(&scene, &scene.text(&other.folder), &first, &[]);
    assert_eq!(outcomes(&plan), ["refuses", "refuses"], "{plan:#}");
    assert!(plan["devices"][0]["why"].is_string(), "{plan:#}");
    let large = scene.site.pack(&light(3, "[requires]\ncores = 100000\n"));
    let plan = planned(&scene, &scene.text(&large.folder), &first, &[]);
    assert_eq!(outcomes(&plan), ["refuses", "refuses"], "{plan:#}");
    let why = plan["devices"][0]["why"].as_str().unwrap();
    assert!(why.contains("not 100000"), "{why}");
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_way_out() {
    let scene = Scene::new();
    let first = scene.text(&scene.first.folder);
    let more = ["--previous", &first, "--compare", "count(scalars)"];
    let arguments = scene.arguments("plan", &scene.text(&scene.second.folder), &more);
    let refused = failure(arguments.into_iter().filter(|it| it != "--json"));
    assert!(refused.contains("mean(lines.*.score)"), "{refused}");
}
