//! A bounded queue between many senders and many workers, with a policy for a full queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_config::{IntakeConfig, WhenFull};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// First in, first out, with a fixed capacity.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    freed: Condvar,
    capacity: usize,
    clock: Clock,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<Entry<T>>,
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    since: Instant,
    /// Whether it was pushed with [`FullPolicy::Wait`].
    patient: bool,
}

/// What to do with an item when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullPolicy {
    /// Wait until there is room. [`FullPolicy::DropOldest`] never displaces such an item.
    Wait,
    /// Wait this long for room.
    WaitFor(Duration),
    /// Drop the oldest item that was not pushed with [`FullPolicy::Wait`]. If there is none, refuse the new item.
    DropOldest,
    /// Refuse the new item.
    DropNewest,
}

impl FullPolicy {
    /// The policy of `[intake]`.
    pub fn of(intake: &IntakeConfig) -> Self {
        match intake.when_full {
            WhenFull::Block => Self::WaitFor(Duration::from_millis(intake.block_timeout_ms)),
            WhenFull::DropOldest => Self::DropOldest,
            WhenFull::DropNewest => Self::DropNewest,
        }
    }
}

/// The result of a push.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It waits in the queue.
    Stored,
    /// It waits in the queue, and this older item was dropped.
    Displaced(T),
    /// It was not taken.
    Refused(T, PushError),
}

/// Why an item was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// The queue was full.
    Full,
    /// The queue was full until the timeout.
    Timeout,
    /// The queue is closed.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue for `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            freed: Condvar::new(),
            capacity: capacity.max(1),
            clock: Clock::system(),
        }
    }

    /// The same queue, with the limits of its waits by `clock`.
    #[must_use]
    pub fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The most waiting items.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of waiting items.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// How long the oldest item has waited in the queue. `None` if nothing waits.
    pub fn oldest_age(&self) -> Option<Duration> {
        let since = self.lock().items.front()?.since;
        Some(self.clock.elapsed(since))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an item; `full` applies if the queue is full.
    pub fn push(&self, item: T, full: FullPolicy) -> Pushed<T> {
        let mut state = self.lock();
        let mut displaced = None;
        if state.items.len() >= self.capacity && !state.closed {
            state = match full {
                FullPolicy::Wait => self.wait_for_room(state, None),
                FullPolicy::WaitFor(limit) => self.wait_for_room(state, Some(limit)),
                FullPolicy::DropOldest => {
                    let Some(oldest) = state.items.iter().position(|w| !w.patient) else {
                        return Pushed::Refused(item, PushError::Full);
                    };
                    displaced = state.items.remove(oldest);
                    state
                }
                FullPolicy::DropNewest => return Pushed::Refused(item, PushError::Full),
            };
        }
        if state.closed {
            return Pushed::Refused(item, PushError::Closed);
        }
        if state.items.len() >= self.capacity {
            return Pushed::Refused(item, PushError::Timeout);
        }
        let patient = full == FullPolicy::Wait;
        state.items.push_back(Entry {
            item,
            since: self.clock.now(),
            patient,
        });
        drop(state);
        self.filled.notify_one();
        displaced.map_or(Pushed::Stored, |oldest| Pushed::Displaced(oldest.item))
    }

    /// Takes the oldest item; waits for one. `None` once the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        self.pop_ready(|| |_: &T| true, |item| item)
    }

    /// Takes the oldest ready item; waits for one. `look` returns the check for readiness, once per scan of the queue. `place` stores
    /// the item before another thread can see the queue without it. Neither may use the queue. Call [`Queue::notify_ready`] after an
    /// item has become ready.
    pub fn pop_ready<R: Fn(&T) -> bool, P>(
        &self,
        look: impl Fn() -> R,
        place: impl FnOnce(T) -> P,
    ) -> Option<P> {
        let mut state = self.lock();
        loop {
            let oldest = {
                let ready = look();
                state.items.iter().position(|waiting| ready(&waiting.item))
            };
            if let Some(waiting) = oldest.and_then(|at| state.items.remove(at)) {
                let placed = place(waiting.item);
                drop(state);
                self.freed.notify_one();
                return Some(placed);
            }
            if state.closed && state.items.is_empty() {
                // Wakes the threads that wait for a ready item.
                self.filled.notify_all();
                return None;
            }
            self.filled.wait(&mut state);
        }
    }

    /// Wakes the threads that wait for a ready item.
    pub fn notify_ready(&self) {
        // Under the lock, so that no thread is between its scan and its wait.
        let _state = self.lock();
        self.filled.notify_all();
    }

    /// Refuses further items. Waiting items can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.freed.notify_all();
    }

    /// Takes all waiting items, oldest first.
    pub fn take_all(&self) -> Vec<T> {
        let items = self.lock().items.drain(..).map(|w| w.item).collect();
        self.freed.notify_all();
        self.filled.notify_all();
        items
    }

    /// Waits until there is room, the queue is closed, or the time is over.
    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State<T>> {
        let until = limit.map(|limit| self.clock.deadline(limit));
        while state.items.len() >= self.capacity && !state.closed {
            match until {
                None => {
                    self.freed.wait(&mut state);
                }
                Some(until) if self.clock.now() >= until => break,
                Some(until) => self.clock.wait_until(&self.freed, &mut state, until),
            }
        }
        state
    }

    // Each change under the lock is a single step, so the state is consistent even after a panic in `place`.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }
}
