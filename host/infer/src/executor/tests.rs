#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Executor, Lane, Outcome, Usage};
use crate::RunError;

/// Far away: whatever takes this long hangs.
fn far() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

#[track_caller]
fn until(mut event: impl FnMut() -> bool) {
    let limit = far();
    while !event() {
        assert!(Some(Instant::now()) < limit, "it never happened");
        thread::yield_now();
    }
}

fn nothing() -> Outcome {
    Ok(Vec::new())
}

/// A run that takes a place until the sender is dropped.
fn occupy(lane: &Arc<Lane>) -> (Sender<()>, thread::JoinHandle<Outcome>) {
    let (release, held): (Sender<()>, Receiver<()>) = mpsc::channel();
    let before = lane.usage().runs;
    let own = lane.clone();
    let caller = thread::spawn(move || {
        own.run(far(), move |_| {
            let _ = held.recv();
            nothing()
        })
    });
    until(|| lane.usage().runs > before);
    (release, caller)
}

fn lanes<const N: usize>(slots: usize, most: Option<usize>) -> [Arc<Lane>; N] {
    let executor = Executor::new(slots);
    std::array::from_fn(|_| Arc::new(executor.lane(most)))
}

#[test]
fn the_caller_of_a_run_past_its_deadline_is_free_at_once_and_the_run_holds_its_place() {
    let [lane] = lanes(1, None);
    let (release, held) = mpsc::channel::<()>();
    let stopped = Arc::new(AtomicBool::new(false));
    let stop_seen = stopped.clone();
    let soon = Instant::now() + Duration::from_millis(500);
    let outcome = lane.run(Some(soon), move |stop| {
        let _ = held.recv();
        stop_seen.store(stop.is_stopped(), Ordering::SeqCst);
        nothing()
    });
    assert!(matches!(outcome, Err(RunError::Deadline)));
    let abandoned = Usage {
        runs: 1,
        abandoned: 1,
        in_flight: 1,
        ..Usage::default()
    };
    assert_eq!(lane.usage(), abandoned);
    // The only place is taken still.
    let soon = Instant::now() + Duration::from_millis(20);
    let begun = Arc::new(AtomicBool::new(false));
    let began = begun.clone();
    let outcome = lane.run(Some(soon), move |_| {
        began.store(true, Ordering::SeqCst);
        nothing()
    });
    assert!(matches!(outcome, Err(RunError::Deadline)));
    assert_eq!(lane.usage().expired, 1);
    drop(release);
    assert!(lane.run(far(), |_| nothing()).is_ok());
    assert!(stopped.load(Ordering::SeqCst), "it was told to stop");
    assert!(!begun.load(Ordering::SeqCst), "too late, so never begun");
    let usage = lane.usage();
    assert_eq!((usage.runs, usage.in_flight, usage.waiting), (2, 0, 0));
}

#[test]
fn another_limit_holds_from_the_next_turn_on() {
    let [lane] = lanes(3, None);
    let (release, first) = occupy(&lane);
    lane.limit(Some(1));
    let own = lane.clone();
    let second = thread::spawn(move || own.run(far(), |_| nothing()));
    until(|| lane.usage().waiting == 1);
    assert_eq!(lane.usage().in_flight, 1);
    // Raised, it lets in who waits.
    lane.limit(None);
    assert!(second.join().unwrap().is_ok());
    assert_eq!(lane.usage().in_flight, 1, "the first goes on");
    drop(release);
    assert!(first.join().unwrap().is_ok());
}

#[test]
fn a_model_leaves_a_place_to_the_others() {
    let [slow, other] = lanes(2, None);
    let (release, first) = occupy(&slow);
    let waiting = slow.clone();
    let second = thread::spawn(move || waiting.run(far(), |_| nothing()));
    until(|| slow.usage().waiting == 1);
    for deadline in [far(), None] {
        assert!(other.run(deadline, |_| nothing()).is_ok());
    }
    assert_eq!((slow.usage().in_flight, slow.usage().waiting), (1, 1));
    drop(release);
    assert!(first.join().unwrap().is_ok() && second.join().unwrap().is_ok());
}

#[test]
fn models_that_wait_are_served_in_turn() {
    let [held, many, one] = lanes(1, None);
    let (release, first) = occupy(&held);
    let order = Arc::new(Mutex::new(String::new()));
    let mut callers = Vec::new();
    for (lane, letter, deadline) in [
        (&many, 'm', far()),
        (&many, 'm', None),
        (&many, 'm', far()),
        (&one, 'o', None),
    ] {
        let (own, order) = (lane.clone(), order.clone());
        let before = lane.usage().waiting;
        callers.push(thread::spawn(move || {
            own.run(deadline, move |_| {
                order.lock().unwrap().push(letter);
                nothing()
            })
        }));
        // In the queue, not only counted: the queue is under the state's lock, which `occupy` and `usage` do not take.
        until(|| lane.usage().waiting > before && queued(lane) > before as usize);
    }
    drop(release);
    assert!(first.join().unwrap().is_ok());
    for caller in callers {
        assert!(caller.join().unwrap().is_ok());
    }
    assert_eq!(*order.lock().unwrap(), "momm");
}

