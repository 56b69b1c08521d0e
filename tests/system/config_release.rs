//! Keys of hotshoe.toml that a release of kind `config` sets for a fleet.

use serde_json::{Value, json};

use super::site::{Packed, Site, light};
use super::support::{Device, success};

/// A release with these keys.
fn config(site: &Site, generation: u64, health: &str, keys: &str) -> Packed {
    let file = site.workspace.path(&format!("fleet-{generation}.toml"));
    std::fs::write(&file, keys).unwrap();
    site.pack(&format!(
        "kind = \"config\"\nname = \"hotshoe.config\"\ngeneration = {generation}\nexpires-in = \"365d\"\n\
         [health]\n{health}\n[data.\"hotshoe.toml\"]\nfile = \"{}\"\nmedia-type = \"text/plain\"\n",
        file.display()
    ))
}

/// The keys that are not defaults, as `hotshoe config` shows them.
fn shown(device: &Device, key: &str) -> (Value, Value) {
    let file = device.config.display().to_string();
    let text = success(["config", "--config", &file, "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let keys = report["keys"].as_array().unwrap();
    let found = keys.iter().find(|it| it["key"] == key).unwrap();
    (found["value"].clone(), found["from"].clone())
}

fn is_live(generation: u64) -> impl Fn(&Value) -> bool {
    move |state| {
        let slots = &state["kinds"]["config"]["slots"];
        slots["live"]["generation"] == generation && slots["trial"].is_null()
    }
}

#[test]
fn a_release_sets_what_the_device_leaves_open_and_stays_after_a_restart() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "[drain]\ndeadline-ms = 4321\n");
    let daemon = device.run();
    let keys =
        "[drain]\ndeadline-ms = 1\n[intake]\nwhen-full = \"drop-oldest\"\nblock-timeout-ms = 77\n";
    let packed = config(&site, 1, "min-seconds = 0\n", keys);
    site.publish(&packed);
    let state = daemon.wait_until(is_live(1));
    assert_eq!(
        state["kinds"]["config"]["keys"],
        json!(["intake.block-timeout-ms", "intake.when-full"]),
        "{state:#}"
    );
    assert_eq!(state["queue"]["policy"], "drop-oldest", "{state:#}");
    // The pipeline that serves is not touched.
    assert_eq!(state["release"]["generation"], 1);
    for (key, value, from) in [
        ("drain.deadline-ms", json!(4321), "device"),
        ("intake.block-timeout-ms", json!(77), "fleet"),
        ("intake.queue", json!(16), "default"),
    ] {
        assert_eq!(shown(&device, key), (value, json!(from)), "{key}");
    }
    assert!(daemon.stop().success());
    let daemon = device.run();
    let state = daemon.wait_until(is_live(1));
    assert_eq!(state["queue"]["policy"], "drop-oldest", "{state:#}");
    assert_eq!(
        shown(&device, "intake.block-timeout-ms"),
        (json!(77), json!("fleet"))
    );
    assert!(daemon.stop().success());
}

#[test]
fn a_key_that_a_fleet_may_not_set_is_refused_by_its_name() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = device.run();
    let packed = config(&site, 1, "", "[page]\ntoken-file = \"token\"\n");
    site.publish(&packed);
    let state = daemon.wait_until(|state| state["deploy"]["phase"] == "failed");
    let cause = &state["deploy"]["cause"];
    assert_eq!(cause["name"], "config_key_refused", "{state:#}");
    let message = cause["message"].as_str().unwrap();
    assert!(message.contains("`page.token-file`"), "{message}");
    assert_eq!(state["refused"]["config_key_refused"], 1);
    // Values that do not fit this device.
    let packed = config(&site, 2, "", "[intake]\nmax-sample-bytes = 100000000\n");
    site.publish(&packed);
    let state = daemon.wait_until(|state| {
        state["deploy"]["generation"] == 2 && state["deploy"]["phase"] == "failed"
    });
    assert_eq!(state["deploy"]["cause"]["name"], "config_refused");
    assert!(state["kinds"]["config"]["slots"]["live"].is_null());
    assert!(daemon.stop().success());
}

#[test]
fn keys_that_need_a_restart_are_tried_by_it() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = device.run();
    let packed = config(&site, 1, "min-seconds = 0\n", "[workers]\nthreads = 11\n");
    site.publish(&packed);
    let state = daemon.wait_until(|state| {
        let trial = &state["kinds"]["config"]["slots"]["trial"];
        !trial.is_null() && state["reload"]["needs_restart"] == json!(["workers.threads"])
    });
    assert_ne!(state["workers"], 11);
    assert!(daemon.stop().success());
    let daemon = device.run();
    let state = daemon.wait_until(is_live(1));
    assert_eq!(state["workers"], 11, "{state:#}");
    assert!(daemon.stop().success());
}

#[test]
fn a_trial_with_which_the_daemon_dies_is_rolled_back_at_the_start() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = device.run();
    let packed = config(
        &site,
        1,
        "min-seconds = 3600\ntries = 1\n",
        "[workers]\nthreads = 11\n",
    );
    site.publish(&packed);
    daemon.wait_until(|state| !state["reload"]["needs_restart"].is_null());
    daemon.kill();
    // Without a publisher, so that the device knows only what it has.
    site.close();
    let daemon = device.run();
    assert_eq!(daemon.state()["workers"], 11);
    daemon.kill();
    let daemon = device.run();
    let state = daemon.wait_until(|state| !state["kinds"]["config"].is_null());
    assert_ne!(state["workers"], 11, "{state:#}");
    let slots = &state["kinds"]["config"]["slots"];
    assert!(
        slots["trial"].is_null() && slots["live"].is_null(),
        "{state:#}"
    );
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    assert!(daemon.stop().success());
}
