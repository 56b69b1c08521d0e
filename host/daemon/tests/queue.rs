//! The queue under every policy: bounded, in order, and every item ends with a result.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hotshoe_config::{IntakeConfig, WhenFull};
use hotshoe_daemon::serving::queue::{FullPolicy, PushError, Pushed, Queue};
use proptest::prelude::*;

#[test]
fn a_queue_does_what_the_intake_says() {
    let full = |when_full| {
        let intake = IntakeConfig {
            when_full,
            ..IntakeConfig::default()
        };
        FullPolicy::of(&intake)
    };
    let wait = FullPolicy::WaitFor(Duration::from_millis(4_000));
    assert_eq!(full(WhenFull::Block), wait);
    assert_eq!(full(WhenFull::DropOldest), FullPolicy::DropOldest);
    assert_eq!(full(WhenFull::DropNewest), FullPolicy::DropNewest);
}

#[derive(Debug, Clone)]
enum Step {
    Push(FullPolicy),
    Pop,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![
            Just(FullPolicy::DropOldest),
            Just(FullPolicy::DropNewest),
            Just(FullPolicy::WaitFor(Duration::ZERO)),
            Just(FullPolicy::Wait),
        ]
        .prop_map(Step::Push),
        4 => Just(Step::Pop),
        1 => Just(Step::Close),
    ]
}

proptest! {
    /// Comparison with a simple model: same contents, and each item ends exactly once.
    #[test]
    fn agrees_with_a_model(capacity in 1_usize..5, steps in prop::collection::vec(step(), 0..60)) {
        let queue = Queue::new(capacity);
        let mut model: VecDeque<(usize, FullPolicy)> = VecDeque::new();
        let mut closed = false;
        for (item, step) in steps.into_iter().enumerate() {
            match step {
                Step::Close => {
                    queue.close();
                    closed = true;
                }
                // A pop on an open and empty queue would wait.
                Step::Pop if model.is_empty() && !closed => {}
                Step::Pop => prop_assert_eq!(queue.pop(), model.pop_front().map(|(item, _)| item)),
                // So would this push.
                Step::Push(FullPolicy::Wait) if model.len() == capacity && !closed => {}
                Step::Push(full) => {
                    let expected = if closed {
                        Pushed::Refused(item, PushError::Closed)
                    } else if model.len() < capacity {
                        model.push_back((item, full));
                        Pushed::Stored
                    } else {
                        match full {
                            FullPolicy::DropOldest => match model.iter().position(|(_, how)| *how != FullPolicy::Wait) {
                                Some(oldest) => {
                                    let (oldest, _) = model.remove(oldest).unwrap();
                                    model.push_back((item, full));
                                    Pushed::Displaced(oldest)
                                }
                                None => Pushed::Refused(item, PushError::Full),
                            },
                            FullPolicy::DropNewest => Pushed::Refused(item, PushError::Full),
                            FullPolicy::Wait | FullPolicy::WaitFor(_) => Pushed::Refused(item, PushError::Timeout),
                        }
                    };
                    prop_assert_eq!(queue.push(item, full), expected);
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert!(queue.len() <= capacity);
        }
        prop_assert_eq!(queue.take_all(), model.into_iter().map(|(item, _)| item).collect::<Vec<_>>());
    }
}

#[test]
fn senders_that_wait_lose_nothing() {
    const EACH: usize = 500;
    let queue = Arc::new(Queue::new(3));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for i in 0..EACH {
                    assert_eq!(
                        queue.push(sender * EACH + i, FullPolicy::Wait),
                        Pushed::Stored
                    );
                }
            })
        })
        .collect();
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>())
        })
        .collect();
    senders.into_iter().for_each(|s| s.join().unwrap());
    queue.close();
    let mut taken: Vec<usize> = takers.into_iter().flat_map(|t| t.join().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..4 * EACH).collect::<Vec<_>>());
}

