//! A guest that asks the host for too much, or that breaks the rules of its calls, costs its own sample.

#[path = "hostile/compile.rs"]
mod compile;
#[path = "hostile/made.rs"]
pub(crate) mod made;
#[path = "hostile/modes.rs"]
mod modes;
#[path = "hostile/start.rs"]
mod start;
#[path = "hostile/trouble.rs"]
mod trouble;

use hotshoe_link::FeedError;

use crate::support::{Daemon, Workspace};

/// Feeds one sample and returns the fault that it ended with and what was said, or `none`.
pub(crate) fn fault(daemon: &Daemon, payload: &str) -> (String, String) {
    let fed = daemon.feed(&[(payload, payload.into())]).remove(0);
    match fed.result {
        Ok(_) => ("none".to_owned(), String::new()),
        Err(FeedError::Refused(body)) => (
            body["fault"].as_str().unwrap().to_owned(),
            body["message"].as_str().unwrap().to_owned(),
        ),
        Err(error) => panic!("{payload}: {error}"),
    }
}

/// Feeds each misdeed, and a good sample after it; the answers must have these faults and words, and the counters add up.
pub(crate) fn each_costs_one_sample(recipe: &str, misdeeds: &[(&str, &str, &str)]) {
    let workspace = Workspace::new();
    let release = workspace.release(recipe);
    let device = workspace.device("a", &release, "[workers]\nthreads = 1");
    each_costs_one_sample_of(device.run(), misdeeds);
}

/// The same, of this daemon.
pub(crate) fn each_costs_one_sample_of(daemon: Daemon, misdeeds: &[(&str, &str, &str)]) {
    for (payload, expected, words) in misdeeds {
        let (fault_name, message) = fault(&daemon, payload);
        assert_eq!(fault_name, *expected, "{payload}: {message}");
        assert!(message.contains(words), "{payload}: {message}");
        // The next sample finds a sound instance with all of its room.
        assert_eq!(fault(&daemon, "good").0, "none", "after {payload}");
    }
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    let count = misdeeds.len() as u64;
    assert_eq!(
        (counters.accepted, counters.results, counters.failed),
        (2 * count, count, count)
    );
    for (payload, expected, _) in misdeeds {
        let same = misdeeds.iter().filter(|(_, fault, _)| fault == expected);
        let count = same.count() as u64;
        assert_eq!(counters.faults.get(*expected), Some(&count), "{payload}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn host_tensors_end_at_the_limit_and_a_guest_without_wasi_cannot_wait() {
    each_costs_one_sample(
        &Workspace::recipe("hostile.toml"),
        &[
            ("tensors", "limit_exceeded", "tensor-mib"),
            ("sleep", "trap", "hostile"),
            ("recursion", "trap", "`hostile` trapped"),
            ("names", "tensor", "no-such-input"),
        ],
    );
}

/// Limits that the misdeeds go past sooner.
pub(crate) const LIMITS: &str = "limits = { memory-mib = 32, deadline-ms = 500, tensor-mib = 64, table-elements = 20000, handles = 32, output-kib = 8192 }";

/// What [`made::STAGE`] does, the fault that it is, and words of it.
pub(crate) const MISDEEDS: [(&str, &str, &str); 21] = [
    ("Loop", "deadline", "deadline of 500 ms"),
    ("Recursion", "trap", "call stack exhausted"),
    ("Memory", "memory", "memory-mib of 32 MiB"),
    ("Table", "table", "table-elements of 20000"),
    (
        "Handles",
        "limit_exceeded",
        "`handles` of 32 tensors and images",
    ),
    ("Used after its drop", "trap", "unknown handle index"),
    ("Dropped twice", "trap", "unknown handle index"),
    ("Forged handle", "trap", "unknown handle index 1234"),
    ("Wrong kind of handle", "trap", "handle index"),
    ("Borrowed for ever", "trap", "borrow handles still remain"),
    ("K: bad addresses", "trap", "realloc"),
    ("Post-return trap", "trap", "unreachable"),
    ("Gigabytes it has not", "trap", "out of bounds"),
    ("Output too large", "output", "output-kib of 8192 KiB"),
    ("All labels the same", "output", "output-kib of 8192 KiB"),
    ("Y: a million classes", "output", "output-kib of 8192 KiB"),
    ("E: no text", "trap", "utf-8"),
    ("Variant there is not", "trap", "discriminant"),
    ("Impossible address", "trap", "aligned"),
    ("X: beyond memory", "trap", "out of bounds"),
    ("No number", "internal", "not finite"),
];

#[test]
fn what_no_compiler_makes_costs_one_sample_as_well() {
    let workspace = Workspace::new();
    let recipe = made::recipe(&workspace, &made::component(made::STAGE), LIMITS);
    each_costs_one_sample(&recipe, &MISDEEDS);
}

#[test]
fn a_result_that_is_refused_takes_none_of_the_hosts_memory() {
    let workspace = Workspace::new();
    let recipe = made::recipe(&workspace, &made::component(made::STAGE), LIMITS);
    let daemon = workspace
        .device("a", &workspace.release(&recipe), "[workers]\nthreads = 1")
        .run();
    // What the guest itself takes for it.
    assert_eq!(fault(&daemon, "Output too large").0, "output");
    let before = daemon.peak_memory_kib();
    for _ in 0..4 {
        for payload in ["All labels the same", "Gigabytes it has not"] {
            assert_ne!(fault(&daemon, payload).0, "none");
            assert_eq!(fault(&daemon, "good").0, "none");
        }
    }
    let more = daemon.peak_memory_kib() - before;
    // The labels have 10 GiB, and 8 MiB are taken before that is known.
    assert!(more < 48 << 10, "{more} KiB more than before");
}

#[test]
fn handles_that_leak_one_a_call_cost_one_sample_when_they_are_too_many() {
    let workspace = Workspace::new();
    let recipe = made::recipe(&workspace, &made::component(made::STAGE), LIMITS);
    let daemon = workspace
        .device("a", &workspace.release(&recipe), "[workers]\nthreads = 1")
        .run();
    let faults: Vec<String> = (0..70).map(|_| fault(&daemon, "h").0).collect();
    let failed = |(number, fault): (usize, &String)| (fault != "none").then_some(number);
    let failed: Vec<usize> = faults.iter().enumerate().filter_map(failed).collect();
    // 32 fit; the next one fails, and takes the instance with all that leaked.
    assert_eq!(failed, [32, 65]);
    assert_eq!(faults[32], "limit_exceeded");
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted() {
    let workspace = Workspace::new();
    let lines = "limits = { log-lines = 20, deadline-ms = 60000 }";
    let recipe = made::recipe(&workspace, &made::component(made::STAGE), lines);
    let daemon = workspace.device("a", &workspace.release(&recipe), "").run();
    assert_eq!(fault(&daemon, "Stream of lines").0, "none");
    let status = daemon.status();
    let dropped = status.components[0].log_lines_dropped;
    let log = daemon.log();
    let written = log.matches("a line of many").count() as u64;
    assert_eq!(written + dropped, 5000);
    assert!(written >= 20 && dropped > 0, "{written} written");
    // What comes after a line's end is no line of its own; the log is JSON, which escapes once more.
    assert!(
        log.contains(r"a line of many\\nhotshoe: which is none"),
        "{log}"
    );
    assert!(status.counters.add_up());
}
