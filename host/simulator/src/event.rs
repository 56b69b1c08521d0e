//! What happens in a simulation, in the order of its time.

use std::cmp::Ordering;
use std::sync::Arc;

use hotshoe_rollout::{Control, Count, Report, SignedText};

/// Something that happens at a time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A device of a site is awake.
    Device(usize, usize, Woken),
    /// A report arrives at the registry.
    Report(usize, usize, Box<Report>),
    /// A registry looks whether a count is due.
    Registry(usize),
    /// A statement arrives at a registry.
    Stated(usize, Arc<SignedText>),
    /// A count arrives at a controller.
    Count(usize, Arc<Count>),
    /// A statement arrives at a controller.
    Heard(usize, Arc<SignedText>),
    /// A controller looks.
    Controller(usize),
    /// A controller may die.
    Death(usize),
}

/// Why a device is awake.
#[derive(Debug)]
pub(crate) enum Woken {
    /// It has something to do.
    Due,
    /// It hears what its registry knows.
    Heard(Arc<Control>),
    /// It starts after an outage.
    Started,
}

#[derive(Debug)]
pub(crate) struct Due {
    pub at_ms: u64,
    /// Events of one time happen in the order in which they were planned.
    pub number: u64,
    pub event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.number) == (other.at_ms, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ms, other.number).cmp(&(self.at_ms, self.number))
    }
}