#[test]
fn an_item_is_in_the_queue_or_where_it_was_placed() {
    let queue = Arc::new(Queue::new(1));
    queue.push(1, FullPolicy::Wait);
    let desk = Arc::new(Mutex::new(None));
    let (sender, popping) = channel();
    let taker = {
        let (queue, desk) = (Arc::clone(&queue), Arc::clone(&desk));
        thread::spawn(move || {
            queue.pop_ready(
                || |_: &i32| true,
                |item| {
                    sender.send(()).unwrap();
                    // Time for the other thread to look between the queue and the slot, if it could.
                    (0..1_000).for_each(|_| thread::yield_now());
                    *desk.lock().unwrap() = Some(item);
                },
            )
        })
    };
    popping.recv().unwrap();
    assert!(queue.take_all().is_empty());
    assert_eq!(*desk.lock().unwrap(), Some(1));
    taker.join().unwrap();
}

#[test]
fn an_item_waits_until_it_is_ready_and_others_go_before_it() {
    let queue = Arc::new(Queue::new(3));
    for item in ["busy 1", "free", "busy 2"] {
        queue.push(item, FullPolicy::Wait);
    }
    let busy = Arc::new(Mutex::new(true));
    let pop = {
        let (queue, busy) = (Arc::clone(&queue), Arc::clone(&busy));
        move || {
            let look = || {
                let busy = *busy.lock().unwrap();
                move |item: &&str| !busy || !item.starts_with("busy")
            };
            queue.pop_ready(look, |item| item)
        }
    };
    assert_eq!(pop(), Some("free"));
    let waiting = thread::spawn(move || [pop(), pop(), pop()]);
    // Even without further items.
    queue.close();
    *busy.lock().unwrap() = false;
    queue.notify_ready();
    let found = waiting.join().unwrap();
    assert_eq!(found, [Some("busy 1"), Some("busy 2"), None]);
}

#[test]
fn closing_frees_a_sender_that_waits() {
    let queue = Arc::new(Queue::new(1));
    queue.push(1, FullPolicy::Wait);
    let waiting = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || queue.push(2, FullPolicy::Wait))
    };
    queue.close();
    assert_eq!(
        waiting.join().unwrap(),
        Pushed::Refused(2, PushError::Closed)
    );
    assert_eq!(queue.pop(), Some(1));
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_capacity_of_zero_still_holds_one() {
    let queue = Queue::new(0);
    assert_eq!(queue.capacity(), 1);
    assert_eq!(queue.push((), FullPolicy::DropNewest), Pushed::Stored);
    assert!(!queue.is_empty());
}

#[test]
fn a_push_waits_for_room_no_longer_than_its_limit() {
    let time = hotshoe_base::VirtualClock::at(std::time::UNIX_EPOCH);
    let queue = Arc::new(Queue::new(1).timed_by(time.clock()));
    let limit = FullPolicy::WaitFor(Duration::from_secs(3600));
    assert_eq!(queue.push(1, limit), Pushed::Stored);
    let waiting = |item| {
        let queue = Arc::clone(&queue);
        let push = thread::spawn(move || queue.push(item, limit));
        time.await_waiting(1);
        push
    };
    let late = waiting(2);
    time.advance(Duration::from_secs(3600));
    assert_eq!(late.join().unwrap(), Pushed::Refused(2, PushError::Timeout));
    let in_time = waiting(3);
    time.advance(Duration::from_secs(3599));
    assert_eq!(queue.pop(), Some(1));
    assert_eq!(in_time.join().unwrap(), Pushed::Stored);
}

#[test]
fn the_age_of_the_oldest_item_is_known_while_one_waits() {
    let time = hotshoe_base::VirtualClock::at(std::time::UNIX_EPOCH);
    let queue = Queue::new(3).timed_by(time.clock());
    assert_eq!(queue.oldest_age(), None);
    let ages: Vec<_> = [1, 2]
        .map(|item| {
            queue.push(item, FullPolicy::Wait);
            time.advance(Duration::from_secs(10));
            queue.oldest_age()
        })
        .into();
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!(ages, [seconds(10), seconds(20)]);
    assert_eq!((queue.pop(), queue.oldest_age()), (Some(1), seconds(10)));
    assert_eq!((queue.pop(), queue.oldest_age()), (Some(2), None));
}
