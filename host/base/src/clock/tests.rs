#![allow(clippy::expect_used, reason = "tests")]

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::VirtualClock;

const HOUR: Duration = Duration::from_secs(3600);

fn virtual_clock() -> VirtualClock {
    VirtualClock::at(SystemTime::UNIX_EPOCH + 1000 * HOUR)
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_whatever_the_order_they_began_in() {
    let time = virtual_clock();
    let (woken, order) = mpsc::channel();
    let start = time.clock().now();
    for hours in [3, 1, 5, 2, 4] {
        let (clock, woken) = (time.clock(), woken.clone());
        thread::spawn(move || {
            clock.sleep(hours * HOUR);
            woken
                .send((hours, clock.elapsed(start)))
                .expect("the test listens");
        });
    }
    time.await_waiting(5);
    time.advance(4 * HOUR);
    assert_eq!(
        order.try_iter().collect::<Vec<_>>(),
        [1, 2, 3, 4].map(|hours| (hours, hours * HOUR))
    );
    time.advance(HOUR);
    assert_eq!(
        order.recv_timeout(Duration::from_secs(10)),
        Ok((5, 5 * HOUR))
    );
}

#[test]
fn an_advance_past_several_deadlines_of_one_thread_meets_each() {
    let time = virtual_clock();
    let clock = time.clock();
    let start = clock.now();
    let (tick, ticks) = mpsc::channel();
    let ticker = thread::spawn(move || {
        for _ in 0..720 {
            clock.sleep(HOUR);
            tick.send(clock.elapsed(start)).expect("the test listens");
        }
    });
    time.await_waiting(1);
    time.advance(720 * HOUR);
    ticker.join().expect("the ticker ends");
    assert_eq!(
        ticks.try_iter().collect::<Vec<_>>(),
        (1..=720).map(|tick| tick * HOUR).collect::<Vec<_>>()
    );
}

#[test]
fn a_message_is_received_before_its_deadline_and_none_ends_at_it() {
    let time = virtual_clock();
    let clock = time.clock();
    let start = clock.now();
    let (send, receive) = mpsc::channel();
    let (done, results) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..2 {
            done.send((
                clock.recv_until(&receive, start + HOUR),
                clock.elapsed(start),
            ))
            .expect("the test listens");
        }
    });
    time.await_waiting(1);
    time.advance(HOUR / 2);
    send.send(7).expect("the thread receives");
    assert_eq!(
        results.recv_timeout(Duration::from_secs(10)),
        Ok((Ok(7), HOUR / 2))
    );
    time.await_waiting(1);
    time.advance(HOUR);
    assert_eq!(
        results.recv_timeout(Duration::from_secs(10)),
        Ok((Err(RecvTimeoutError::Timeout), HOUR))
    );
}

#[test]
fn a_message_that_is_there_is_received_after_the_deadline_and_a_closed_channel_is_said() {
    for clock in [super::Clock::system(), virtual_clock().clock()] {
        let (send, receive) = mpsc::channel();
        send.send(1).expect("the channel is open");
        assert_eq!(clock.recv_until(&receive, clock.now()), Ok(1));
        assert_eq!(
            clock.recv_until(&receive, clock.now()),
            Err(RecvTimeoutError::Timeout)
        );
        drop(send);
        assert_eq!(
            clock.recv_until(&receive, clock.now() + HOUR),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}

#[test]
fn a_condition_is_met_by_notice_and_by_deadline() {
    let time = virtual_clock();
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let wait = || {
        let (clock, shared) = (time.clock(), Arc::clone(&shared));
        let until = clock.now() + HOUR;
        thread::spawn(move || {
            let mut open = shared.0.lock();
            while !*open && clock.now() < until {
                clock.wait_until(&shared.1, &mut open, until);
            }
            *open
        })
    };
    let late = wait();
    time.await_waiting(1);
    time.advance(HOUR);
    assert!(!late.join().expect("it ends at its deadline"));
    let early = wait();
    *shared.0.lock() = true;
    shared.1.notify_all();
    assert!(early.join().expect("it ends by the notice"));
}

#[test]
fn a_step_of_the_wall_clock_leaves_the_monotonic_one() {
    let time = virtual_clock();
    let clock = time.clock();
    let start = clock.now();
    time.advance(HOUR);
    assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + 1001 * HOUR);
    for wall in [5 * HOUR, 9000 * HOUR] {
        time.set_wall(SystemTime::UNIX_EPOCH + wall);
        assert_eq!(
            (clock.wall(), clock.elapsed(start)),
            (SystemTime::UNIX_EPOCH + wall, HOUR)
        );
    }
    time.advance(HOUR);
    assert_eq!(
        (clock.wall(), clock.elapsed(start)),
        (SystemTime::UNIX_EPOCH + 9001 * HOUR, 2 * HOUR)
    );
}

#[test]
fn the_systems_clock_is_the_default() {
    let clock = super::Clock::default();
    let before = Instant::now();
    let now = clock.now();
    assert!(before <= now && now <= Instant::now());
    assert_eq!(clock.elapsed(now + HOUR), Duration::ZERO);
    assert!(clock.deadline(Duration::MAX) > now + HOUR);
}
