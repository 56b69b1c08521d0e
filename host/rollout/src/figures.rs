//! The figures of the devices that a rollout has reached, which a gate judges.

use std::collections::BTreeMap;

use crate::{cell::Cell, health::Health, state::State};

/// Numbers of devices and samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub total: u64,
    pub confirmed: u64,
    pub failed: u64,
    pub silent: u64,
    pub open: u64,
    pub samples: u64,
    pub errors: u64,
    pub traps: u64,
}

impl Tally {
    fn numbers(&mut self) -> [&mut u64; 8] {
        [
            &mut self.total,
            &mut self.confirmed,
            &mut self.failed,
            &mut self.silent,
            &mut self.open,
            &mut self.samples,
            &mut self.errors,
            &mut self.traps,
        ]
    }

    pub(crate) fn plus(mut self, mut other: Self) -> Self {
        for (own, more) in self.numbers().into_iter().zip(other.numbers()) {
            *own = own.saturating_add(*more);
        }
        self
    }

    pub(crate) fn minus(mut self, mut other: Self) -> Self {
        for (own, less) in self.numbers().into_iter().zip(other.numbers()) {
            *own = own.saturating_sub(*less);
        }
        self
    }
}

/// The figures of a fleet, up to one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub(crate) whole: Tally,
    /// The same without one site each, where enough devices remain.
    pub(crate) without: Vec<(String, Tally)>,
    pub(crate) health: Health,
    pub(crate) baseline: Health,
    /// Sites whose count does not know of the stage yet.
    pub(crate) behind: u64,
    states: BTreeMap<State, u64>,
    causes: BTreeMap<String, u64>,
}

impl Figures {
    /// Number of devices that the rollout has reached.
    pub const fn devices(&self) -> u64 {
        self.whole.total
    }

    /// Number of devices by state.
    pub const fn states(&self) -> &BTreeMap<State, u64> {
        &self.states
    }

    /// Number of devices by the stable name of the cause, of those that have one.
    pub const fn causes(&self) -> &BTreeMap<String, u64> {
        &self.causes
    }

    /// Adds a cell and returns its numbers. Of a site that is silent itself, what was still open is silent.
    pub(crate) fn add(&mut self, cell: &Cell, is_dark: bool) -> Tally {
        let is_lost = is_dark && cell.open;
        let state = if is_lost { State::Silent } else { cell.state };
        let devices = cell.devices;
        let if_so = |is: bool| if is { devices } else { 0 };
        let tally = Tally {
            total: devices,
            confirmed: if_so(state == State::Confirmed),
            failed: if_so(state.is_failure()),
            silent: if_so(state == State::Silent),
            open: if_so(cell.open && !is_lost),
            samples: cell.health.samples,
            errors: cell.health.errors,
            traps: cell.health.traps,
        };
        self.whole = self.whole.plus(tally);
        self.health.merge(&cell.health);
        self.baseline.merge(&cell.baseline);
        let count = self.states.entry(state).or_default();
        *count = count.saturating_add(devices);
        let cause = if is_lost {
            "site_silent"
        } else {
            cell.cause.as_str()
        };
        if !cause.is_empty() {
            let count = self.causes.entry(cause.to_owned()).or_default();
            *count = count.saturating_add(devices);
        }
        tally
    }
}
