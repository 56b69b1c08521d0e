#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::thread;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn memory() -> Recurrent {
    Recurrent::new(vec![Slot {
        input: "h".to_owned(),
        output: "h-next".to_owned(),
        zeros: number(0.0),
    }])
}

fn number(value: f32) -> Tensor {
    Tensor::from_f32(&[1], vec![value]).unwrap()
}

fn read(lock: &SourceLock<'_>) -> f32 {
    lock.inputs().next().unwrap().1.as_f32().unwrap()[0]
}

fn later() -> Instant {
    Instant::now() + LONG
}

/// What the source has before the run; one more after it.
fn count(memory: &Recurrent, source: &str) -> f32 {
    let lock = memory.lock_source(source, later()).unwrap();
    let before = read(&lock);
    let outputs = vec![
        ("y".to_owned(), number(before)),
        ("h-next".to_owned(), number(before + 1.0)),
    ];
    let others = lock.keep(outputs).unwrap();
    assert_eq!(others.len(), 1);
    before
}

#[test]
fn each_source_has_its_own() {
    let memory = memory();
    let seen = ["a", "b", "a", "a", "b"].map(|source| count(&memory, source));
    assert_eq!(seen, [0.0, 0.0, 1.0, 2.0, 1.0]);
    assert_eq!(count(&memory.empty_copy(), "a"), 0.0);
}

#[test]
fn what_no_run_is_using_is_forgotten() {
    let memory = memory();
    for source in ["a", "b"] {
        count(&memory, source);
    }
    let lock = memory.lock_source("a", later()).unwrap();
    memory.forget();
    drop(lock);
    assert_eq!(memory.lock().bytes, number(0.0).byte_len());
    assert_eq!((count(&memory, "a"), count(&memory, "b")), (1.0, 0.0));
}

#[test]
fn a_run_that_fails_leaves_it_as_it_was() {
    let memory = memory();
    count(&memory, "a");
    drop(memory.lock_source("a", later()).unwrap());
    let lock = memory.lock_source("a", later()).unwrap();
    assert_eq!(lock.keep(Vec::new()).unwrap_err().fault, Fault::Model);
    assert_eq!(count(&memory, "a"), 1.0);
}

#[test]
fn the_source_used_least_recently_goes() {
    let memory = memory();
    for source in 0..MAX_SOURCES {
        count(&memory, &source.to_string());
    }
    // Source 0 is used again, so that source 1 is the one to go.
    count(&memory, "0");
    count(&memory, "new");
    assert_eq!(memory.lock().by_name.len(), MAX_SOURCES);
    assert_eq!(memory.lock().bytes, MAX_SOURCES * 4);
    assert_eq!(count(&memory, "0"), 2.0);
    assert_eq!(count(&memory, "1"), 0.0);
}

#[test]
fn tensors_that_grow_take_the_place_of_others() {
    let memory = memory();
    count(&memory, "small");
    let huge = Tensor::from_u8(&[MAX_SOURCE_BYTES], vec![0; MAX_SOURCE_BYTES]).unwrap();
    let lock = memory.lock_source("large", later()).unwrap();
    lock.keep(vec![("h-next".to_owned(), huge)]).unwrap();
    assert_eq!(memory.lock().by_name.len(), 1);
    let more = Tensor::from_u8(&[MAX_SOURCE_BYTES + 1], vec![0; MAX_SOURCE_BYTES + 1]).unwrap();
    let lock = memory.lock_source("large", later()).unwrap();
    let refused = lock.keep(vec![("h-next".to_owned(), more)]).unwrap_err();
    assert_eq!(refused.fault, Fault::Model);
}

#[test]
fn runs_of_one_source_follow_each_other() {
    const RUNS: usize = 200;
    let memory = memory();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..RUNS).for_each(|_| assert!(count(&memory, "a") >= 0.0)));
        }
    });
    assert_eq!(count(&memory, "a"), (4 * RUNS) as f32);
}

#[test]
fn a_turn_that_does_not_come_is_a_deadline() {
    let memory = memory();
    let held = memory.lock_source("a", later()).unwrap();
    let refused = memory.lock_source("a", Instant::now()).err().unwrap();
    assert_eq!(refused.fault, Fault::Deadline);
    assert!(memory.lock_source("b", Instant::now()).is_ok());
    drop(held);
    assert!(memory.lock_source("a", Instant::now()).is_ok());
}
