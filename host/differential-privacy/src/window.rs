//! The records of one window, and the one way from them to figures.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::io;

use crate::budget::{Budget, BudgetError};
use crate::definition::{Definition, Kind};
use crate::epsilon::{Epsilon, EpsilonError};
use crate::figures::Figures;
use crate::noise::Noise;

/// Most contributors that a window counts; records of more are left out.
pub const MAX_CONTRIBUTORS: usize = 65_536;

/// The exact counts of a window. They leave it through [`publish`] alone.
pub struct Window {
    definition: Definition,
    cells: Vec<i64>,
    /// Records of each contributor, by a hash that no other process can make.
    contributors: HashMap<u64, u32>,
    hasher: RandomState,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The figures together cost more than a day may.
    #[error("the figures cost too much to be published together; publish fewer at once")]
    Cost(#[source] EpsilonError),
    /// The budget refuses.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The operating system has no random numbers. The budget is spent.
    #[error("cannot get random numbers from the operating system")]
    Random(#[source] io::Error),
}

impl PublishError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cost(_) => "figures_too_costly",
            Self::Budget(error) => error.name(),
            Self::Random(_) => "random_numbers_unavailable",
        }
    }
}

impl Window {
    /// A window without records.
    pub fn new(definition: Definition) -> Self {
        Self {
            cells: vec![0; definition.cells()],
            definition,
            contributors: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Adds a record, unless its contributor already has as many as count. The value of a count is ignored.
    ///
    /// A contributor is whose presence the figures must not show: a number plate, say, or a source. Without one, use the same for all
    /// records of the smallest group that has to be hidden.
    pub fn add(&mut self, contributor: &impl Hash, value: i64) {
        let contributor = self.hasher.hash_one(contributor);
        let is_full = self.contributors.len() >= MAX_CONTRIBUTORS;
        if is_full && !self.contributors.contains_key(&contributor) {
            return;
        }
        let records = self.contributors.entry(contributor).or_default();
        if *records >= self.definition.contributions() {
            return;
        }
        *records += 1;
        let (cell, amount) = match self.definition.kind() {
            Kind::Count => (0, 1),
            Kind::Sum { lowest, highest } => (0, value.clamp(*lowest, *highest)),
            Kind::Histogram { edges } => (edges.partition_point(|edge| *edge <= value), 1),
        };
        if let Some(cell) = self.cells.get_mut(cell) {
            *cell = cell.saturating_add(amount);
        }
    }

    fn noisy(self, noise: &mut Noise) -> io::Result<Figures> {
        let scale = self.definition.scale();
        let noisy = |cell: i64| -> io::Result<i64> {
            let sum = i128::from(cell).saturating_add(noise.laplace(scale)?);
            let limit = i128::from(i64::MAX);
            Ok(i64::try_from(sum.clamp(-limit, limit)).unwrap_or_default())
        };
        let cells: io::Result<Vec<i64>> = self.cells.into_iter().map(noisy).collect();
        Ok(Figures::new(self.definition, cells?))
    }
}

impl std::fmt::Debug for Window {
    /// Without the counts, which are exact.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window")
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}

/// Publishes windows: first the budget stores the cost of all of them, then each gets its noise.
///
/// The times of windows and the list of figures are decided without looking at the data, and windows without records are published too. What was
/// refused is dropped: a later attempt would tell that it had been refused.
///
/// # Errors
/// [`PublishError`]; then nothing is published.
pub fn publish(
    windows: Vec<Window>,
    budget: &mut Budget,
    noise: &mut Noise,
) -> Result<Vec<Figures>, PublishError> {
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let cost = windows.iter().fold(0, |cost: u64, window| {
        cost.saturating_add(window.definition.epsilon().millionths())
    });
    budget.spend(Epsilon::from_millionths(cost).map_err(PublishError::Cost)?)?;
    let figures: io::Result<Vec<Figures>> = windows
        .into_iter()
        .map(|window| window.noisy(noise))
        .collect();
    figures.map_err(PublishError::Random)
}

#[cfg(test)]
mod tests;
