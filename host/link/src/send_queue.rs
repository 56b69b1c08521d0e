//! The queue of outgoing messages and answers. One thread passes them to Zenoh in order, so their producers never wait for a peer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use parking_lot::{Condvar, Mutex, MutexGuard};
use zenoh::Session;

use super::LinkError;
use super::outgoing::{IncomingQuery, JSON, Outgoing, QosClass};

/// Most queued messages and answers.
pub const MAX_WAITING: usize = 1_024;
/// Most bytes of queued payloads: 64 MiB. A larger message is accepted when the queue is empty.
pub const MAX_WAITING_BYTES: usize = 64 << 20;

/// Handle of the queue. Clones share it; dropping the last one ends its thread.
#[derive(Debug, Clone)]
pub(super) struct SendQueue {
    shared: Arc<Shared>,
    _end: Arc<CloseOnDrop>,
}

#[derive(Debug)]
enum QueuedMessage {
    Message(Outgoing, QosClass),
    Answer(IncomingQuery, Vec<Outgoing>),
    Denial(IncomingQuery, Vec<u8>),
}

impl QueuedMessage {
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
    supervisor: Supervisor,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<QueuedMessage>,
    bytes: usize,
    has_thread: bool,
    /// Whether the thread is sending a message.
    busy: bool,
    closed: bool,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl SendQueue {
    /// An empty queue. Its thread starts with the first message.
    pub(crate) fn new(session: Session, supervisor: &Supervisor) -> Self {
        let shared = Arc::new(Shared {
            session,
            supervisor: supervisor.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        Self {
            _end: Arc::new(CloseOnDrop(Arc::clone(&shared))),
            shared,
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub(crate) fn put(&self, message: Outgoing, qos: QosClass) -> Result<(), LinkError> {
        self.push(QueuedMessage::Message(message, qos))
    }

    /// Queues all of these as answers to a query.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub(crate) fn answer(
        &self,
        query: IncomingQuery,
        messages: Vec<Outgoing>,
    ) -> Result<(), LinkError> {
        self.push(QueuedMessage::Answer(query, messages))
    }

    /// Queues an error reply to a query.
    ///
    /// # Errors
    /// [`LinkError::Full`] and [`LinkError::Thread`].
    pub(crate) fn deny(&self, query: IncomingQuery, why: Vec<u8>) -> Result<(), LinkError> {
        self.push(QueuedMessage::Denial(query, why))
    }

    fn push(&self, message: QueuedMessage) -> Result<(), LinkError> {
        let size = message.size();
        let mut state = self.shared.lock();
        let is_full = state.waiting.len() >= MAX_WAITING
            || (!state.waiting.is_empty() && state.bytes.saturating_add(size) > MAX_WAITING_BYTES);
        if state.closed || is_full {
            let waiting = state.waiting.len();
            // Without the lock: dropping a query sends its final reply.
            drop(state);
            drop(message);
            return Err(LinkError::Full { waiting });
        }
        if !state.has_thread {
            let shared = Arc::clone(&self.shared);
            self.shared
                .supervisor
                .restarted("send", move || {
                    shared.run();
                    Ok(())
                })
                .map_err(|source| LinkError::Thread { source })?;
            state.has_thread = true;
        }
        state.bytes += size;
        state.waiting.push_back(message);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Refuses further messages, and waits until the queue is empty or the time is over.
    pub(crate) fn close(&self, timeout: Duration) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let clock = self.shared.supervisor.clock();
        let until = clock.deadline(timeout);
        while state.has_thread && (state.busy || !state.waiting.is_empty()) && clock.now() < until {
            clock.wait_until(&self.shared.changed, &mut state, until);
        }
        let left = state.waiting.len();
        drop(state);
        if left > 0 {
            tracing::warn!(left, "messages were not sent before the session closed");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn run(&self) {
        while let Some(message) = self.next() {
            if let Err(error) = self.send(message) {
                tracing::warn!(%error, "cannot send a message");
            }
        }
    }

    fn next(&self) -> Option<QueuedMessage> {
        let mut state = self.lock();
        state.busy = false;
        loop {
            if let Some(message) = state.waiting.pop_front() {
                state.bytes = state.bytes.saturating_sub(message.size());
                state.busy = true;
                return Some(message);
            }
            self.changed.notify_all();
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn send(&self, message: QueuedMessage) -> Result<(), LinkError> {
        match message {
            QueuedMessage::Message(message, qos) => message.put(&self.session, qos),
            QueuedMessage::Answer(query, messages) => {
                messages.into_iter().try_for_each(|m| query.answer(m))
            }
            QueuedMessage::Denial(query, why) => query.deny(why, JSON),
        }
    }
}
