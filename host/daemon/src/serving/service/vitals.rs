//! What the service says of itself to those who watch it.

use hotshoe_protocol::status::{Counters, OutboxStatus};
use hotshoe_trust::Time;

use super::Service;

/// The service at one moment.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Other sessions that the Zenoh session is connected to.
    pub(crate) peers: usize,
    /// Samples by their ends.
    pub(crate) counters: Counters,
    /// Samples on which a component missed its deadline, also where that was tolerated.
    pub(crate) deadline_misses: u64,
    /// The name and generation of the release that serves, and when it expires.
    pub(crate) release: Option<(String, Time)>,
    /// What the release that serves is watched by for drift.
    pub(crate) watched: Vec<String>,
    /// What must arrive, if anything must.
    pub(crate) outbox: Option<OutboxStatus>,
}

impl Service {
    /// The service now.
    pub(crate) fn vitals(&self) -> Vitals {
        let serving = self.serving.load();
        let watch = serving.as_deref().and_then(|served| served.drift());
        let watched = watch.map(|watch| watch.sources().iter().map(ToString::to_string));
        let release = serving.as_deref().map(|served| served.release());
        let (deadline_misses, _) = self.tally.misses();
        Vitals {
            peers: self.link.status().peers,
            counters: self.tally.snapshot(),
            deadline_misses,
            release: release.map(|it| (format!("{} {}", it.name, it.generation), it.expires)),
            watched: watched.map(Iterator::collect).unwrap_or_default(),
            outbox: self.outbox.as_ref().map(|outbox| outbox.status()),
        }
    }
}
