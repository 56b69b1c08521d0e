//! Outputs that must arrive: they are kept in the outbox, and delivered to the collectors of the site, or to a broker of MQTT (0083).
//!
//! A worker offers an output and goes on. The answer to its sample is sent once the output is on the disk.

mod delivery;
mod figures;
mod mqtt;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, chain};
use hotshoe_config::{Config, OutboxConfig};
use hotshoe_egress::Egress;
use hotshoe_link::Link;
use hotshoe_outbox::{
    AppendError, EraseError, Erased, Limits, OpenError, Options, Outbox, Priority, Record,
    SourceStats, Ticket,
};
use hotshoe_protocol::status::OutboxStatus;
use hotshoe_sealing::AtRest;
use hotshoe_trust::{DataPriority, NamedClass, TrustRoot};
use parking_lot::Mutex;

use delivery::Delivery;
use figures::Figures;

/// The folder in the data folder.
const FOLDER: &str = "outbox";
/// Most answers that wait for a commit; further ones are sent at once.
const WAITING_ANSWERS: usize = 256;
/// The longest time that an answer waits for its commit.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// Offers outputs to the outbox, from any thread.
pub(crate) struct DurableOutputs {
    /// `None` if it cannot be opened.
    outbox: Option<Outbox>,
    /// The durable outputs of the config. Each is a source.
    outputs: BTreeMap<Arc<str>, Priority>,
    /// `None` once the daemon stops.
    answers: Mutex<Option<SyncSender<Waiting>>>,
    figures: Arc<Figures>,
    clock: Clock,
}

/// An answer that waits for records.
struct Waiting {
    tickets: Vec<Ticket>,
    until: Instant,
    send: Box<dyn FnOnce() + Send>,
}

impl DurableOutputs {
    /// Keeps an output, if the operator or its class says that it is durable. Never waits: where the outbox has no room, a loss names the record.
    pub(crate) fn offer(
        &self,
        output: &str,
        class: &NamedClass,
        body: impl FnOnce() -> Egress,
    ) -> Option<Ticket> {
        let outbox = self.outbox.as_ref()?;
        let (source, priority) = match self.outputs.get_key_value(output) {
            Some((source, priority)) => (Arc::clone(source), *priority),
            None if class.class.durable => (Arc::from(output), priority_of(class.class.priority)),
            None => return None,
        };
        let record = Record {
            source,
            class: Arc::from(class.name.as_str()),
            priority,
            retention: (class.class.retention).map(|it| Duration::from_secs(it.seconds())),
            payload: body().into_bytes(),
        };
        outbox
            .offer(record)
            .inspect_err(|error| self.figures.refused(error))
            .ok()
    }

    /// Sends an answer once these records are durable, or lost, on another thread.
    pub(crate) fn after(&self, tickets: Vec<Ticket>, send: impl FnOnce() + Send + 'static) {
        let waiting = Waiting {
            tickets,
            // From now on: answers that wait one after the other do not add up.
            until: self.clock.deadline(LONGEST_ANSWER),
            send: Box::new(send),
        };
        let queued = match &*self.answers.lock() {
            Some(answers) => answers.try_send(waiting),
            None => Err(TrySendError::Disconnected(waiting)),
        };
        if let Err(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) = queued {
            (waiting.send)();
        }
    }

    /// What there is of each source. Waits for a commit that runs.
    pub(crate) fn sources(&self) -> Vec<SourceStats> {
        self.outbox.as_ref().map_or_else(Vec::new, Outbox::sources)
    }

    /// Erases a source. `None` if the outbox cannot be used.
    pub(crate) fn erase(&self, source: &str) -> Option<Result<Erased, EraseError>> {
        self.outbox.as_ref().map(|outbox| outbox.erase(source))
    }

    /// The state, as it was at most a second ago.
    pub(crate) fn status(&self) -> OutboxStatus {
        self.figures.status()
    }
}

/// The threads of the outbox: `outbox` writes, `outbox-answers` sends answers, and `outbox-delivery` delivers.
pub(crate) struct OutboxPart {
    outputs: Arc<DurableOutputs>,
    wake: Arc<Wake>,
    /// Closed when the threads have ended.
    ended: Receiver<Infallible>,
    clock: Clock,
}

/// Wakes the delivery.
struct Wake {
    sender: SyncSender<()>,
    is_stopping: AtomicBool,
}

