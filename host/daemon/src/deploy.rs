//! Deployment: decides which release serves. No other part of the daemon reads or writes the ledger.
//!
//! A statement says what a site should run. Its release is fetched, verified, staged, self-tested, run in shadow if it asks for that,
//! tried and confirmed, or refused with a stable name. One thread does all of it, so the ledger changes in one order.
//!
//! On that thread, each of these owns its state. Only the coordinator (`reconciler`) uses several of them:
//!
//! | owner | owns |
//! |---|---|
//! | `LedgerWriter` | store and ledger, transitions that wait to be written, the shared catalogue |
//! | `Serving` | the serving release, the previous one, the saved state of components |
//! | `Admission` | the received, refused, cancelled and executed statements; the queue of packages |
//! | `Transfers` | the two fetches |
//! | `Trial`, `Measurement` | probation and shadow; the figures of modes |
//! | `KindReleases` | for releases of the kinds `config` and `host`: each what the owners above do for pipelines |
//! | `DeviceRollouts` | the rollouts that the device is a member of, and its reports |
//! | `PendingRelease` | the release before its trial; `Candidate::step` (pure) returns the next step |
//! | `Loader` | engine, models, trusted keys |

mod admission;
pub mod candidate;
mod error;
mod fleet_config;
pub mod freshness;
pub mod health;
mod keyring;
mod kinds;
mod ledger_writer;
mod loader;
mod measurement;
mod message;
mod name_monitor;
mod package_queue;
mod peer_monitor;
mod pending_release;
mod reconciler;
mod reporter;
mod rollouts;
mod serving;
mod slot_signers;
mod start_record;
mod startup;
mod statement;
mod transfers;
mod trial;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_config::Config;
use hotshoe_delivery::{DeliveryConfig, Fetcher};
use hotshoe_engine::{CompileInterrupt, RaisedInterrupt};
use hotshoe_link::{Link, LinkError, NoticeSubscription, Orders, Sharing};
use hotshoe_store::Catalogue;
use hotshoe_trust::Time;
use serde_json::Value;

use crate::command::{Command, CommandError};
use crate::reload::RunningConfig;
use crate::serving::{PublishedStatus, Service};
use message::{Message, Reply};
use reconciler::{Dependencies, Reconciler};
use reporter::Reporter;

pub(crate) use hotshoe_base::chain;

pub use error::{DeployError, StoredTrustError};
pub use fleet_config::{FleetConfigError, InstalledKeys, installed_keys, load_config, releases_of};
pub use keyring::MAX_TRUST_BYTES;
pub use loader::{device_options, engine_options};
pub(crate) use start_record::StartRecord;
pub use startup::StartupState;

/// Most messages that wait for the deploy thread. The sender of a further one blocks.
const MAX_MESSAGES: usize = 64;
/// Timeout of an order or command, in seconds: a release may be loading.
const ANSWER_S: u64 = 60;
/// Interval at which a full queue is tried again at the stop.
const STOP_POLL: Duration = Duration::from_millis(10);

/// The deploy thread, and the sources of its messages.
pub struct Deployment {
    clock: Clock,
    sender: SyncSender<Message>,
    thread: JoinHandle<()>,
    /// Closed when the thread has ended.
    ended: Receiver<Infallible>,
    interrupt: Option<CompileInterrupt>,
    steps: Arc<AtomicU64>,
    _watches: ([NoticeSubscription; 3], Orders, Option<Sharing>),
}

/// Sends an operator's commands to the deploy thread.
pub struct DeploymentHandle {
    clock: Clock,
    sender: SyncSender<Message>,
    interrupt: Option<CompileInterrupt>,
}

impl DeploymentHandle {
    /// Sends a command, and waits for the answer. A command that [interrupts](Command::interrupts) ends a compilation that runs.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::Busy`] if there is no answer in time.
    pub fn send(&self, command: Command) -> Result<Value, CommandError> {
        let interrupt = self.interrupt.as_ref().filter(|_| command.interrupts());
        let raised = interrupt.map(CompileInterrupt::raise);
        ask(&self.sender, &self.clock, raised, |reply| {
            Message::Command(command, reply)
        })
    }
}

