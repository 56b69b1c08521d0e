//! A device whose live release cannot serve comes up empty, can be reached, says so, and takes a release.

use std::fs;

use hotshoe_link::FeedError;
use hotshoe_trust::Digest;
use serde_json::Value;

use super::site::{Site, data_file, light, recipe, settled_on};
use super::support::{Device, hotshoe};

const NO_RELEASE_SERVES: &str = "no_release_serves";

/// The causes of the events that no release serves.
fn causes(state: &Value) -> Vec<&str> {
    let events = state["events"].as_array().unwrap();
    events
        .iter()
        .filter(|event| event["kind"] == NO_RELEASE_SERVES)
        .map(|event| {
            assert_eq!(event["severity"], "error");
            event["cause"]["name"].as_str().unwrap()
        })
        .collect()
}

#[test]
fn a_device_with_a_damaged_release_starts_empty_and_takes_the_same_release_again() {
    let mut site = Site::new();
    let filler = site.workspace.path("filler");
    fs::write(&filler, b"one").unwrap();
    let first = site.pack(&light(1, &data_file("filler", &filler)));
    let device = site.device("cam", &first, "");
    let digest = Digest::of(b"one");
    let blob = site
        .workspace
        .path(&format!("cam-data/blobs/sha256/{}", digest.hex()));
    fs::write(blob, b"onX").unwrap();
    let daemon = device.run();
    let state = daemon.state();
    assert!(state["release"].is_null(), "{state:#}");
    assert_eq!(state["cannot_serve"]["name"], "damaged_blob");
    assert!(state["slots"]["live"].is_null(), "{state:#}");
    assert_eq!(state["deploy"]["phase"], "failed");
    assert_eq!(causes(&state), ["damaged_blob"]);
    assert!(daemon.log().contains("NO RELEASE SERVES"));
    let status = hotshoe(["status", "--config", &device.config.display().to_string()]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("NONE SERVES"), "{said}");
    let Err(FeedError::Refused(body)) = &daemon.feed(&[("a", b"abc".to_vec())])[0].result else {
        panic!("an empty device gave a result");
    };
    assert_eq!(body["fault"], "no_release");
    site.publish(&first);
    let state = daemon.feed_until(settled_on(1));
    assert!(state["cannot_serve"].is_null(), "{state:#}");
    // It is whole again, so a restart serves it.
    daemon.kill();
    let state = device.run().state();
    assert!(settled_on(1)(&state), "{state:#}");
}

#[test]
fn a_device_whose_blobs_are_all_gone_keeps_its_release_for_when_they_are_back() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let blobs = site.workspace.path("cam-data/blobs/sha256");
    let away = site.workspace.path("unmounted");
    fs::rename(&blobs, &away).unwrap();
    let daemon = device.run();
    let state = daemon.state();
    assert_eq!(state["cannot_serve"]["name"], "missing_blob", "{state:#}");
    assert_eq!(state["slots"]["live"]["generation"], 1);
    daemon.kill();
    fs::remove_dir(&blobs).unwrap();
    fs::rename(&away, &blobs).unwrap();
    let daemon = device.run();
    assert!(settled_on(1)(&daemon.state()));
    daemon.kill();
    // It takes another release meanwhile.
    fs::rename(&blobs, &away).unwrap();
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
}

#[test]
fn a_renamed_device_starts_empty_and_takes_a_release_under_its_new_name() {
    let mut site = Site::new();
    let selected = light(1, "").replace("[health]", "[devices]\nnames = [\"cam\"]\n[health]");
    let first = site.pack(&selected);
    let device = site.device("cam", &first, "");
    let old = fs::read_to_string(&device.config).unwrap();
    fs::write(
        &device.config,
        old.replace("device = \"cam\"", "device = \"gate\""),
    )
    .unwrap();
    let renamed = Device {
        name: "gate".to_owned(),
        config: device.config.clone(),
    };
    let daemon = renamed.run();
    let state = daemon.state();
    assert!(state["release"].is_null(), "{state:#}");
    assert_eq!(state["cannot_serve"]["name"], "wrong_device");
    assert_eq!(causes(&state), ["wrong_device"]);
    // It stays installed, for the case that the device gets its old name again.
    assert_eq!(state["slots"]["live"]["generation"], 1);
    daemon.kill();
    fs::write(&device.config, &old).unwrap();
    let daemon = device.run();
    assert!(settled_on(1)(&daemon.state()));
    daemon.kill();
    fs::write(
        &device.config,
        old.replace("device = \"cam\"", "device = \"gate\""),
    )
    .unwrap();
    let daemon = renamed.run();
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    assert!(state["cannot_serve"].is_null(), "{state:#}");
}

#[test]
fn a_device_without_traffic_confirms_a_release_by_time() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let gate = "min-samples = 1000\nmin-seconds = 0\nconfirm-after-seconds = 1\n";
    let second = site.pack(&recipe(2, gate, &[], ""));
    site.publish(&second);
    let state = daemon.wait_until(settled_on(2));
    assert_eq!(state["health"]["samples"], 0, "{state:#}");
}