impl Wake {
    fn wake(&self) {
        // One pending wake-up is enough.
        let _ = self.sender.try_send(());
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl OutboxPart {
    /// Opens the outbox of the locked data folder, if anything is durable. A device whose outbox cannot be opened serves all the same, and
    /// its status says why.
    pub(crate) fn start(
        config: &Config,
        at_rest: &AtRest,
        trust: Arc<ArcSwap<TrustRoot>>,
        link: &Arc<Link>,
    ) -> Option<Self> {
        let supervisor = link.parts();
        let own = &config.outbox;
        if !own.is_enabled() {
            return None;
        }
        let figures = Arc::new(Figures::default());
        let opened = open(config, at_rest, supervisor).inspect_err(|error| {
            figures.unusable(error);
            tracing::error!(
                cause = chain(error),
                "the outbox cannot be used; nothing is durable"
            );
        });
        let (sender, woken) = sync_channel(1);
        let wake = Arc::new(Wake {
            sender,
            is_stopping: AtomicBool::new(false),
        });
        let (thread_runs, ended) = channel::<Infallible>();
        let (outbox, answers) = match opened {
            Ok(outbox) => {
                let answers = answer(supervisor, thread_runs.clone());
                let secrets = config.secret_source(at_rest);
                let delivery =
                    Delivery::new((config, secrets), &outbox, trust, link, &wake, &figures);
                deliver(supervisor, delivery, woken, thread_runs);
                (Some(outbox), answers)
            }
            Err(_) => (None, None),
        };
        Some(Self {
            outputs: Arc::new(DurableOutputs {
                outbox,
                outputs: outputs(own),
                answers: Mutex::new(answers),
                figures,
                clock: supervisor.clock().clone(),
            }),
            wake,
            ended,
            clock: supervisor.clock().clone(),
        })
    }

    /// What workers offer outputs to.
    pub(crate) fn outputs(&self) -> Arc<DurableOutputs> {
        Arc::clone(&self.outputs)
    }

    /// Writes what was offered, sends the answers that wait for it, and ends the delivery. Undelivered records stay for the next start.
    pub(crate) fn stop(self, limit: Duration) {
        let until = self.clock.deadline(limit);
        self.outputs.answers.lock().take();
        self.wake.stop();
        if let Some(outbox) = &self.outputs.outbox
            && !outbox.close(until)
        {
            tracing::warn!("the outbox has not written all that was offered");
        }
        if self.clock.recv_until(&self.ended, until) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!(
                "a batch of the outbox is on its way; it comes again after the next start"
            );
        }
    }
}

impl Drop for OutboxPart {
    fn drop(&mut self) {
        self.wake.stop();
    }
}

fn open(config: &Config, at_rest: &AtRest, supervisor: &Supervisor) -> Result<Outbox, OpenError> {
    let own = &config.outbox;
    let disk = Disk::new(Faults::never());
    let mut options = Options::new(config.data.join(FOLDER), disk, supervisor);
    options.at_rest = at_rest.clone();
    options.limits = Limits {
        bytes: own.max_bytes,
        age: own.max_age(),
        commit_window: own.commit_window(),
        ..Limits::default()
    };
    let (outbox, recovery) = Outbox::open(options)?;
    if recovery.is_copy {
        tracing::warn!("the outbox is a copy of another one: its epoch has risen");
    }
    for loss in &recovery.losses {
        let (source, from, to, cause) = (&loss.source, loss.from, loss.to, loss.cause.name());
        tracing::error!(%source, from, to, cause, "the outbox lost records");
    }
    Ok(outbox)
}

fn outputs(config: &OutboxConfig) -> BTreeMap<Arc<str>, Priority> {
    let outputs = config.durable.iter();
    outputs
        .map(|(name, priority)| (Arc::from(name.as_str()), priority_of(*priority)))
        .collect()
}

const fn priority_of(priority: DataPriority) -> Priority {
    match priority {
        DataPriority::Critical => Priority::Critical,
        DataPriority::High => Priority::High,
        DataPriority::Normal => Priority::Normal,
        DataPriority::Low => Priority::Low,
    }
}

/// Starts the thread that sends answers. Without it they are sent at once.
fn answer(
    supervisor: &Supervisor,
    runs: std::sync::mpsc::Sender<Infallible>,
) -> Option<SyncSender<Waiting>> {
    let (sender, waiting) = sync_channel::<Waiting>(WAITING_ANSWERS);
    let started = supervisor.restarted("outbox-answers", move || {
        let _ = &runs;
        while let Ok(Waiting {
            tickets,
            until,
            send,
        }) = waiting.recv()
        {
            for ticket in tickets {
                if let Err(error) = ticket.wait(until) {
                    note(&error);
                }
            }
            send();
        }
        Ok(())
    });
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "cannot start a thread; answers do not wait for the outbox");
            None
        }
    }
}

/// A record that was not accepted is a loss, which the status counts.
fn note(error: &AppendError) {
    let (name, cause) = (error.name(), chain(error));
    tracing::debug!(name, cause, "a record was not kept");
}

/// Starts the thread that delivers.
fn deliver(
    supervisor: &Supervisor,
    mut delivery: Delivery,
    woken: Receiver<()>,
    runs: std::sync::mpsc::Sender<Infallible>,
) {
    let started = supervisor.restarted("outbox-delivery", move || {
        let _ = &runs;
        delivery.run(&woken).map_err(|error| error.to_string())
    });
    if let Err(error) = started {
        tracing::error!(%error, "cannot start a thread; the outbox keeps its records");
    }
}
