//! What a device does when its disk, its operator or its deployer stand in the way.

use std::fs;

use hotshoe_trust::DeviceSelector;

use super::site::{Site, data_file, ended, light, recipe, settled_on};

const EAGER: &str = "min-samples = 3\nmin-seconds = 0\n";

#[test]
fn a_live_release_that_is_damaged_gives_way_to_the_one_before() {
    let mut site = Site::new();
    let filler = site.workspace.path("filler");
    fs::write(&filler, b"one").unwrap();
    let first = site.pack(&light(1, &data_file("filler", &filler)));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    fs::write(&filler, b"two").unwrap();
    let second = site.pack(&light(2, &data_file("filler", &filler)));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
    site.close();
    daemon.kill();
    let digest = hotshoe_trust::Digest::of(b"two");
    let blob = site
        .workspace
        .path(&format!("cam-data/blobs/sha256/{}", digest.hex()));
    fs::write(blob, b"twX").unwrap();
    let daemon = device.run();
    let state = daemon.state();
    assert!(settled_on(1)(&state), "{state:#}");
    let fed = daemon.feed(&[("a", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok());
    // It may come again, whole.
    site.open();
    site.publish(&second);
    daemon.feed_until(settled_on(2));
}

#[test]
fn a_release_that_says_keep_is_kept_and_its_failure_told() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let gate = "min-samples = 6\nmin-seconds = 0\non-failure = \"keep\"\n";
    let second = site.pack(&recipe(2, gate, &["flaky-policy"], ""));
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    assert_eq!(state["deploy"]["cause"]["name"], "trap_rate", "{state:#}");
    assert_eq!(state["rollbacks"], 0);
}

#[test]
fn with_little_memory_the_way_back_is_read_from_the_disk() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let more = "[deploy]\nkeep-previous = \"disk\"\n";
    let daemon = site.device("cam", &first, more).run();
    let second = site.pack(&recipe(
        2,
        "min-samples = 12\nmin-seconds = 0\n",
        &["flaky-policy"],
        "",
    ));
    site.publish(&second);
    let state = daemon.feed_until(ended(2, "rolled-back"));
    assert_eq!(state["release"]["generation"], 1, "{state:#}");
    let fed = daemon.feed(&[("a", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok());
}

#[test]
fn a_quota_frees_what_no_slot_needs_and_refuses_what_does_not_fit() {
    let mut site = Site::new();
    let filler = site.workspace.path("filler");
    let bytes = |size: usize, seed: u8| -> Vec<u8> {
        (0..size)
            .map(|i| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[1] ^ seed)
            .collect()
    };
    fs::write(&filler, bytes(300_000, 1)).unwrap();
    let first = site.pack(&light(1, &data_file("filler", &filler)));
    let daemon = site
        .device("cam", &first, "[deploy]\nquota-mib = 2\n")
        .run();
    for generation in 2..=8 {
        fs::write(&filler, bytes(300_000, generation as u8)).unwrap();
        let next = site.pack(&light(generation, &data_file("filler", &filler)));
        site.publish(&next);
        daemon.feed_until(settled_on(generation));
    }
    let used: u64 = fs::read_dir(site.workspace.path("cam-data/blobs/sha256"))
        .unwrap()
        // The daemon collects while this looks: a file that has just gone takes no room.
        .filter_map(|entry| entry.unwrap().metadata().ok())
        .map(|found| found.len())
        .sum();
    assert!(used <= 2 << 20, "{used} bytes");
    fs::write(&filler, bytes(3 << 20, 9)).unwrap();
    let large = site.pack(&light(9, &data_file("filler", &filler)));
    site.publish(&large);
    let state = daemon.wait_until(|state| state["deploy"]["cause"]["name"] == "quota");
    assert_eq!(state["release"]["generation"], 8, "{state:#}");
}

#[test]
fn what_was_to_be_activated_is_activated_after_a_restart_without_a_network() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    // A window that is never open while the test runs: it opens twelve hours from now.
    let hour = |ahead: i64| {
        let then = hotshoe_trust::Time::now() + jiff::SignedDuration::from_hours(ahead);
        then.to_string()[11..13].to_owned()
    };
    let (opens, closes) = (hour(12), hour(13));
    let window = format!("[deploy]\nwindow = \"{opens}:00-{closes}:00\"\n");
    let device = site.device("cam", &first, &window);
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    site.state(&second, true, DeviceSelector::default());
    daemon.wait_until(|state| state["deploy"]["waiting"] == "window");
    site.close();
    daemon.kill();
    let text = fs::read_to_string(&device.config)
        .unwrap()
        .replace(&window, "");
    fs::write(&device.config, text).unwrap();
    let daemon = device.run();
    daemon.feed_until(settled_on(2));
}

#[test]
fn a_newer_release_ends_the_trial_of_one_that_gets_nowhere() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let second = site.pack(&recipe(
        2,
        "min-samples = 1000000\nmin-seconds = 0\n",
        &[],
        "",
    ));
    site.publish(&second);
    daemon.feed_until(|state| state["slots"]["trial"]["slot"]["generation"] == 2);
    let third = site.pack(&recipe(3, EAGER, &[], ""));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}
