//! Messages and answers on their way out. One thread hands them to Zenoh, in order, so that nothing that produces them waits for a peer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use zenoh::Session;

use super::LinkError;
use super::outgoing::{Caller, JSON, Lane, Outgoing};

/// Most messages and answers that wait.
pub const MAX_WAITING: usize = 1_024;
/// Most bytes of payload that wait. A larger message waits alone.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// A queue of what is to leave. Clones are the same queue; with the last one its thread ends.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

#[derive(Debug)]
enum Parcel {
    Message(Outgoing, Lane),
    Answer(Caller, Vec<Outgoing>),
    Denial(Caller, Vec<u8>),
}

impl Parcel {
    fn size(&self) -> usize {
        match self {
            Self::Message(message, _) => message.size(),
            Self::Answer(_, messages) => messages.iter().map(Outgoing::size).sum(),
            Self::Denial(_, why) => why.len(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    session: Session,
    /// What its thread is a part of.
    parts: Supervisor,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Parcel>,
    bytes: usize,
    has_thread: bool,
    /// The thread has something in its hands.
    busy: bool,
    closed: bool,
}

#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Outbox {
    /// An empty one. Its thread starts with the first message.
    pub fn new(session: Session, parts: &Supervisor) -> Self {
        let shared = Arc::new(Shared {
            session,
            parts: parts.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        Self {
            _end: Arc::new(End(Arc::clone(&shared))),
            shared,
        }
    }

    /// Publishes a message soon.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub fn put(&self, message: Outgoing, lane: Lane) -> Result<(), LinkError> {
        self.push(Parcel::Message(message, lane))
    }

    /// Answers with all of these soon.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub fn answer(&self, caller: Caller, messages: Vec<Outgoing>) -> Result<(), LinkError> {
        self.push(Parcel::Answer(caller, messages))
    }

    /// Answers soon that there is nothing, and why.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub fn deny(&self, caller: Caller, why: Vec<u8>) -> Result<(), LinkError> {
        self.push(Parcel::Denial(caller, why))
    }

    fn push(&self, parcel: Parcel) -> Result<(), LinkError> {
        let size = parcel.size();
        let mut state = self.shared.lock();
        let is_full = state.waiting.len() >= MAX_WAITING
            || (!state.waiting.is_empty() && state.bytes.saturating_add(size) > MAX_WAITING_BYTES);
        if state.closed || is_full {
            let waiting = state.waiting.len();
            // Not under the lock: with a caller goes the last word to its peer.
            drop(state);
            drop(parcel);
            return Err(LinkError::Full { waiting });
        }
        if !state.has_thread {
            let shared = Arc::clone(&self.shared);
            self.shared
                .parts
                .restarted("outbox", move || {
                    shared.run();
                    Ok(())
                })
                .map_err(|source| LinkError::Thread { source })?;
            state.has_thread = true;
        }
        state.bytes += size;
        state.waiting.push_back(parcel);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until all has left, at most so long, and takes nothing more.
    pub fn close(&self, patience: Duration) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, patience, |state| {
                state.has_thread && (state.busy || !state.waiting.is_empty())
            })
            .unwrap_or_else(PoisonError::into_inner);
        let left = state.waiting.len();
        drop(state);
        if left > 0 {
            tracing::warn!(left, "messages could not leave before the end");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(parcel) = self.next() {
            if let Err(error) = self.send(parcel) {
                tracing::warn!(%error, "a message could not be sent");
            }
        }
    }

    fn next(&self) -> Option<Parcel> {
        let mut state = self.lock();
        state.busy = false;
        loop {
            if let Some(parcel) = state.waiting.pop_front() {
                state.bytes = state.bytes.saturating_sub(parcel.size());
                state.busy = true;
                return Some(parcel);
            }
            self.changed.notify_all();
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn send(&self, parcel: Parcel) -> Result<(), LinkError> {
        match parcel {
            Parcel::Message(message, lane) => message.put(&self.session, lane),
            Parcel::Answer(caller, messages) => {
                messages.into_iter().try_for_each(|m| caller.answer(m))
            }
            Parcel::Denial(caller, why) => caller.deny(why, JSON),
        }
    }
}
