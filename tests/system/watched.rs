//! A watched folder in a running daemon: before the first release, and replaced by another folder.

use std::fs;

use hotshoe_protocol::status::WatchMode;
use hotshoe_tests::until;

use super::site::{Site, light, settled_on};

const WATCH: &str = "[watch]\nfolder = \"inbox\"\nafter = \"move\"";

#[test]
fn files_that_wait_for_the_first_release_are_read_when_it_serves() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let inbox = site.workspace.path("inbox");
    fs::create_dir(&inbox).unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        fs::write(inbox.join(name), name).unwrap();
    }
    let device = site.device("cam", &first, WATCH);
    fs::remove_dir_all(site.workspace.path("cam-data")).unwrap();
    let daemon = device.run();
    let state = daemon.wait_until(|state| state["watch"]["mode"] == "events");
    assert!(state["release"].is_null());
    assert_eq!(state["counters"]["accepted"], 0);
    site.publish(&first);
    // The waiting files are the samples of its probation.
    for name in names {
        until("a waiting file is read", || {
            inbox.join("done").join(name).exists()
        });
    }
    let state = daemon.wait_until(settled_on(1));
    assert_eq!(state["counters"]["results"], 3, "{state:#}");
    assert_eq!(
        state["counters"]["accepted"], 3,
        "a file was dropped: {state:#}"
    );
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_watched_again() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let inbox = site.workspace.path("inbox");
    fs::create_dir(&inbox).unwrap();
    let daemon = site.device("cam", &first, WATCH).run();
    fs::remove_dir_all(&inbox).unwrap();
    let mode = || daemon.status().watch.unwrap().mode;
    until("the folder is missed", || {
        mode() == Some(WatchMode::Missing)
    });
    fs::create_dir(&inbox).unwrap();
    fs::write(inbox.join("a"), "a").unwrap();
    until("a file in the new folder is read", || {
        inbox.join("done/a").exists()
    });
    assert_eq!(mode(), Some(WatchMode::Events));
    let state = daemon.state();
    let events = state["events"].as_array().unwrap().iter();
    let kinds: Vec<_> = events
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"folder_lost") && kinds.contains(&"folder_watched"));
}
