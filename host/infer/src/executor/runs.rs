//! Tracking of the runs of a model: every run gets exactly one result and is counted exactly once.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Serialize;

use crate::backend::Stop;
use crate::{RunError, Tensor};

/// Most queued runs of one model. Further ones are refused, so that senders slow down.
const MAX_WAITING: usize = 256;

/// The result of a run: the outputs in the order of the file.
pub(crate) type Outcome = Result<Vec<Tensor>, RunError>;

/// Counters of a model since it was loaded. `runs` = succeeded + `failed` + `abandoned` + the part of `in_flight` that is not
/// abandoned. A run that ends at the same time as it is abandoned counts as what its caller got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Runs that started.
    pub runs: u64,
    /// Runs that started and returned an error to their caller.
    pub failed: u64,
    /// Runs whose deadline passed while they ran.
    pub abandoned: u64,
    /// Runs whose deadline passed in the queue. They never started.
    pub expired: u64,
    /// Runs that were refused because the queue was full or no thread could be started. They never started.
    pub refused: u64,
    /// Runs that started and have not ended, including abandoned ones.
    pub in_flight: u64,
    /// Queued runs.
    pub waiting: u64,
    /// Batches of several runs.
    pub batches: u64,
}

/// Runs that are one run for the backend. It is cancelled when none of their callers waits any more.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) stop: Stop,
    waited_for: AtomicUsize,
}

#[derive(Debug)]
enum RunPhase {
    /// In the queue.
    Waiting,
    Running(Arc<Group>),
    Done(Outcome),
    /// The caller has its result.
    Answered,
}

/// One run, shared by its caller and the thread that runs it.
#[derive(Debug)]
pub(crate) struct Run {
    deadline: Option<Instant>,
    phase: Mutex<RunPhase>,
    done: Condvar,
}

impl Run {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn phase(&self) -> MutexGuard<'_, RunPhase> {
        self.phase.lock()
    }

    /// Waits for the outcome until the deadline.
    fn wait(&self) -> Option<Outcome> {
        let mut phase = self.phase();
        loop {
            if matches!(*phase, RunPhase::Done(_)) {
                return take(&mut phase);
            }
            match self.deadline {
                None => self.done.wait(&mut phase),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.done.wait_for(&mut phase, left);
                }
            }
        }
    }
}

fn take(phase: &mut RunPhase) -> Option<Outcome> {
    match mem::replace(phase, RunPhase::Answered) {
        RunPhase::Done(outcome) => Some(outcome),
        other => {
            *phase = other;
            None
        }
    }
}

/// The runs of one model. A run changes its phase and the counters in one step: the counters are locked first.
#[derive(Debug, Default)]
pub(crate) struct RunTracker {
    usage: Mutex<Usage>,
}

impl RunTracker {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock()
    }

    pub(crate) fn read(&self) -> Usage {
        *self.usage()
    }

    /// Adds a run to the queue.
    pub(crate) fn arrive(&self, deadline: Option<Instant>) -> Result<Arc<Run>, RunError> {
        let mut usage = self.usage();
        if usage.waiting >= MAX_WAITING as u64 {
            usage.refused += 1;
            let waiting = MAX_WAITING;
            return Err(RunError::Busy { waiting });
        }
        usage.waiting += 1;
        Ok(Arc::new(Run {
            deadline,
            phase: Mutex::new(RunPhase::Waiting),
            done: Condvar::new(),
        }))
    }

    /// Starts those of `runs` whose callers still wait, as one group.
    pub(crate) fn begin<'a>(
        &self,
        runs: impl Iterator<Item = &'a Arc<Run>>,
    ) -> (Arc<Group>, Vec<bool>) {
        let group = Arc::new(Group {
            stop: Stop::default(),
            waited_for: AtomicUsize::new(0),
        });
        let mut usage = self.usage();
        let now = Instant::now();
        let begun = runs.map(|run| {
            let mut phase = run.phase();
            // The caller of a late run has not woken up yet, and will count it.
            let late = run.deadline.is_some_and(|deadline| deadline <= now);
            if late || !matches!(*phase, RunPhase::Waiting) {
                return false;
            }
            *phase = RunPhase::Running(group.clone());
            group.waited_for.fetch_add(1, Ordering::Relaxed);
            usage.waiting -= 1;
            usage.runs += 1;
            usage.in_flight += 1;
            true
        });
        let begun: Vec<bool> = begun.collect();
        if group.waited_for.load(Ordering::Relaxed) > 1 {
            usage.batches += 1;
        }
        drop(usage);
        (group, begun)
    }

    /// Moves a run of a group into its own group, unless it was abandoned.
    pub(crate) fn single_out(&self, run: &Run) -> Option<Arc<Group>> {
        let usage = self.usage();
        let mut phase = run.phase();
        let RunPhase::Running(old) = &*phase else {
            return None;
        };
        old.waited_for.fetch_sub(1, Ordering::Relaxed);
        let group = Arc::new(Group {
            stop: Stop::default(),
            waited_for: AtomicUsize::new(1),
        });
        *phase = RunPhase::Running(group.clone());
        drop(usage);
        Some(group)
    }

    /// Records the end of a started run, and passes the outcome to its caller, unless it gave up.
    pub(crate) fn end(&self, run: &Run, outcome: Outcome) {
        let mut usage = self.usage();
        usage.in_flight -= 1;
        let mut phase = run.phase();
        if matches!(*phase, RunPhase::Running(_)) {
            usage.failed += u64::from(outcome.is_err());
            *phase = RunPhase::Done(outcome);
        }
        drop(phase);
        drop(usage);
        run.done.notify_one();
    }

    /// Fails a queued run that cannot start.
    pub(crate) fn cancel(&self, run: &Run, error: RunError) {
        let mut usage = self.usage();
        let mut phase = run.phase();
        if matches!(*phase, RunPhase::Waiting) {
            usage.waiting -= 1;
            usage.refused += 1;
            *phase = RunPhase::Done(Err(error));
        }
        drop(phase);
        drop(usage);
        run.done.notify_one();
    }

    /// Waits for the result of a run: its outcome, or that its deadline passed.
    pub(crate) fn answer(&self, run: &Run) -> Outcome {
        if let Some(outcome) = run.wait() {
            return outcome;
        }
        let mut usage = self.usage();
        let mut phase = run.phase();
        if let Some(outcome) = take(&mut phase) {
            return outcome;
        }
        match mem::replace(&mut *phase, RunPhase::Answered) {
            RunPhase::Running(group) => {
                usage.abandoned += 1;
                if group.waited_for.fetch_sub(1, Ordering::Relaxed) == 1 {
                    group.stop.stop();
                }
            }
            RunPhase::Waiting => {
                usage.waiting -= 1;
                usage.expired += 1;
            }
            RunPhase::Done(_) | RunPhase::Answered => {}
        }
        Err(RunError::Deadline)
    }
}
