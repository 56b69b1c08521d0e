//! Follows a site: subscribes to its devices' events, and polls their statuses because an event may be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::Scope;
use std::time::{Duration, Instant};

use hotshoe_link::DeviceMessage;
use hotshoe_link::{Client, LinkError};
use hotshoe_protocol::registry::RegistryStatus;
use hotshoe_protocol::status::DeployEvent;
use hotshoe_protocol::status::Status;

/// How long devices have to answer one poll.
const ROUND: Duration = Duration::from_secs(2);
/// The minimum time between two polls.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause is at least this many times as long as the poll, so that polling does not load a large site.
const SHARE: u32 = 10;
/// The most events that are queued; the oldest of more are lost, and the next poll makes up for them.
const EVENTS: usize = 4096;
/// How often the threads check whether they must end.
const LOOK: Duration = Duration::from_millis(200);

/// A message about a site.
pub(crate) enum SiteUpdate {
    /// A device published an event.
    Event(Box<DeviceMessage<DeployEvent>>),
    /// The answers to one poll, and the names of all devices that are present.
    Round {
        /// The answers.
        statuses: Vec<DeviceMessage<Status>>,
        /// Devices by their liveliness tokens.
        present: Vec<String>,
    },
    /// The answers of the registries to one query.
    Registries(Vec<RegistryStatus>),
    /// A signal asks this run to end.
    Stop,
}

/// Listens on three threads until `over` is set or the receiver is dropped.
pub(crate) fn listen<'s>(
    scope: &'s Scope<'s, '_>,
    client: &'s Client,
    site: &'s str,
    over: &'s AtomicBool,
    updates: &Sender<SiteUpdate>,
) -> Result<(), LinkError> {
    let events = client.events(site, None, EVENTS)?;
    let sender = updates.clone();
    scope.spawn(move || {
        while !over.load(Ordering::Acquire) {
            let Some(event) = events.next_message(LOOK) else {
                continue;
            };
            if sender.send(SiteUpdate::Event(Box::new(event))).is_err() {
                return;
            }
        }
    });
    let sender = updates.clone();
    scope.spawn(move || {
        while !over.load(Ordering::Acquire) {
            let begun = Instant::now();
            match round(client, site) {
                Ok(round) => {
                    if sender.send(round).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "could not poll the devices"),
            }
            let until = Instant::now() + PAUSE.max(begun.elapsed() * SHARE);
            while Instant::now() < until && !over.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK);
            }
        }
    });
    let sender = updates.clone();
    scope.spawn(move || {
        while !over.load(Ordering::Acquire) {
            match client.registries(site, ROUND) {
                Ok(statuses) => {
                    if sender.send(SiteUpdate::Registries(statuses)).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "could not ask the registries"),
            }
            let until = Instant::now() + PAUSE;
            while Instant::now() < until && !over.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK);
            }
        }
    });
    Ok(())
}

fn round(client: &Client, site: &str) -> Result<SiteUpdate, LinkError> {
    let statuses = client.ask_statuses(Some(site), None, ROUND)?;
    let present = client.devices(Some(site), ROUND)?;
    Ok(SiteUpdate::Round {
        statuses,
        present: present.into_iter().map(|key| key.device).collect(),
    })
}

/// The next message before `deadline`; none when that has passed.
pub(crate) fn next(
    updates: &Receiver<SiteUpdate>,
    deadline: Option<Instant>,
) -> Option<SiteUpdate> {
    match deadline {
        None => updates.recv().ok(),
        Some(deadline) => updates
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok(),
    }
}
