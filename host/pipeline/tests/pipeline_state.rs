//! What components keep, and what a policy that fails open costs: with real components.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::sync::Arc;
use std::thread;

use hotshoe_engine::{Action, Fault, StateSnapshot};
use hotshoe_pipeline::{Outcome, Pipeline, Worker};

use fixture::{Fixture, process, release_with};

const BYTES: &str = "application/octet-stream";
const STATE: &str = "grants = [\"state\"]";

fn counting(fixture: &Fixture, generation: u64, version: u32) -> Arc<Pipeline> {
    let component = format!("{STATE}\nstate-version = {version}");
    let release = release_with(generation, "counting-policy", &component, "");
    fixture.load(&release).unwrap().pipeline
}

/// What the counting policy says it has seen.
fn seen(worker: &mut Worker) -> u64 {
    let decision = process(worker, BYTES, b"sample").result.unwrap();
    let Some(Action::Alert { message, .. }) = decision.actions.first() else {
        panic!("{:?}", decision.actions);
    };
    message.strip_prefix("seen ").unwrap().parse().unwrap()
}

#[test]
fn state_goes_over_to_the_next_release_and_the_old_one_keeps_its_own() {
    let fixture = Fixture::new();
    let old = counting(&fixture, 1, 1);
    let (mut one, mut other) = (old.worker(), old.worker());
    assert_eq!(
        (seen(&mut one), seen(&mut other), seen(&mut one)),
        (1, 2, 3)
    );
    assert_eq!(old.state_changes(), 3);

    let new = counting(&fixture, 2, 2);
    let kept = StateSnapshot::parse(&old.state_snapshot().to_bytes()).unwrap();
    new.restore_state(&kept);
    assert_eq!(new.state_changes(), 0);
    assert_eq!(new.state_snapshot(), kept);
    let mut worker = new.worker();
    assert_eq!((seen(&mut worker), seen(&mut worker)), (4, 5));
    // The next state-version wrote: the snapshots differ by more than the count.
    assert!(
        String::from_utf8(new.state_snapshot().to_bytes())
            .unwrap()
            .contains("\"version\":2")
    );

    // Rolled back, the old release goes on where it was.
    assert_eq!(old.state_snapshot(), kept);
    assert_eq!(seen(&mut one), 4);
}

#[test]
fn a_fork_leaves_the_state_as_it_is() {
    let fixture = Fixture::new();
    let pipeline = counting(&fixture, 1, 1);
    assert_eq!(seen(&mut pipeline.worker()), 1);
    let before = pipeline.state_snapshot();
    let fork = pipeline.fork();
    let mut worker = fork.worker();
    assert_eq!((seen(&mut worker), seen(&mut worker)), (2, 3));
    assert_eq!(pipeline.state_snapshot(), before);
    assert_eq!(seen(&mut pipeline.worker()), 2);
}

#[test]
fn several_workers_lose_no_count() {
    const WORKERS: u64 = 4;
    const SAMPLES: u64 = 50;
    let fixture = Fixture::new();
    let pipeline = counting(&fixture, 1, 1);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let mut worker = pipeline.worker();
            scope.spawn(move || {
                for _ in 0..SAMPLES {
                    seen(&mut worker);
                }
            });
        }
    });
    assert_eq!(pipeline.state_changes(), WORKERS * SAMPLES);
    assert_eq!(seen(&mut pipeline.worker()), WORKERS * SAMPLES + 1);
}

#[test]
fn a_component_of_another_name_gets_none_of_it() {
    let fixture = Fixture::new();
    let old = counting(&fixture, 1, 1);
    seen(&mut old.worker());
    let release = release_with(2, "flaky-policy", STATE, "");
    let other = fixture.load(&release).unwrap().pipeline;
    other.restore_state(&old.state_snapshot());
    assert!(other.state_snapshot().is_empty());
}

#[test]
fn without_the_grant_there_is_no_state() {
    let fixture = Fixture::new();
    let error = fixture
        .load(&release_with(1, "counting-policy", "", ""))
        .err()
        .expect("an error");
    assert_eq!(error.name(), "not_granted");
}

fn flaky(fixture: &Fixture, step: &str) -> Vec<Outcome> {
    let release = release_with(1, "flaky-policy", STATE, step);
    let pipeline = fixture.load(&release).unwrap().pipeline;
    let mut workers = [pipeline.worker(), pipeline.worker()];
    (0..9)
        .map(|n| process(&mut workers[n % 2], BYTES, b"sample"))
        .collect()
}

#[test]
fn every_third_sample_of_a_flaky_policy_fails() {
    for (n, outcome) in flaky(&Fixture::new(), "").into_iter().enumerate() {
        assert_eq!(outcome.tolerated, []);
        match outcome.result {
            Ok(decision) => assert!((n + 1) % 3 != 0 && decision.published(), "sample {n}"),
            Err(error) => assert_eq!(
                ((n + 1) % 3, error.fault, error.stage.as_str()),
                (0, Fault::Trap, "flaky-policy")
            ),
        }
    }
}

#[test]
fn a_policy_that_fails_open_costs_no_sample() {
    let outcomes = flaky(&Fixture::new(), "on-failure = \"fail-open\"");
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert!(outcome.result.unwrap().published(), "sample {n}");
        let stages: Vec<&str> = outcome
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        assert_eq!(stages, ["measure", "flaky-policy"]);
        let faults: Vec<Fault> = outcome.tolerated.iter().map(|error| error.fault).collect();
        let expected = if (n + 1) % 3 == 0 {
            vec![Fault::Trap]
        } else {
            vec![]
        };
        assert_eq!(faults, expected, "sample {n}");
    }
}
