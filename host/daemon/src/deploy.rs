//! Which release serves. Nothing else in the daemon reads or writes the ledger.
//!
//! A statement says what a site should run; its release is fetched, verified, staged, proved, perhaps run in shadow, tried and
//! confirmed, or refused by name. One thread does all of it, so that every state of the ledger follows from one before.

mod activation;
mod admission;
mod board;
mod boot;
mod candidate;
mod command;
mod company;
mod error;
pub mod health;
mod keyring;
mod loader;
mod observed;
mod orders;
mod probation;
mod reconciler;
mod reporter;
mod scout;
mod served;
mod shadow;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_delivery::{DeliveryConfig, FetchError, Fetcher};
use hotshoe_link::{Link, LinkError, Orders, Sharing, Watch};
use hotshoe_store::Catalogue;
use serde_json::Value;

use crate::StartError;
use crate::control::Control;
use crate::reload::Running;
use crate::service::Service;
use reconciler::{Message, Reconciler, Surroundings};
use reporter::Reporter;

pub(crate) use hotshoe_base::chain;

pub use board::{Board, View};
pub use boot::Boot;
pub use command::{Command, CommandError, offline};
pub use error::{DeployError, StoredTrustError};
pub use keyring::MAX_TRUST_BYTES;
pub use loader::{LoadFailure, engine_options};
pub use observed::{Fared, Observed, Observer};
pub use served::Served;
pub use shadow::{Compared, Likeness, Score, Tap};

/// Messages that may wait for the deploy thread. Whoever sends one more waits until there is room.
const MAIL: usize = 64;
/// How long an order or a command waits for its answer, in seconds: a release may be loading.
const ANSWER_S: u64 = 60;

/// The deploy thread, and what reaches it.
pub struct Deployment {
    mail: SyncSender<Message>,
    thread: JoinHandle<()>,
    control: Option<Control>,
    _watches: (Watch, Watch, Orders, Option<Sharing>),
}

impl Deployment {
    /// Starts to follow statements, orders and commands.
    ///
    /// # Errors
    /// [`StartError::Link`] where something cannot be declared, and [`DeployError::Thread`].
    pub fn start(
        boot: Boot,
        config: &Config,
        running: &Arc<Running>,
        service: &Arc<Service>,
        board: Arc<Board>,
        link: &Arc<Link>,
    ) -> Result<Self, StartError> {
        let catalogue = Catalogue::new();
        let delivery = DeliveryConfig {
            share: config.deploy.share,
            max_bytes_per_second: config.deploy.max_bytes_per_second,
            ..DeliveryConfig::default()
        };
        let fetcher = Arc::new(Fetcher::new(link, catalogue.clone(), delivery)?);
        let (mail, messages) = sync_channel(MAIL);
        let (site, device) = (config.site.clone(), config.device.clone());
        let reporter = Arc::new(Reporter::new(board, Arc::clone(link), site, device));
        let surroundings = Surroundings {
            service: Arc::clone(service),
            fetcher,
            catalogue: catalogue.clone(),
            reporter,
            parts: link.parts().clone(),
            mail: mail.clone(),
        };
        let reconciler = Reconciler::new(boot, Arc::clone(running), surroundings);
        let watches = watches(link, &mail, config.deploy.share.then_some(catalogue))?;
        let run = move || {
            reconciler.run(&messages);
            Ok(())
        };
        let parts = link.parts();
        let thread = parts.vital("deploy", run).map_err(DeployError::Thread)?;
        let control = control(config, service, &mail, parts);
        Ok(Self {
            mail,
            thread,
            control,
            _watches: watches,
        })
    }

    /// Follows nothing more, saves what components keep, and lets go of the data folder.
    pub fn stop(mut self) {
        drop(self.control.take());
        // It has ended already if nobody listens.
        let _ = self.mail.send(Message::Stop);
        let _ = self.thread.join();
    }
}

fn watches(
    link: &Link,
    mail: &SyncSender<Message>,
    shared: Option<Catalogue>,
) -> Result<(Watch, Watch, Orders, Option<Sharing>), LinkError> {
    // Whoever calls these waits on a thread of its own; when the deploy thread has ended, nobody listens.
    let statements = mail.clone();
    let desired = link.desired(move |desired| {
        let _ = statements.send(Message::Statement(desired.bytes));
    })?;
    let updates = mail.clone();
    let trust = link.trust_updates(move |bytes| {
        let _ = updates.send(Message::Trust(bytes));
    })?;
    let asked = mail.clone();
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

/// The operator's socket. A device without one is served all the same.
fn control(
    config: &Config,
    service: &Arc<Service>,
    mail: &SyncSender<Message>,
    parts: &Supervisor,
) -> Option<Control> {
    let (service, mail) = (Arc::clone(service), mail.clone());
    let follow = move |command: Command| match command {
        Command::Status => Ok(serde_json::to_value(service.status()).unwrap_or_default()),
        command => ask(&mail, |reply| Message::Command(command, reply)),
    };
    Control::open(&config.data, parts, follow)
        .inspect_err(|error| tracing::warn!(%error, data = %config.data.display(), "no control socket; commands reach this daemon over Zenoh alone"))
        .ok()
}

/// Asks the deploy thread, and waits for its answer.
fn ask(
    mail: &SyncSender<Message>,
    message: impl FnOnce(reconciler::Reply) -> Message,
) -> Result<Value, CommandError> {
    let (to, answer) = sync_channel(1);
    let wait = Duration::from_secs(ANSWER_S);
    let until = Instant::now() + wait;
    mail.try_send(message(reconciler::Reply { to, until }))
        .map_err(|_| CommandError::Busy)?;
    answer.recv_timeout(wait).unwrap_or(Err(CommandError::Busy))
}

/// Fetches on a thread whose end somebody waits for: a panic must not keep it away.
fn caught<T>(fetch: impl FnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
    catch_unwind(AssertUnwindSafe(fetch)).unwrap_or_else(|_| {
        let message = "the thread that fetches panicked; this is a defect";
        Err(FetchError::Thread(io::Error::other(message)))
    })
}
