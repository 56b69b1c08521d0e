//! Listening to a site: its devices' events, and now and then their statuses, since an event may be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::Scope;
use std::time::{Duration, Instant};

use hotshoe_link::DeviceMessage;
use hotshoe_link::{Client, LinkError};
use hotshoe_protocol::status::DeployEvent;
use hotshoe_protocol::status::Status;

/// How long devices have to answer one round of questions.
const ROUND: Duration = Duration::from_secs(2);
/// The least time between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// A round's own time is at most one part in this many, so that a large site is not kept busy with questions.
const SHARE: u32 = 10;
/// Events that may wait to be read; the oldest of more are lost, and the next round makes up for them.
const EVENTS: usize = 4096;
/// How often the threads look whether they are still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// What was heard.
pub enum Heard {
    /// A device said something by itself.
    Event(Box<DeviceMessage<DeployEvent>>),
    /// All that answered a round of questions, and the names of all that are there.
    Round {
        /// The answers.
        statuses: Vec<DeviceMessage<Status>>,
        /// Devices by their liveliness tokens.
        present: Vec<String>,
    },
    /// Somebody wants this run to end.
    Stop,
}

/// Listens on threads of its own, until `over` is set or nobody receives any more.
pub fn listen<'s>(
    scope: &'s Scope<'s, '_>,
    client: &'s Client,
    site: &'s str,
    over: &'s AtomicBool,
    heard: &Sender<Heard>,
) -> Result<(), LinkError> {
    let events = client.events(site, None, EVENTS)?;
    let sender = heard.clone();
    scope.spawn(move || {
        while !over.load(Ordering::Acquire) {
            let Some(event) = events.next_message(LOOK) else {
                continue;
            };
            if sender.send(Heard::Event(Box::new(event))).is_err() {
                return;
            }
        }
    });
    let sender = heard.clone();
    scope.spawn(move || {
        while !over.load(Ordering::Acquire) {
            let begun = Instant::now();
            match round(client, site) {
                Ok(round) => {
                    if sender.send(round).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "the devices could not be asked"),
            }
            let until = Instant::now() + PAUSE.max(begun.elapsed() * SHARE);
            while Instant::now() < until && !over.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK);
            }
        }
    });
    Ok(())
}

fn round(client: &Client, site: &str) -> Result<Heard, LinkError> {
    let statuses = client.ask_statuses(Some(site), None, ROUND)?;
    let present = client.devices(Some(site), ROUND)?;
    Ok(Heard::Round {
        statuses,
        present: present.into_iter().map(|key| key.device).collect(),
    })
}

/// The next thing that is heard before `deadline`; none when that has passed.
pub fn next(heard: &Receiver<Heard>, deadline: Option<Instant>) -> Option<Heard> {
    match deadline {
        None => heard.recv().ok(),
        Some(deadline) => heard
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok(),
    }
}
