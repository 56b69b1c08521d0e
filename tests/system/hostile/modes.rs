//! What an instance's memory carries from one call to the next, in each mode; and that one which broke off is never entered again.

use hotshoe_link::FeedReply;

use super::made::{self, STAGE, component};
use super::{LIMITS, fault};
use crate::support::{DEADLINE, Daemon, Workspace};

/// The calls that the instance which answered has seen.
fn seen(fed: &FeedReply) -> u64 {
    let answer = fed.result.as_ref().unwrap();
    let value = &answer["insight"]["scalars"][0]["value"];
    value.as_f64().unwrap() as u64
}

fn daemon(workspace: &Workspace, lines: &str, threads: usize) -> Daemon {
    let recipe = made::recipe(workspace, &component(STAGE), lines);
    let workers = format!("[workers]\nthreads = {threads}");
    workspace
        .device("a", &workspace.release(&recipe), &workers)
        .run()
}

/// Feeds one sample of each of these sources, one after the other; what each saw.
fn calls(daemon: &Daemon, sources: &[&str]) -> Vec<u64> {
    let feeder = daemon.feeder(1);
    let one = |source: &&str| {
        feeder
            .send(source, "text/plain", "id", b"good".to_vec())
            .unwrap();
        seen(&feeder.next(DEADLINE).unwrap())
    };
    sources.iter().map(one).collect()
}

#[test]
fn an_instance_for_each_call_remembers_nothing() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "instance = \"per-call\"", 2);
    assert_eq!(calls(&daemon, &["a", "a", "b", "a"]), [1, 1, 1, 1]);
    assert_eq!(fault(&daemon, "Count and trap").0, "trap");
    assert_eq!(calls(&daemon, &["a"]), [1]);
}

#[test]
fn an_instance_for_each_worker_remembers_all_that_the_worker_did() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "instance = \"shared\"", 1);
    assert_eq!(calls(&daemon, &["a", "a", "b", "a"]), [1, 2, 3, 4]);
    let other = Workspace::new();
    let two = self::daemon(&other, "", 2);
    let seen = calls(&two, &["a"; 12]);
    // Whichever worker took each, the two counts add up to all samples.
    let most = *seen.iter().max().unwrap();
    assert!((6..=12).contains(&most), "{seen:?}");
}

#[test]
fn an_instance_for_each_source_remembers_that_source_alone_on_any_worker() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "instance = \"per-source\"", 2);
    assert_eq!(
        calls(&daemon, &["a", "a", "b", "a", "b", "c"]),
        [1, 2, 1, 3, 2, 1]
    );
    // A source's failure is its own. `fault` feeds as `test`.
    assert_eq!(fault(&daemon, "good").0, "none");
    assert_eq!(fault(&daemon, "Count and trap").0, "trap");
    assert_eq!(calls(&daemon, &["test", "a", "b"]), [1, 4, 3]);
    // Many at once: each source's calls are counted one by one, whichever worker has them.
    let feeder = daemon.feeder(8);
    for number in 0..40 {
        let source = ["x", "y"][number % 2];
        feeder
            .send(source, "text/plain", &number.to_string(), b"good".to_vec())
            .unwrap();
    }
    let mut counts: Vec<u64> = (0..40)
        .map(|_| seen(&feeder.next(DEADLINE).unwrap()))
        .collect();
    counts.sort_unstable();
    let expected: Vec<u64> = (1..=20).flat_map(|count| [count, count]).collect();
    assert_eq!(counts, expected);
}

#[test]
fn of_many_sources_the_least_recent_begins_anew() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "instance = \"per-source\"", 1);
    let most = hotshoe_engine::MAX_SOURCE_INSTANCES;
    let names: Vec<String> = (0..=most).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(calls(&daemon, &names), vec![1; most + 1]);
    // The first one made way for the last; what was seen since is there.
    assert_eq!(calls(&daemon, &[names[most], names[2], "0"]), [2, 2, 1]);
}

#[test]
fn an_instance_that_was_interrupted_is_never_entered_again() {
    let workspace = Workspace::new();
    let lines = LIMITS.replace("memory-mib", "fuel = 50000000, memory-mib");
    let daemon = daemon(&workspace, &lines, 1);
    let interruptions = [
        // It has counted a thousand when it traps.
        ("Count and trap", "trap"),
        ("Loop", "fuel"),
        ("Memory", "memory"),
        ("Table", "table"),
        ("Post-return trap", "trap"),
        ("Output too large", "output"),
    ];
    for (payload, expected) in interruptions {
        assert_eq!(calls(&daemon, &["a", "a"]), [1, 2], "before {payload}");
        assert_eq!(fault(&daemon, payload).0, expected);
    }
    // An error that the component returns in good order ends nothing.
    assert_eq!(calls(&daemon, &["a"]), [1]);
    assert_eq!(fault(&daemon, "No number").0, "internal");
    assert_eq!(calls(&daemon, &["a"]), [3]);
    let other = Workspace::new();
    let slow = self::daemon(&other, LIMITS, 1);
    assert_eq!(calls(&slow, &["a", "a"]), [1, 2]);
    assert_eq!(fault(&slow, "Loop").0, "deadline");
    assert_eq!(calls(&slow, &["a"]), [1]);
}
