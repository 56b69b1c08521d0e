//! A clock for tests. It stands still until the test advances it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Clock;

/// How often a wait for something else than the clock looks at the clock, in real time: a channel and a condition variable
/// of the caller cannot be waited for together with the clock's own.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// How long, in real time, a woken thread may run before the clock goes on without it: it may have ended, or wait for something else.
const GRACE: Duration = Duration::from_millis(200);

/// A clock for tests that only moves when it is advanced.
#[derive(Debug)]
pub struct VirtualClock(Arc<Virtual>);

#[derive(Debug)]
pub(super) struct Virtual {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

/// Every time in here is an offset from [`Virtual::start`].
#[derive(Debug)]
struct State {
    now: Duration,
    /// A wall time, and when it was set.
    wall: (SystemTime, Duration),
    /// What each thread that has waited does.
    threads: HashMap<ThreadId, Thread>,
}

#[derive(Debug, Clone, Copy)]
enum Thread {
    Waits { until: Duration },
    Runs,
}

impl VirtualClock {
    /// A clock that shows `wall` until it is advanced.
    pub fn at(wall: SystemTime) -> Self {
        let state = State {
            now: Duration::ZERO,
            wall: (wall, Duration::ZERO),
            threads: HashMap::new(),
        };
        Self(Arc::new(Virtual {
            start: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    /// What the parts under test are given.
    pub fn clock(&self) -> Clock {
        Clock(Some(Arc::clone(&self.0)))
    }

    /// Moves both clocks forward. It stops at the deadline of each wait in turn, and goes on when the woken threads wait again
    /// or have run for 200 ms of real time.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        let target = state.now.saturating_add(by);
        // The caller may have waited on this clock before. It does not wait now.
        state.threads.remove(&thread::current().id());
        loop {
            state = self.0.settle(state);
            let Some(next) = state
                .deadlines()
                .filter(|until| (state.now..=target).contains(until))
                .min()
            else {
                break;
            };
            state.now = next;
            state = self.0.wake_due(state);
        }
        state.now = target;
        self.0.changed.notify_all();
    }

    /// Sets the wall clock alone, as NTP and an operator do.
    pub fn set_wall(&self, wall: SystemTime) {
        let mut state = self.0.lock();
        state.wall = (wall, state.now);
    }

    /// Blocks until at least `threads` threads wait on this clock, so that an advance meets their deadlines.
    ///
    /// # Panics
    /// If they do not within 10 s of real time.
    pub fn await_waiting(&self, threads: usize) {
        let limit = Instant::now() + Duration::from_secs(10);
        let mut state = self.0.lock();
        while state.deadlines().count() < threads {
            assert!(
                Instant::now() < limit,
                "{} of {threads} threads wait on the clock",
                state.deadlines().count()
            );
            self.0.wait_change(&mut state, limit);
        }
    }
}

impl State {
    fn deadlines(&self) -> impl Iterator<Item = Duration> {
        self.threads.values().filter_map(|thread| match thread {
            Thread::Waits { until } => Some(*until),
            Thread::Runs => None,
        })
    }
}

impl Virtual {
    pub(super) fn now(&self) -> Instant {
        self.start + self.lock().now
    }

    pub(super) fn wall(&self) -> SystemTime {
        let state = self.lock();
        let (wall, set_at) = state.wall;
        wall + state.now.saturating_sub(set_at)
    }

    pub(super) fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        self.waiting(until, || {
            let mut state = self.lock();
            while self.start + state.now < until {
                self.changed.wait(&mut state);
            }
        });
    }

    pub(super) fn recv_until<T>(
        &self,
        receiver: &Receiver<T>,
        until: Instant,
    ) -> Result<T, RecvTimeoutError> {
        // The first look is before the wait is known, so a message that is there costs no deadline.
        if let Ok(message) = receiver.try_recv() {
            return Ok(message);
        }
        self.waiting(until, || {
            loop {
                match receiver.recv_timeout(POLL) {
                    Err(RecvTimeoutError::Timeout) if self.now() < until => {}
                    // A message may come between the two looks.
                    Err(RecvTimeoutError::Timeout) => {
                        return receiver.try_recv().map_err(|_| RecvTimeoutError::Timeout);
                    }
                    received => return received,
                }
            }
        })
    }

    /// Runs `wait`, and lets an advance know that the calling thread waits meanwhile.
    pub(super) fn waiting<R>(&self, until: Instant, wait: impl FnOnce() -> R) -> R {
        let until = until.saturating_duration_since(self.start);
        self.note(Thread::Waits { until });
        let result = wait();
        self.note(Thread::Runs);
        result
    }

    fn note(&self, thread: Thread) {
        self.lock().threads.insert(thread::current().id(), thread);
        self.changed.notify_all();
    }

    /// Waits until every thread that has waited before waits again, and forgets those that do not.
    fn settle<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let limit = Instant::now() + GRACE;
        while state
            .threads
            .values()
            .any(|thread| matches!(thread, Thread::Runs))
            && Instant::now() < limit
        {
            self.wait_change(&mut state, limit);
        }
        state
            .threads
            .retain(|_, thread| matches!(thread, Thread::Waits { .. }));
        state
    }

    /// Wakes those whose deadline has come, and waits until they run.
    fn wake_due<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.notify_all();
        let limit = Instant::now() + GRACE;
        let now = state.now;
        while state.deadlines().any(|until| until <= now) && Instant::now() < limit {
            self.wait_change(&mut state, limit);
        }
        // One that still waits needs something that others hold. It is not waited for again.
        state
            .threads
            .retain(|_, thread| !matches!(thread, Thread::Waits { until } if *until <= now));
        state
    }

    fn wait_change(&self, state: &mut MutexGuard<'_, State>, limit: Instant) {
        let left = limit.saturating_duration_since(Instant::now());
        self.changed.wait_for(state, left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
