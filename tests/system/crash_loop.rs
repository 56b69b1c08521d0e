//! A daemon that keeps ending soon after its starts leaves the release that it ends with.

use std::fs;

use hotshoe_tests::until;
use serde_json::Value;

use super::site::{Packed, Site, light, settled_on};
use super::support::{Device, success};

/// The events of this kind in a status.
fn events<'a>(state: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = state["events"].as_array().unwrap().iter();
    events.filter(|event| event["kind"] == kind).collect()
}

fn install(device: &Device, release: &Packed) {
    let config = device.config.display().to_string();
    let release = release.folder.display().to_string();
    success(["install", &release, "--config", &config]);
}

/// A device with the second of two releases live, and the first before it; and the second.
fn device(site: &Site, more: &str) -> (Device, Packed) {
    let (first, second) = (site.pack(&light(1, "")), site.pack(&light(2, "")));
    let device = site.device("cam", &first, more);
    install(&device, &second);
    (device, second)
}

#[test]
fn after_three_unexpected_ends_the_previous_release_serves_and_it_is_said_everywhere() {
    let mut site = Site::new();
    let (device, second) = device(&site, "");
    for _ in 0..3 {
        let daemon = device.run();
        assert_eq!(daemon.state()["release"]["generation"], 2);
        daemon.kill();
    }
    let daemon = device.run();
    let state = daemon.state();
    assert!(settled_on(1)(&state), "{state:#}");
    let rollback = &state["last_rollback"];
    assert_eq!(rollback["generation"], 2, "{state:#}");
    assert_eq!(rollback["cause"]["name"], "crash_loop");
    let said = events(&state, "crash_loop");
    assert_eq!(said.len(), 1, "{state:#}");
    assert_eq!(said[0]["severity"], "error");
    assert_eq!(said[0]["subject"]["generation"], 2);
    assert_eq!(said[0]["details"]["serves"], "light 1");
    let message = said[0]["cause"]["message"].as_str().unwrap();
    assert!(message.contains("3 times in a row"), "{message}");
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    let config = device.config.display().to_string();
    let history = success(["history", "--config", &config, "--json"]);
    assert!(history.contains("crash_loop"), "{history}");
    // A statement of the same release does not bring it back.
    site.publish(&second);
    daemon.wait_until(|state| state["refused"]["failed_before"].as_u64() >= Some(1));
    assert_eq!(daemon.state()["release"]["generation"], 1);
    assert!(daemon.stop().success());
    let audit = success([
        "audit",
        "show",
        "--config",
        &config,
        "--kind",
        "crash_loop",
        "--json",
    ]);
    assert!(audit.contains("crash_loop"), "{audit}");
    // It stays so, and another generation is taken.
    let daemon = device.run();
    assert_eq!(daemon.state()["release"]["generation"], 1);
    let third = site.pack(&light(3, ""));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}

#[test]
fn without_a_good_release_the_device_starts_empty_and_takes_another_one() {
    let mut site = Site::new();
    let (device, _) = device(&site, "");
    // Both releases end in a loop, one after the other.
    for generation in [2, 2, 2, 1, 1, 1] {
        let daemon = device.run();
        assert_eq!(daemon.state()["release"]["generation"], generation);
        daemon.kill();
    }
    for _ in 0..2 {
        let daemon = device.run();
        let state = daemon.state();
        assert!(state["release"].is_null(), "{state:#}");
        assert_eq!(state["cannot_serve"]["name"], "crash_loop");
        assert_eq!(events(&state, "crash_loop")[0]["details"]["serves"], "none");
        assert_eq!(events(&state, "no_release_serves").len(), 1);
        daemon.kill();
    }
    let daemon = device.run();
    let third = site.pack(&light(3, ""));
    site.publish(&third);
    let state = daemon.feed_until(settled_on(3));
    assert!(state["cannot_serve"].is_null(), "{state:#}");
}

#[test]
fn a_release_that_is_installed_again_is_tried_again() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    for _ in 0..3 {
        device.run().kill();
    }
    let daemon = device.run();
    assert!(daemon.state()["release"].is_null());
    assert!(daemon.stop().success());
    install(&device, &first);
    let daemon = device.run();
    assert!(settled_on(1)(&daemon.state()));
}

#[test]
fn ends_in_order_do_not_count_and_neither_do_those_of_a_daemon_that_ran_for_long_enough() {
    let site = Site::new();
    let (device, _) = device(&site, "[deploy]\ncrash-seconds = 1\n");
    let record = site.workspace.path("cam-data/starts.json");
    for _ in 0..4 {
        let daemon = device.run();
        assert_eq!(daemon.state()["release"]["generation"], 2);
        assert!(daemon.stop().success());
    }
    for _ in 0..4 {
        let daemon = device.run();
        assert_eq!(daemon.state()["release"]["generation"], 2);
        until("the daemon has run for long enough", || {
            fs::read_to_string(&record).is_ok_and(|text| text.contains("\"counts\":false"))
        });
        daemon.kill();
    }
    assert_eq!(device.run().state()["release"]["generation"], 2);
}
