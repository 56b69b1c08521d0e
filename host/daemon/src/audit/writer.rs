//! The thread that owns the audit log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hotshoe_audit::{AuditError, AuditKind, AuditLog, Entry, Limits, SignedHead, Signer};
use hotshoe_base::Clock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_trust::time_of;

use super::{AuditRecorder, Message};

/// Most records that one write has.
const MAX_BATCH: usize = 64;
/// Time after which records without a checkpoint get one.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Pause before a head is published again, because other machines may not have been connected. It doubles up to [`HEAD_INTERVAL`].
const FIRST_HEAD_INTERVAL: Duration = Duration::from_secs(5);
/// Longest such pause.
const HEAD_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(5);

/// Owns the log. Records that could not be written stay in its batch.
pub(super) struct Writer {
    data: PathBuf,
    signer: Option<Arc<Signer>>,
    recorder: AuditRecorder,
    clock: Clock,
    log: Option<AuditLog>,
    batch: Vec<Entry>,
    /// The last checkpoint; none since the start.
    checkpoint: Option<Instant>,
    /// When a failed write is tried again.
    retry: Option<Instant>,
    /// The last head.
    published: Option<PublishedHead>,
}

/// A published head, and when it is published again.
struct PublishedHead {
    head: SignedHead,
    pause: Duration,
    due: Instant,
}

impl Writer {
    pub(super) const fn new(
        data: PathBuf,
        signer: Option<Arc<Signer>>,
        recorder: AuditRecorder,
        clock: Clock,
    ) -> Self {
        Self {
            data,
            signer,
            recorder,
            clock,
            log: None,
            batch: Vec::new(),
            checkpoint: None,
            retry: None,
            published: None,
        }
    }

    /// Writes records until [`Message::Stop`].
    pub(super) fn run(
        &mut self,
        messages: &Receiver<Message>,
        on_head: &impl Fn(SignedHead),
        on_failure: &impl Fn(&AuditError),
    ) {
        loop {
            let until = self.retry.unwrap_or_else(|| self.next_due());
            let is_full = self.batch.len() >= MAX_BATCH;
            let mut is_last = false;
            if is_full {
                self.clock
                    .sleep(until.saturating_duration_since(self.clock.now()));
            } else {
                is_last = match self.clock.recv_until(messages, until) {
                    Ok(Message::Record(entry)) => {
                        self.batch.push(entry);
                        self.take_waiting(messages)
                    }
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                };
            }
            if is_last {
                self.batch.extend(self.recorder.take_suppressed());
                let stopped = self.recorder.entry(AuditKind::DaemonStopped);
                self.batch.push(stopped);
                self.retry = None;
            }
            if self.retry.is_none_or(|retry| retry <= self.clock.now()) {
                self.retry = None;
                match self.write(is_last) {
                    Ok(Some(head)) => self.publish(head, on_head),
                    Ok(None) => self.publish_again(on_head),
                    Err(error) => {
                        on_failure(&error);
                        self.retry = Some(self.clock.now() + RETRY);
                    }
                }
            }
            if is_last {
                // Another process may write the log from now on.
                self.log = None;
                return;
            }
        }
    }

    /// Takes what waits, so that one write has all of it. True if the daemon stops.
    fn take_waiting(&mut self, messages: &Receiver<Message>) -> bool {
        while self.batch.len() < MAX_BATCH {
            match messages.try_recv() {
                Ok(Message::Record(entry)) => self.batch.push(entry),
                Ok(Message::Stop) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// When the next checkpoint is due by time.
    fn checkpoint_due(&self) -> Instant {
        let last = self.checkpoint.unwrap_or_else(|| self.clock.now());
        last + CHECKPOINT_INTERVAL
    }

    /// When something is due by time.
    fn next_due(&self) -> Instant {
        let checkpoint = self.checkpoint_due();
        let published = self.published.as_ref();
        published.map_or(checkpoint, |it| checkpoint.min(it.due))
    }

    fn publish(&mut self, head: SignedHead, on_head: &impl Fn(SignedHead)) {
        on_head(head.clone());
        self.published = Some(PublishedHead {
            head,
            pause: FIRST_HEAD_INTERVAL,
            due: self.clock.now() + FIRST_HEAD_INTERVAL,
        });
    }

    fn publish_again(&mut self, on_head: &impl Fn(SignedHead)) {
        let now = self.clock.now();
        if let Some(published) = &mut self.published
            && published.due <= now
        {
            published.pause = published.pause.saturating_mul(2).min(HEAD_INTERVAL);
            published.due = now + published.pause;
            on_head(published.head.clone());
        }
    }

    /// Writes the batch, and a checkpoint if one is due.
    fn write(&mut self, is_last: bool) -> Result<Option<SignedHead>, AuditError> {
        let (now, instant) = (time_of(self.clock.wall()), self.clock.now());
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(AuditLog::open(
                &self.data,
                Disk::new(Faults::never()),
                Limits::default(),
                self.signer.clone(),
                now,
            )?),
        };
        // A batch that cannot be written does not grow with each try.
        let is_over = self.batch.len() > MAX_BATCH;
        let lost = if is_over {
            0
        } else {
            self.recorder.take_lost()
        };
        if lost > 0 {
            let entry = Entry::new(AuditKind::RecordsLost, now);
            let entry = entry.with("cause", "queue_full");
            self.batch.push(entry.with("records", lost.to_string()));
        }
        if !self.batch.is_empty() {
            log.append(&self.batch, now)?;
            self.batch.clear();
        }
        let last = self.checkpoint;
        let is_time = last.is_none_or(|last| last + CHECKPOINT_INTERVAL <= instant);
        if !log.is_checkpoint_due() && !(log.has_unsigned() && (is_time || is_last)) {
            if is_time {
                self.checkpoint = Some(instant);
            }
            return Ok(None);
        }
        let head = log.checkpoint(now)?;
        self.checkpoint = Some(instant);
        Ok(head)
    }
}
