//! Scheduling of model runs on a bounded number of threads.
//!
//! A run occupies one slot from its start to its real end, even if its caller has given up. The slots of a model are limited, so
//! that a slow model does not block the others, and waiting models are served round-robin. A run with a deadline runs on a thread of
//! the pool, since its caller may return earlier; a run without one runs on the caller's thread, when a slot is free.
//!
//! A run that has not ended long after its deadline hangs, or may as well: its slot is given to another thread. At most two runs at once are
//! given up so, because each keeps its thread and its memory.

mod runs;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use self::state::{Busy, Gate, ModelQueue, Ready, Start, State, Work};
pub use runs::Usage;
pub(crate) use runs::{Outcome, Run, RunTracker};

use crate::RunError;
use crate::backend::Stop;
use crate::guard::guard;

/// How long after its deadline a run that has not ended is given up.
const LOST_AFTER: Duration = Duration::from_secs(30);

struct Shared {
    slots: usize,
    lost_after: Duration,
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The number of slots that a model may take: at least 1, by default all but one.
    fn most(&self, wanted: Option<usize>) -> usize {
        wanted.unwrap_or(self.slots - 1).max(1)
    }

    /// Starts queued work while slots are free.
    fn dispatch(self: &Arc<Self>, state: &mut State) {
        state.give_up(self.lost_after);
        while state.taken < self.slots {
            let Some((model, ticket, start)) = state.next() else {
                return;
            };
            match start {
                Start::Caller(gate) => gate.open(),
                Start::Work(work, deadline) => {
                    state.ready.push_back(Ready {
                        model,
                        ticket,
                        deadline,
                        work,
                    });
                    if state.ready.len() > state.idle
                        && state.threads < self.slots + state.lost
                        && let Err(error) = self.spawn(state)
                    {
                        // At least one thread exists: nothing is queued before the first has started.
                        tracing::warn!(%error, "cannot start another thread for models");
                    }
                    self.work.notify_one();
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let shared = self.clone();
        let name = format!("infer-{}", state.threads + 1);
        thread::Builder::new()
            .name(name)
            .spawn(move || shared.serve())?;
        state.threads += 1;
        Ok(())
    }

    /// Main loop of a thread of the pool.
    fn serve(self: Arc<Self>) {
        let mut state = self.state();
        loop {
            if let Some(ready) = state.ready.pop_front() {
                let Ready {
                    model,
                    ticket,
                    deadline,
                    work,
                } = ready;
                let busy = Busy {
                    model,
                    deadline,
                    is_lost: false,
                };
                state.busy.insert(ticket, busy);
                drop(state);
                if let Err(message) = guard(work) {
                    tracing::error!(message, "the handling of a run panicked");
                }
                state = self.state();
                state.end(ticket, model);
                self.dispatch(&mut state);
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    }
}

/// The thread pool. Threads start on demand, and end with it and the last [`Lane`].
pub(crate) struct Executor {
    shared: Arc<Shared>,
}

impl Executor {
    /// `slots` is the number of concurrent runs of all models together, at least 1.
    pub(crate) fn new(slots: usize) -> Arc<Self> {
        Self::with(slots, LOST_AFTER)
    }

    fn with(slots: usize, lost_after: Duration) -> Arc<Self> {
        let shared = Shared {
            slots: slots.max(1),
            lost_after,
            state: Mutex::default(),
            work: Condvar::new(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
        })
    }

    /// Access for a model that may use `most` slots: at least 1, by default all but one.
    pub(crate) fn lane(self: &Arc<Self>, most: Option<usize>) -> Lane {
        let most = self.shared.most(most);
        let mut state = self.shared.state();
        let id = state.id();
        let model = ModelQueue {
            most,
            taken: 0,
            queue: VecDeque::new(),
        };
        state.models.insert(id, model);
        drop(state);
        Lane {
            executor: self.clone(),
            id,
            tracker: Arc::default(),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executor({} slots)", self.shared.slots)
    }
}

/// The access of one model to the pool.
#[derive(Debug)]
pub(crate) struct Lane {
    executor: Arc<Executor>,
    id: u64,
    tracker: Arc<RunTracker>,
}

/// A slot that a caller's thread occupies.
struct SlotGuard<'a>(&'a Lane);

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        let shared = &self.0.executor.shared;
        let mut state = shared.state();
        state.leave(self.0.id);
        shared.dispatch(&mut state);
    }
}

impl Lane {
    /// Runs `work` when a slot is free.
    ///
    /// # Errors
    /// The error of `work`; its panic; [`RunError::Deadline`] as soon as `deadline` passes, even if it has not started;
    /// [`RunError::Busy`].
    pub(crate) fn run(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&Stop) -> Outcome + Send + 'static,
    ) -> Outcome {
        let run = self.tracker.arrive(deadline)?;
        if deadline.is_none() {
            let slot = self.take_slot();
            perform(&self.tracker, &run, work);
            drop(slot);
            return self.tracker.answer(&run);
        }
        let (tracker, theirs) = (self.tracker.clone(), run.clone());
        let work = Box::new(move || perform(&tracker, &theirs, work));
        let ticket = self.submit(work, deadline).map_err(|error| {
            let source = error.into();
            self.tracker.cancel(&run, RunError::Failed { source });
        });
        let outcome = self.tracker.answer(&run);
        if let (Ok(ticket), Err(RunError::Deadline)) = (ticket, &outcome) {
            self.withdraw(ticket);
        }
        outcome
    }

    /// Changes the slots of the model to `most`; see [`Executor::lane`].
    pub(crate) fn limit(&self, most: Option<usize>) {
        let shared = &self.executor.shared;
        let mut state = shared.state();
        if let Some(model) = state.models.get_mut(&self.id) {
            model.most = shared.most(most);
        }
        shared.dispatch(&mut state);
    }

    pub(crate) fn tracker(&self) -> &Arc<RunTracker> {
        &self.tracker
    }

    pub(crate) fn usage(&self) -> Usage {
        self.tracker.read()
    }

    /// Queues `work` for a thread of the pool; its result is of no use after `deadline`. Returns a ticket for [`Self::withdraw`].
    pub(crate) fn submit(&self, work: Work, deadline: Option<Instant>) -> io::Result<u64> {
        let shared = &self.executor.shared;
        let mut state = shared.state();
        if state.threads == 0 {
            shared.spawn(&mut state)?;
        }
        Ok(self.queue(&mut state, Start::Work(work, deadline)))
    }

    /// Waits for a slot.
    fn take_slot(&self) -> SlotGuard<'_> {
        let gate = Arc::new(Gate::default());
        self.queue(
            &mut self.executor.shared.state(),
            Start::Caller(gate.clone()),
        );
        gate.pass();
        SlotGuard(self)
    }

    fn queue(&self, state: &mut State, start: Start) -> u64 {
        let ticket = state.id();
        if let Some(model) = state.models.get_mut(&self.id) {
            model.queue.push_back((ticket, start));
            if model.queue.len() == 1 {
                state.order.push_back(self.id);
            }
        }
        self.executor.shared.dispatch(state);
        ticket
    }

    /// Removes work from the queue.
    pub(crate) fn withdraw(&self, ticket: u64) {
        let mut state = self.executor.shared.state();
        if let Some(model) = state.models.get_mut(&self.id) {
            model.queue.retain(|(known, _)| *known != ticket);
            if model.queue.is_empty() {
                state.order.retain(|&id| id != self.id);
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.executor.shared.state();
        state.models.remove(&self.id);
        state.order.retain(|&id| id != self.id);
    }
}

/// Executes one run, unless its caller has given up.
fn perform(tracker: &RunTracker, run: &Arc<Run>, work: impl FnOnce(&Stop) -> Outcome) {
    let (group, begun) = tracker.begin(std::iter::once(run));
    if begun.contains(&true) {
        let outcome = guard(|| work(&group.stop));
        let panicked = |message| Err(RunError::Panicked { message });
        tracker.end(run, outcome.unwrap_or_else(panicked));
    }
}
