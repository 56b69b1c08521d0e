//! A guest that misbehaves costs its own sample, and is counted by what it did.

use hotshoe_daemon::FeedError;

use crate::support::{Daemon, Lab};

fn serve(recipe: &str) -> (Lab, Daemon) {
    let lab = Lab::new();
    let release = lab.release(&Lab::recipe(recipe));
    let daemon = lab.device("a", &release, "[workers]\nthreads = 1").run();
    (lab, daemon)
}

/// Feeds one sample and returns the fault that it ended with, or `none`.
fn fault(daemon: &Daemon, id: &str, payload: &[u8]) -> String {
    let fed = daemon.feed(&[(id, payload.to_vec())]).remove(0);
    match fed.result {
        Ok(_) => "none".to_owned(),
        Err(FeedError::Refused(body)) => body["fault"].as_str().unwrap().to_owned(),
        Err(error) => panic!("{id}: {error}"),
    }
}

#[test]
fn each_misdeed_costs_one_sample_and_has_its_own_count() {
    let (_lab, daemon) = serve("hostile.toml");
    let misdeeds = [
        ("loop", "deadline"),
        ("bomb", "memory"),
        ("trap", "trap"),
        ("shape", "tensor"),
        ("error", "invalid_input"),
    ];
    for (number, (payload, expected)) in misdeeds.iter().enumerate() {
        assert_eq!(fault(&daemon, payload, payload.as_bytes()), *expected);
        // The next sample finds a sound instance.
        assert_eq!(fault(&daemon, &format!("good-{number}"), b"good"), "none");
    }
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!(counters.accepted, 10);
    assert_eq!(counters.results, 5);
    assert_eq!(counters.failed, 5);
    for (_, expected) in misdeeds {
        assert_eq!(counters.faults.get(expected), Some(&1), "{counters:?}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn fuel_is_an_option_that_ends_a_call_as_well() {
    let lab = Lab::new();
    let recipe = Lab::recipe("hostile.toml")
        .replace("memory-mib = 32,", "memory-mib = 32, fuel = 100000000,");
    let recipe = recipe.replace("deadline-ms = 500", "deadline-ms = 60000");
    let daemon = lab.device("a", &lab.release(&recipe), "").run();
    assert_eq!(fault(&daemon, "loop", b"loop"), "fuel");
    assert_eq!(fault(&daemon, "good", b"good"), "none");
}

#[test]
fn samples_around_a_trap_all_get_their_own_answers() {
    let (_lab, daemon) = serve("hostile.toml");
    let feeder = daemon.feeder(4);
    let payload = |number: usize| {
        if number.is_multiple_of(3) {
            "trap"
        } else {
            "good"
        }
    };
    for number in 0..30 {
        let id = number.to_string();
        feeder
            .send("test", "text/plain", &id, payload(number).into())
            .unwrap();
    }
    for _ in 0..30 {
        let fed = feeder.next(crate::support::DEADLINE).expect("an answer");
        let number: usize = fed.id.parse().unwrap();
        assert_eq!(fed.result.is_ok(), payload(number) == "good", "{fed:?}");
    }
    let counters = daemon.status().counters;
    assert!(counters.add_up());
    assert_eq!((counters.results, counters.failed), (20, 10));
}