fn queued(lane: &Lane) -> usize {
    lane.executor.shared.state().models[&lane.id].queue.len()
}

#[test]
fn waiting_is_bounded() {
    let [lane] = lanes(1, None);
    let (release, first) = occupy(&lane);
    let callers: Vec<_> = (0..256)
        .map(|_| {
            let own = lane.clone();
            thread::spawn(move || own.run(far(), |_| nothing()))
        })
        .collect();
    until(|| lane.usage().waiting == 256);
    for deadline in [far(), None] {
        let error = lane.run(deadline, |_| nothing()).unwrap_err();
        assert!(matches!(error, RunError::Busy { waiting: 256 }), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::LimitExceeded);
    }
    drop(release);
    assert!(first.join().unwrap().is_ok());
    for caller in callers {
        assert!(caller.join().unwrap().is_ok());
    }
    assert_eq!((lane.usage().runs, lane.usage().refused), (257, 2));
}

#[test]
fn a_panic_costs_one_run_and_no_thread() {
    let [lane] = lanes(2, Some(2));
    for deadline in [far(), None, far(), far(), far()] {
        let error = lane.run(deadline, |_| panic!("on purpose")).unwrap_err();
        assert!(matches!(error, RunError::Panicked { message } if message == "on purpose"));
        assert!(lane.run(deadline, |_| nothing()).is_ok());
    }
    assert_eq!((lane.usage().runs, lane.usage().failed), (10, 5));
}

#[test]
fn the_threads_end_with_the_last_model() {
    let executor = Executor::new(2);
    let lane = executor.lane(None);
    let shared = Arc::downgrade(&executor.shared);
    drop(executor);
    assert!(lane.run(far(), |_| nothing()).is_ok());
    drop(lane);
    until(|| shared.upgrade().is_none());
}

#[test]
fn the_handover_to_a_thread_is_measured() {
    let [lane] = lanes(2, None);
    for work in [Duration::ZERO, Duration::from_micros(200)] {
        for deadline in [None, far()] {
            let mut times: Vec<Duration> = (0..1000)
                .map(|_| {
                    let start = Instant::now();
                    let outcome = lane.run(deadline, move |_| {
                        let begun = Instant::now();
                        while begun.elapsed() < work {
                            std::hint::spin_loop();
                        }
                        nothing()
                    });
                    assert!(outcome.is_ok());
                    start.elapsed()
                })
                .collect();
            times.sort();
            let place = deadline.map_or("on the caller's thread", |_| "on the pool");
            eprintln!(
                "a run of {work:?} {place}: p50 {:?}, p95 {:?}",
                times[500], times[950]
            );
        }
    }
    assert_eq!((lane.usage().runs, lane.usage().failed), (4000, 0));
}

/// What a run of the stress test does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Succeed,
    Fail,
    Panic,
    UntilStopped,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    lane: usize,
    act: Act,
    /// Microseconds.
    deadline: Option<u64>,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        4 => Just(Act::Succeed),
        1 => Just(Act::Fail),
        1 => Just(Act::Panic),
        1 => Just(Act::UntilStopped)
    ];
    (0..3_usize, act, prop::option::of(0..2000_u64)).prop_map(|(lane, act, deadline)| Step {
        lane,
        act,
        // Without a deadline it would never stop.
        deadline: match act {
            Act::UntilStopped => Some(deadline.unwrap_or(500)),
            _ => deadline,
        },
    })
}

#[derive(Debug, Default)]
struct Tally {
    succeeded: u64,
    failed: u64,
    late: u64,
    busy: u64,
}