impl Deployment {
    /// Starts the deploy thread and its subscriptions.
    ///
    /// # Errors
    /// [`DeployError::Link`] if a key cannot be declared, and [`DeployError::Thread`].
    pub fn start(
        startup: StartupState,
        config: &Config,
        running: &Arc<RunningConfig>,
        service: &Arc<Service>,
        published_status: Arc<PublishedStatus>,
        link: &Arc<Link>,
    ) -> Result<Self, DeployError> {
        let clock = startup.clock.clone();
        let catalogue = Catalogue::new();
        let delivery = DeliveryConfig {
            share: config.deploy.share,
            max_bytes_per_second: config.deploy.max_bytes_per_second,
            ..DeliveryConfig::default()
        };
        let fetcher = Arc::new(Fetcher::new(link, catalogue.clone(), delivery)?);
        let (sender, messages) = sync_channel(MAX_MESSAGES);
        let (site, device) = (config.site.clone(), config.device.clone());
        let reporter = Arc::new(Reporter::new(
            published_status,
            Arc::clone(link),
            site,
            device,
            clock.clone(),
        ));
        let dependencies = Dependencies {
            running: Arc::clone(running),
            service: Arc::clone(service),
            fetcher,
            catalogue: catalogue.clone(),
            reporter,
            parts: link.parts().clone(),
            sender: sender.clone(),
        };
        let interrupt = startup.compile_interrupt();
        let reconciler = Reconciler::new(startup, dependencies);
        let watches = watches(
            link,
            &sender,
            &clock,
            config.deploy.share.then_some(catalogue),
        )?;
        // Dropped when the thread ends, for whatever reason.
        let (running, ended) = sync_channel(0);
        let steps = Arc::new(AtomicU64::default());
        let counted = Arc::clone(&steps);
        let run = move || {
            let _running: SyncSender<Infallible> = running;
            reconciler.run(&messages, &counted);
            Ok(())
        };
        let parts = link.parts();
        let thread = parts.vital("deploy", run).map_err(DeployError::Thread)?;
        Ok(Self {
            clock,
            sender,
            thread,
            ended,
            interrupt,
            steps,
            _watches: watches,
        })
    }

    /// The steps that the thread has begun. It begins one each 100 ms, unless one takes longer, such as loading a release.
    pub(crate) fn steps(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.steps)
    }

    /// A way to send commands to the thread.
    pub fn handle(&self) -> DeploymentHandle {
        DeploymentHandle {
            clock: self.clock.clone(),
            sender: self.sender.clone(),
            interrupt: self.interrupt.clone(),
        }
    }

    /// Stops the thread, which saves the components' state and closes the data folder. A compilation is interrupted. `close_callers` ends
    /// what sends commands, while the thread still answers. A thread that does not end within `limit`, for example because a self-test
    /// runs, ends with the process: the next start finds the ledger as it is.
    pub fn stop(self, limit: Duration, close_callers: impl FnOnce()) {
        // First, because callers wait for the answers that the thread owes.
        let _raised = self.interrupt.as_ref().map(CompileInterrupt::raise);
        close_callers();
        let deadline = self.clock.now() + limit;
        // The queue may be full of statements while a self-test runs. A disconnected one means that the thread has ended already.
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Stop) {
            if deadline <= self.clock.now() {
                break;
            }
            self.clock.sleep(STOP_POLL);
        }
        match self.clock.recv_until(&self.ended, deadline) {
            Err(RecvTimeoutError::Disconnected) => drop(self.thread.join()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the deploy thread is still at work; it ends with the process");
            }
        }
    }
}

fn watches(
    link: &Link,
    sender: &SyncSender<Message>,
    clock: &Clock,
    shared: Option<Catalogue>,
) -> Result<([NoticeSubscription; 3], Orders, Option<Sharing>), LinkError> {
    // The callbacks have threads of their own, so they may block. They ignore errors: the deploy thread may have ended.
    let statements = sender.clone();
    let desired = link.desired(move |desired| {
        let _ = statements.send(Message::Statement(desired.bytes));
    })?;
    let updates = sender.clone();
    let trust = link.trust_updates(move |bytes| {
        let _ = updates.send(Message::Trust(bytes));
    })?;
    let stated = sender.clone();
    let rollouts = link.rollouts(move |bytes| {
        let _ = stated.send(Message::Rollout(bytes));
    })?;
    let (asked, clock) = (sender.clone(), clock.clone());
    let orders = link.orders(move |bytes| {
        let answer = ask(&asked, &clock, None, |reply| Message::Order(bytes, reply));
        let json = |value: &Value| value.to_string().into_bytes();
        answer
            .map(|value| json(&value))
            .map_err(|error| json(&error.to_json()))
    })?;
    let sharing = shared.map(|catalogue| link.share(catalogue)).transpose()?;
    Ok(([desired, trust, rollouts], orders, sharing))
}

/// Sends a message to the deploy thread, and waits for the answer.
fn ask(
    sender: &SyncSender<Message>,
    clock: &Clock,
    interrupt: Option<RaisedInterrupt>,
    message: impl FnOnce(Reply) -> Message,
) -> Result<Value, CommandError> {
    let (to, answer) = sync_channel(1);
    let until = clock.now() + Duration::from_secs(ANSWER_S);
    sender
        .try_send(message(Reply {
            to,
            until,
            interrupt,
        }))
        .map_err(|_| CommandError::Busy)?;
    clock
        .recv_until(&answer, until)
        .unwrap_or(Err(CommandError::Busy))
}

/// The device's time of day. After the last year that [`Time`] can say, the last one: everything has expired then.
pub(crate) fn wall_time(clock: &Clock) -> Time {
    Time::try_from(clock.wall()).unwrap_or(Time::MAX)
}
