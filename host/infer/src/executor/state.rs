//! What waits, what runs, and which slots are occupied.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

pub(super) type Work = Box<dyn FnOnce() + Send>;

/// Most runs that are given up at once.
const MAX_LOST: usize = 2;

/// What starts when a slot is free.
pub(super) enum Start {
    /// Work for a thread of the pool, and when its result is of no use any more.
    Work(Work, Option<Instant>),
    /// A waiting caller.
    Caller(Arc<Gate>),
}

/// Blocks a caller until a slot is free.
#[derive(Default)]
pub(super) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_one();
    }

    pub(super) fn pass(&self) {
        let mut open = self.open.lock();
        self.opened.wait_while(&mut open, |open| !*open);
    }
}

/// The queue and the limit of one model.
pub(super) struct ModelQueue {
    pub(super) most: usize,
    pub(super) taken: usize,
    /// FIFO queue, each entry with its ticket.
    pub(super) queue: VecDeque<(u64, Start)>,
}

/// Work that has a slot.
pub(super) struct Ready {
    pub(super) model: u64,
    pub(super) ticket: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) work: Work,
}

/// Work that a thread of the pool does.
pub(super) struct Busy {
    pub(super) model: u64,
    pub(super) deadline: Option<Instant>,
    /// Whether its slot was given to another thread.
    pub(super) is_lost: bool,
}

/// The slots, and the work of all models.
#[derive(Default)]
pub(super) struct State {
    pub(super) models: BTreeMap<u64, ModelQueue>,
    /// Models with queued work, in round-robin order.
    pub(super) order: VecDeque<u64>,
    /// Occupied slots.
    pub(super) taken: usize,
    pub(super) ready: VecDeque<Ready>,
    /// Work in progress, by its ticket.
    pub(super) busy: BTreeMap<u64, Busy>,
    /// How much of it is lost.
    pub(super) lost: usize,
    pub(super) threads: usize,
    pub(super) idle: usize,
    pub(super) closed: bool,
    last_id: u64,
}

impl State {
    pub(super) fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes a slot for the first entry of the next model. Returns the model, the ticket and the entry.
    pub(super) fn next(&mut self) -> Option<(u64, u64, Start)> {
        let free = |id: &u64| self.models.get(id).is_some_and(|s| s.taken < s.most);
        let position = self.order.iter().position(free)?;
        let id = self.order.remove(position)?;
        let model = self.models.get_mut(&id)?;
        let (ticket, start) = model.queue.pop_front()?;
        model.taken += 1;
        self.taken += 1;
        if !model.queue.is_empty() {
            self.order.push_back(id);
        }
        Some((id, ticket, start))
    }

    /// Frees the slots of runs that have not ended `after` their deadlines, at most [`MAX_LOST`] at once.
    pub(super) fn give_up(&mut self, after: Duration) {
        let now = Instant::now();
        for busy in self.busy.values_mut() {
            let late = busy
                .deadline
                .map(|deadline| now.saturating_duration_since(deadline));
            if busy.is_lost || self.lost >= MAX_LOST || late.is_none_or(|late| late <= after) {
                continue;
            }
            busy.is_lost = true;
            self.lost += 1;
            self.taken -= 1;
            if let Some(model) = self.models.get_mut(&busy.model) {
                model.taken -= 1;
            }
            tracing::error!(
                seconds = late.unwrap_or_default().as_secs(),
                "a run of a model has not ended since its deadline; another thread takes its place"
            );
        }
    }

    /// Records the end of work, and frees its slot, unless another thread has it.
    pub(super) fn end(&mut self, ticket: u64, model: u64) {
        let busy = self.busy.remove(&ticket);
        if busy.is_some_and(|busy| busy.is_lost) {
            self.lost -= 1;
        } else {
            self.leave(model);
        }
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.taken -= 1;
        // The model may be gone, since an abandoned run outlives it.
        if let Some(model) = self.models.get_mut(&id) {
            model.taken -= 1;
        }
    }
}