fn act(lane: &Lane, step: Step, at_once: &Arc<[AtomicUsize; 4]>) -> Outcome {
    let deadline = step
        .deadline
        .map(|us| Instant::now() + Duration::from_micros(us));
    let at_once = at_once.clone();
    lane.run(deadline, move |stop| {
        let mine = at_once[step.lane].fetch_add(1, Ordering::SeqCst) + 1;
        let all = at_once[3].fetch_add(1, Ordering::SeqCst) + 1;
        let within = mine <= 2 && all <= 3;
        while matches!(step.act, Act::UntilStopped) && !stop.is_stopped() {
            thread::yield_now();
        }
        at_once[step.lane].fetch_sub(1, Ordering::SeqCst);
        at_once[3].fetch_sub(1, Ordering::SeqCst);
        assert!(within, "over the limits: {mine} of one model, {all} of all");
        match step.act {
            Act::Succeed | Act::UntilStopped => nothing(),
            Act::Fail => Err(RunError::MissingInput {
                name: "x".to_owned(),
            }),
            Act::Panic => panic!("on purpose"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Every run gets one answer, and the counters say which.
    #[test]
    fn counters_are_exact(steps in prop::collection::vec(step(), 1..120)) {
        let lanes: Arc<[Arc<Lane>; 3]> = Arc::new(lanes(3, Some(2)));
        let at_once = Arc::new(<[AtomicUsize; 4]>::default());
        let count = steps.len() as u64;
        let steps = Arc::new(Mutex::new(VecDeque::from(steps)));
        let callers: Vec<_> = (0..8).map(|_| {
            let (lanes, steps, at_once) = (lanes.clone(), steps.clone(), at_once.clone());
            thread::spawn(move || {
                let mut tallies: [Tally; 3] = Default::default();
                loop {
                    let next = steps.lock().unwrap().pop_front();
                    let Some(step) = next else { return tallies };
                    let tally = &mut tallies[step.lane];
                    match act(&lanes[step.lane], step, &at_once) {
                        Ok(_) => tally.succeeded += 1,
                        Err(RunError::Deadline) => tally.late += 1,
                        Err(RunError::Busy { .. }) => tally.busy += 1,
                        Err(RunError::Panicked { message }) => {
                            assert_eq!(message, "on purpose");
                            tally.failed += 1;
                        }
                        Err(_) => tally.failed += 1,
                    }
                    let usage = lanes[step.lane].usage();
                    assert!(usage.failed + usage.abandoned <= usage.runs, "{usage:?}");
                    assert!(usage.in_flight <= usage.runs && usage.in_flight <= 2, "{usage:?}");
                }
            })
        }).collect();
        let tallies: Vec<[Tally; 3]> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        let mut answers = 0;
        for (position, lane) in lanes.iter().enumerate() {
            until(|| lane.usage().in_flight == 0);
            let usage = lane.usage();
            let sum = |of: fn(&Tally) -> u64| tallies.iter().map(|each| of(&each[position])).sum::<u64>();
            prop_assert_eq!(usage.waiting, 0);
            prop_assert_eq!(usage.failed, sum(|t| t.failed));
            prop_assert_eq!(usage.abandoned + usage.expired, sum(|t| t.late));
            prop_assert_eq!(usage.refused, sum(|t| t.busy));
            prop_assert_eq!(usage.runs, sum(|t| t.succeeded) + usage.failed + usage.abandoned);
            answers += usage.runs + usage.expired + usage.refused;
        }
        prop_assert_eq!(answers, count);
        until(|| lanes[0].executor.shared.state().taken == 0);
        prop_assert!(lanes.iter().all(|lane| queued(lane) == 0));
    }
}

/// A run that has not ended at its deadline, until the sender is dropped.
fn hang(lane: &Arc<Lane>) -> Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let before = lane.usage().runs;
    let own = lane.clone();
    let soon = Instant::now() + Duration::from_secs(1);
    let caller = thread::spawn(move || {
        own.run(Some(soon), move |_| {
            let _ = held.recv();
            nothing()
        })
    });
    assert!(matches!(caller.join().unwrap(), Err(RunError::Deadline)));
    assert_eq!(lane.usage().runs, before + 1);
    release
}

#[test]
fn two_runs_that_hang_are_replaced_and_a_third_one_keeps_its_place() {
    let executor = Executor::with(1, Duration::ZERO);
    let lane = Arc::new(executor.lane(None));
    let other = Arc::new(executor.lane(None));
    let first = hang(&lane);
    assert!(lane.run(far(), |_| nothing()).is_ok());
    let second = hang(&lane);
    assert!(other.run(far(), |_| nothing()).is_ok());
    let third = hang(&lane);
    let soon = Instant::now() + Duration::from_millis(200);
    let outcome = other.run(Some(soon), |_| nothing());
    assert!(matches!(outcome, Err(RunError::Deadline)));
    assert_eq!(other.usage().expired, 1);
    // Runs that come back after all free no place twice: with one slot, two runs are not at work at once.
    drop((first, second, third));
    until(|| lane.usage().in_flight == 0);
    assert!(other.run(far(), |_| nothing()).is_ok());
    let (release, caller) = occupy(&lane);
    let soon = Instant::now() + Duration::from_millis(200);
    let outcome = other.run(Some(soon), |_| nothing());
    assert!(matches!(outcome, Err(RunError::Deadline)));
    drop(release);
    assert!(caller.join().unwrap().is_ok());
    assert_eq!(lane.usage().abandoned, 3);
}
