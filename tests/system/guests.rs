//! A guest that asks the host for too much costs its own sample.

use hotshoe_daemon::FeedError;

use crate::support::{Daemon, Lab};

/// Feeds one sample and returns the fault that it ended with and what was said, or `none`.
pub fn fault(daemon: &Daemon, payload: &str) -> (String, String) {
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
pub fn each_costs_one_sample(recipe: &str, misdeeds: &[(&str, &str, &str)]) {
    let lab = Lab::new();
    let release = lab.release(recipe);
    let daemon = lab.device("a", &release, "[workers]\nthreads = 1").run();
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
        &Lab::recipe("hostile.toml"),
        &[
            ("tensors", "limit_exceeded", "tensor-mib"),
            ("sleep", "trap", "hostile"),
        ],
    );
}
