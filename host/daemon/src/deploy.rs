//! Deployment: decides which release serves. No other part of the daemon reads or writes the ledger.
//!
//! A statement says what a site should run. Its release is fetched, verified, staged, self-tested, run in shadow if it asks for that,
//! tried and confirmed, or refused with a stable name. One thread does all of it, so the ledger changes in one order.

mod activation;
mod admission;
mod candidate;
mod command;
mod error;
pub mod health;
mod keyring;
mod loader;
mod observed;
mod orders;
mod package_queue;
mod peer_monitor;
mod probation;
mod published_status;
mod reconciler;
mod reporter;
mod serving_release;
mod shadow;
mod startup;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::parts::Parts;
use hotshoe_config::Config;
use hotshoe_delivery::{DeliveryConfig, FetchError, Fetcher};
use hotshoe_link::{Link, LinkError, NoticeSubscription, Orders, Sharing};
use hotshoe_store::Catalogue;
use serde_json::Value;

use crate::StartError;
use crate::control::Control;
use crate::reload::RunningConfig;
use crate::service::Service;
use reconciler::{Dependencies, Message, Reconciler};
use reporter::Reporter;

pub(crate) use hotshoe_base::chain;

pub use command::{Command, CommandError, offline};
pub use error::{DeployError, StoredTrustError};
pub use keyring::MAX_TRUST_BYTES;
pub use loader::{LoadFailure, engine_options};
pub use observed::{Observed, Observer, SampleOutcome};
pub use published_status::{DeployView, PublishedStatus};
pub use serving_release::ServingRelease;
pub use shadow::{Comparison, ShadowMirror, ShadowScore, ShadowVerdict};
pub use startup::StartupState;

/// Most messages that wait for the deploy thread. The sender of a further one blocks.
const MAX_MESSAGES: usize = 64;
/// Timeout of an order or command, in seconds: a release may be loading.
const ANSWER_S: u64 = 60;

/// The deploy thread, and the sources of its messages.
pub struct Deployment {
    sender: SyncSender<Message>,
    thread: JoinHandle<()>,
    control: Option<Control>,
    _watches: (
        NoticeSubscription,
        NoticeSubscription,
        Orders,
        Option<Sharing>,
    ),
}

impl Deployment {
    /// Starts the deploy thread and its subscriptions.
    ///
    /// # Errors
    /// [`StartError::Link`] if a key cannot be declared, and [`DeployError::Thread`].
    pub fn start(
        startup: StartupState,
        config: &Config,
        running: &Arc<RunningConfig>,
        service: &Arc<Service>,
        published_status: Arc<PublishedStatus>,
        link: &Arc<Link>,
    ) -> Result<Self, StartError> {
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
        ));
        let dependencies = Dependencies {
            service: Arc::clone(service),
            fetcher,
            catalogue: catalogue.clone(),
            reporter,
            parts: link.parts().clone(),
            sender: sender.clone(),
        };
        let reconciler = Reconciler::new(startup, Arc::clone(running), dependencies);
        let watches = watches(link, &sender, config.deploy.share.then_some(catalogue))?;
        let run = move || {
            reconciler.run(&messages);
            Ok(())
        };
        let parts = link.parts();
        let thread = parts.vital("deploy", run).map_err(DeployError::Thread)?;
        let control = control(config, service, &sender, parts);
        Ok(Self {
            sender,
            thread,
            control,
            _watches: watches,
        })
    }

    /// Stops the thread, which saves the components' state and closes the data folder.
    pub fn stop(mut self) {
        drop(self.control.take());
        // An error means that the thread has ended already.
        let _ = self.sender.send(Message::Stop);
        let _ = self.thread.join();
    }
}

fn watches(
    link: &Link,
    sender: &SyncSender<Message>,
    shared: Option<Catalogue>,
) -> Result<
    (
        NoticeSubscription,
        NoticeSubscription,
        Orders,
        Option<Sharing>,
    ),
    LinkError,
> {
    // The callbacks have threads of their own, so they may block. They ignore errors: the deploy thread may have ended.
    let statements = sender.clone();
    let desired = link.desired(move |desired| {
        let _ = statements.send(Message::Statement(desired.bytes));
    })?;
    let updates = sender.clone();
    let trust = link.trust_updates(move |bytes| {
        let _ = updates.send(Message::Trust(bytes));
    })?;
    let asked = sender.clone();
    let orders = link.orders(move |bytes| {
        let answer = ask(&asked, |reply| Message::Order(bytes, reply));
        let json = |value: &Value| value.to_string().into_bytes();
        answer
            .map(|value| json(&value))
            .map_err(|error| json(&error.to_json()))
    })?;
    let sharing = shared.map(|catalogue| link.share(catalogue)).transpose()?;
    Ok((desired, trust, orders, sharing))
}

/// Opens the operator's socket. The daemon also runs without one.
fn control(
    config: &Config,
    service: &Arc<Service>,
    sender: &SyncSender<Message>,
    parts: &Parts,
) -> Option<Control> {
    let (service, sender) = (Arc::clone(service), sender.clone());
    let follow = move |command: Command| match command {
        Command::Status => Ok(serde_json::to_value(service.status()).unwrap_or_default()),
        command => ask(&sender, |reply| Message::Command(command, reply)),
    };
    Control::open(&config.data, parts, follow)
        .inspect_err(|error| tracing::warn!(%error, data = %config.data.display(), "cannot open the control socket; this daemon takes commands over Zenoh only"))
        .ok()
}

/// Sends a message to the deploy thread, and waits for the answer.
fn ask(
    sender: &SyncSender<Message>,
    message: impl FnOnce(reconciler::Reply) -> Message,
) -> Result<Value, CommandError> {
    let (to, answer) = sync_channel(1);
    let wait = Duration::from_secs(ANSWER_S);
    let until = Instant::now() + wait;
    sender
        .try_send(message(reconciler::Reply { to, until }))
        .map_err(|_| CommandError::Busy)?;
    answer.recv_timeout(wait).unwrap_or(Err(CommandError::Busy))
}

/// Turns a panic into an error: the deploy thread waits for the result of the fetch.
fn caught<T>(fetch: impl FnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
    catch_unwind(AssertUnwindSafe(fetch)).unwrap_or_else(|_| {
        let message = "the fetch thread panicked; please report it";
        Err(FetchError::Thread(io::Error::other(message)))
    })
}
