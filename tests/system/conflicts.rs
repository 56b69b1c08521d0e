//! Two devices with one name, and two deployers at one device.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hotshoe_tests::until;
use hotshoe_trust::{DeviceSelector, Order, SigningKey};
use serde_json::Value;

use super::site::{Packed, Site, light, recipe, settled_on, signed, statement};
use super::support::{Device, free_endpoint, hotshoe, json_lines, success};

/// A copy of a device, as of its card: the same name and releases, in a folder of its own. It connects to the first one.
fn copy(site: &Site, of: &Device) -> Device {
    let config = site.workspace.path("copy.toml");
    let text = fs::read_to_string(&of.config).unwrap();
    let listen = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("listen"));
        line.unwrap().replace("listen = [\"", "").replace("\"]", "")
    };
    let (first, own) = (listen(&text), free_endpoint());
    let text = text
        .replace(
            &format!("listen = [\"{first}\"]"),
            &format!("listen = [\"{own}\"]"),
        )
        .replace(
            &format!("connect = [\"{}\"]", site.endpoint),
            &format!("connect = [\"{first}\"]"),
        )
        .replace("data = \"cam-data\"", "data = \"copy-data\"");
    fs::write(&config, text).unwrap();
    copy_folder(
        &site.workspace.path("cam-data"),
        &site.workspace.path("copy-data"),
    );
    Device {
        name: "cam".to_owned(),
        config,
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn has_event(state: &Value, kind: &str) -> bool {
    let events = state["events"].as_array();
    events.is_some_and(|events| events.iter().any(|event| event["kind"] == kind))
}

#[test]
fn two_devices_with_one_name_say_so() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let copied = copy(&site, &device);
    let one = device.run();
    // It is asked at its own endpoint; both answer there.
    let two = copied.run();
    let own = |config: &Path| -> Value {
        let text = success([
            "status".as_ref(),
            "--config".as_ref(),
            config.as_os_str(),
            "--json".as_ref(),
        ]);
        let answers: Value = serde_json::from_str(&text).unwrap();
        answers[0].clone()
    };
    for config in [&device.config, &copied.config] {
        until("the other daemon is found", || {
            has_event(&own(config), "name_conflict")
        });
        let state = own(config);
        assert_eq!(state["same_name"].as_array().unwrap().len(), 1, "{state:#}");
        assert_eq!(state["daemons"], 2, "{state:#}");
    }
    let sessions: Vec<Value> = [&device.config, &copied.config]
        .map(|config| own(config)["session"]["id"].clone())
        .into();
    assert_eq!(own(&device.config)["same_name"][0], sessions[1]);
    let shown = success([
        "status".as_ref(),
        "--config".as_ref(),
        device.config.as_os_str(),
    ]);
    assert!(shown.contains("2 daemons are called `cam`"), "{shown}");
    assert!(two.stop().success());
    until("the other daemon is gone", || {
        has_event(&own(&device.config), "name_conflict_ended")
    });
    assert!(own(&device.config)["same_name"].is_null());
    drop(one);
}

/// A statement that is signed by `alice` and says that it was issued this long from now.
fn signed_ahead(site: &Site, packed: &Packed, seconds: i64) -> Vec<u8> {
    let text = fs::read_to_string(site.workspace.path("alice.key")).unwrap();
    let key = SigningKey::from_pem(&text, None).unwrap();
    let mut said = statement(order(packed), DeviceSelector::default());
    let ahead = jiff::SignedDuration::from_secs(seconds);
    (said.issued, said.expires) = (said.issued + ahead, said.expires + ahead);
    signed(&said, &key)
}

fn order(packed: &Packed) -> Order {
    Order::Deploy {
        release: packed.release,
        name: packed.name.clone(),
        generation: packed.generation,
        bundles: packed.bundles.clone(),
        activate: true,
    }
}

#[test]
fn a_deployer_whose_clock_is_ahead_does_not_shut_out_the_others() {
    let mut site = Site::new();
    let (first, second, third) = (
        site.pack(&light(1, "")),
        site.pack(&light(2, "")),
        site.pack(&light(3, "")),
    );
    let daemon = site.device("cam", &first, "").run();
    for packed in [&second, &third] {
        let layout = hotshoe_store::Layout::open(&packed.folder).unwrap();
        site.publisher().serve(&layout).unwrap();
    }
    let ahead = signed_ahead(&site, &second, 240);
    site.publisher()
        .publish_statement("light", ahead.clone())
        .unwrap();
    daemon.feed_until(settled_on(2));
    let later = signed_ahead(&site, &third, 0);
    site.publisher().publish_statement("light", later).unwrap();
    daemon.feed_until(settled_on(3));
    // The first statement is older, although it says otherwise.
    site.publisher().publish_statement("light", ahead).unwrap();
    let state = daemon.wait_until(|state| !state["ignored"]["replayed"].is_null());
    assert_eq!(state["release"]["generation"], 3);
}

#[test]
fn a_publisher_whose_release_is_replaced_at_once_is_told_so() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let named =
        |name: &str| light(1, "").replace("name = \"light\"", &format!("name = \"{name}\""));
    let (one, two) = (site.pack(&named("one")), site.pack(&named("two")));
    let daemon = site.device("cam", &first, "").run();
    let endpoint = daemon.status().session.locators[0].clone();
    let folder = one.folder.display().to_string();
    let publisher = thread::spawn(move || {
        hotshoe([
            "publish",
            &folder,
            "--site",
            "lab",
            "--connect",
            &endpoint,
            "--timeout",
            "100",
            "--json",
        ])
    });
    daemon.wait_until(|state| state["slots"]["trial"]["slot"]["name"] == "one");
    site.publish(&two);
    daemon.wait_until(|state| {
        state["deploy"]["name"] == "two" && state["deploy"]["waiting"] == "probation"
    });
    daemon.feed_until(|state| {
        state["slots"]["live"]["name"] == "two" && state["slots"]["trial"].is_null()
    });
    let output = publisher.join().unwrap();
    let told = json_lines(&String::from_utf8(output.stdout).unwrap());
    let summary = &told.last().unwrap()["summary"];
    let device = &summary["devices"][0];
    assert_eq!(device["outcome"], "displaced", "{summary:#}");
    assert_eq!(device["cause"]["name"], "displaced");
    let message = device["cause"]["message"].as_str().unwrap();
    assert!(message.contains("`two` generation 1"), "{message}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_lower_generation_beside_a_trial_is_told_which_release_wins() {
    let mut site = Site::new();
    let (first, lower, higher) = (
        site.pack(&light(1, "")),
        site.pack(&light(2, "")),
        // It is on trial until it gets samples.
        site.pack(&recipe(3, "min-samples = 1000\nmin-seconds = 0\n", &[], "")),
    );
    let daemon = site.device("cam", &first, "").run();
    let events = daemon.client().events("lab", Some("cam"), 256).unwrap();
    site.publish(&higher);
    daemon.wait_until(|state| state["slots"]["trial"]["slot"]["generation"] == 3);
    site.publish(&lower);
    let mut told = None;
    until("the publisher of the lower generation is told", || {
        let event = events.next(Duration::from_millis(100));
        told = event.filter(|event| event["generation"] == 2 && event["phase"] == "absent");
        told.is_some()
    });
    let cause = &told.unwrap()["cause"];
    assert_eq!(cause["name"], "superseded");
    let message = cause["message"].as_str().unwrap();
    assert!(message.contains("`light` generation 3"), "{message}");
    let state = daemon.state();
    assert_eq!(state["slots"]["trial"]["slot"]["generation"], 3);
    assert!(state["slots"]["staged"].is_null(), "{state:#}");
}
