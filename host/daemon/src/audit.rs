//! The part that writes the audit log. It knows neither the events nor the status: both are told through callbacks.

mod of_event;
mod recorder;
mod writer;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_audit::{AuditError, SignedHead, Signer};
use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;

use writer::Writer;

pub(crate) use of_event::{Audited, SIGNERS, entries};
pub(crate) use recorder::AuditRecorder;

/// Most records that wait to be written. Further ones are lost and counted.
const MAX_WAITING: usize = 1_024;
/// Timeout of the last records at the stop.
const STOP: Duration = Duration::from_secs(2);
/// Interval at which a full queue is tried again at the stop.
const STOP_POLL: Duration = Duration::from_millis(10);

/// What the writer receives.
#[derive(Debug)]
enum Message {
    /// An entry to record.
    Record(hotshoe_audit::Entry),
    /// The daemon stops.
    Stop,
}

/// The running part. Dropped, it writes what waits, and a last checkpoint.
pub(crate) struct AuditPart {
    clock: Clock,
    sender: SyncSender<Message>,
    recorder: AuditRecorder,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread has ended.
    ended: Receiver<Infallible>,
}

impl AuditPart {
    /// Starts the part for a data folder that this process has locked. `on_head` gets each signed head, `on_failure` each failed write.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn start(
        data: &Path,
        signer: Option<Signer>,
        supervisor: &Supervisor,
        on_head: impl Fn(SignedHead) + Send + 'static,
        on_failure: impl Fn(&AuditError) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = sync_channel(MAX_WAITING);
        let clock = supervisor.clock().clone();
        let recorder = AuditRecorder::new(sender.clone(), clock.clone());
        let (running, ended) = sync_channel::<Infallible>(0);
        let mut writer = Writer::new(
            data.to_owned(),
            signer.map(Arc::new),
            recorder.clone(),
            clock.clone(),
        );
        let mut running = Some(running);
        let thread = supervisor.restarted("audit", move || {
            writer.run(&messages, &on_head, &on_failure);
            drop(running.take());
            Ok(())
        })?;
        Ok(Self {
            clock,
            sender,
            recorder,
            thread: Some(thread),
            ended,
        })
    }

    /// Records entries.
    pub(crate) const fn recorder(&self) -> &AuditRecorder {
        &self.recorder
    }
}

impl Drop for AuditPart {
    fn drop(&mut self) {
        let deadline = self.clock.now() + STOP;
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Stop) {
            if deadline <= self.clock.now() {
                break;
            }
            self.clock.sleep(STOP_POLL);
        }
        let is_over = match self.clock.recv_until(&self.ended, deadline) {
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => true,
            Ok(_) | Err(std::sync::mpsc::RecvTimeoutError::Timeout) => false,
        };
        if let Some(thread) = self.thread.take().filter(|_| is_over) {
            let _ = thread.join();
        } else {
            tracing::warn!("the audit log is still being written; that ends with the process");
        }
    }
}
