//! A component that breaks off again and again is left alone for a while; a trial that does is rolled back.

use std::time::Instant;

use super::made::{self, STAGE, component};
use super::{LIMITS, fault};
use crate::site::{Site, ended, recipe};
use crate::support::{DEADLINE, Workspace};

#[test]
fn a_live_component_that_traps_always_is_left_alone_and_comes_back() {
    let workspace = Workspace::new();
    let recipe = made::recipe(&workspace, &component(STAGE), LIMITS);
    let daemon = workspace.device("a", &workspace.release(&recipe), "").run();
    assert_eq!(fault(&daemon, "good").0, "none");
    let started = Instant::now();
    let mut traps = 0;
    let message = loop {
        let (kind, message) = fault(&daemon, "Count and trap");
        match kind.as_str() {
            "trap" => traps += 1,
            "backing_off" => break message,
            other => panic!("{other}: {message}"),
        }
        assert!(
            started.elapsed() < DEADLINE,
            "{traps} traps and no back-off"
        );
    };
    assert!(traps >= hotshoe_pipeline::FAULTS_IN_A_ROW);
    assert!(
        message.contains("`stage`") && message.contains("unreachable"),
        "{message}"
    );
    let status = daemon.status();
    let stage = &status.components[0];
    let waits = stage.backing_off.as_ref().unwrap();
    assert_eq!(waits.fault, "trap");
    assert!(stage.faults_in_a_row >= traps && waits.left_ms <= waits.wait_ms);
    // It behaves again: a sample that comes when the time is over is let through, and all after it.
    while fault(&daemon, "good").0 != "none" {
        assert!(started.elapsed() < DEADLINE, "it never came back");
    }
    assert_eq!(fault(&daemon, "good").0, "none");
    let status = daemon.status();
    assert_eq!(status.components[0].backing_off, None);
    assert_eq!(status.components[0].faults_in_a_row, 0);
    let kinds: Vec<&str> = status
        .events
        .iter()
        .map(|event| event.kind.name())
        .collect();
    assert!(
        kinds.ends_with(&["component_paused", "component_recovered"]),
        "{kinds:?}"
    );
    let counters = status.counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!(counters.faults["trap"], u64::from(traps));
    assert_eq!(
        counters.failed,
        counters.faults["trap"] + counters.faults["backing_off"]
    );
    assert!(daemon.stop().success());
}

/// Also where the release lets half of its samples trap: those that are not even tried count as well.
#[test]
fn a_trial_that_traps_always_is_rolled_back_by_itself() {
    let mut site = Site::new();
    let first = site.pack(&recipe(1, "min-samples = 3\nmin-seconds = 0\n", &[], ""));
    let daemon = site.device("cam", &first, "").run();
    let counts = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))";
    let traps = component(&STAGE.replacen(counts, "unreachable", 1));
    let file = made::file(&site.workspace, "traps.wasm", &traps);
    let lax = "min-samples = 40\nmin-seconds = 0\nmax-trap-rate = 0.5\nmax-error-rate = 0.9\n";
    let text = recipe(2, lax, &[], "");
    let second = site.pack(&made::instead(&text, &file));
    site.publish(&second);
    let state = daemon.feed_until(ended(2, "rolled-back"));
    assert_eq!(state["release"]["generation"], 1, "{state:#}");
    assert_eq!(state["last_rollback"]["cause"]["name"], "trap_rate");
    assert!(state["counters"]["faults"]["backing_off"].as_u64() > Some(0));
    let fed = daemon.feed(&[("a", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok());
}
