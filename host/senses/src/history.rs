//! The last minutes of named series, as sketches of equal times, in bounded memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::sketch::{Sketch, Summary};

/// Longest name of a series, in bytes.
const MAX_SERIES_NAME_BYTES: usize = 128;

/// How much a history keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The time of one sketch; at least a millisecond.
    pub slot: Duration,
    /// Number of sketches of a series; at least one.
    pub slots: usize,
    /// Most series.
    pub series: usize,
}

impl Default for Shape {
    /// Five minutes of 24 series: at most 5 MiB, and about 0.6 MiB where the values of a series lie within a factor of 10.
    fn default() -> Self {
        Self {
            slot: Duration::from_secs(15),
            slots: 20,
            series: 24,
        }
    }
}

/// A value that was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// There are too many series.
    #[error(
        "the series {name} is left out: the history has {most}, which is the most, and each has values"
    )]
    TooManySeries {
        /// The new one.
        name: String,
        /// The limit.
        most: usize,
    },
    /// The name of the series is too long.
    #[error("the name of a series has {bytes} bytes; the most is {MAX_SERIES_NAME_BYTES}")]
    LongName {
        /// Its length.
        bytes: usize,
    },
}

impl HistoryError {
    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooManySeries { .. } => "too_many_series",
            Self::LongName { .. } => "long_series_name",
        }
    }
}

/// A ring of sketches for each series.
#[derive(Debug, Clone)]
pub struct History {
    shape: Shape,
    series: BTreeMap<String, Vec<Slot>>,
}

/// The values of one slot.
#[derive(Debug, Clone)]
struct Slot {
    /// Number of the slot since the start.
    number: u64,
    sketch: Sketch,
}

impl History {
    /// An empty one.
    pub fn new(shape: Shape) -> Self {
        let shape = Shape {
            slot: shape.slot.max(Duration::from_millis(1)),
            slots: shape.slots.max(1),
            series: shape.series,
        };
        Self {
            shape,
            series: BTreeMap::new(),
        }
    }

    /// Adds a value. A value from before the kept time is left out.
    ///
    /// # Errors
    /// [`HistoryError`]; a series without values in the kept time makes room for a new one.
    pub fn add(&mut self, name: &str, value: f64, at: Duration) -> Result<(), HistoryError> {
        let number = self.slot(at);
        if !self.series.contains_key(name) {
            self.make_room(name, number)?;
            self.series.entry(name.to_owned()).or_default();
        }
        let Some(ring) = self.series.get_mut(name) else {
            return Ok(());
        };
        let kept = self.shape.slots as u64;
        match ring
            .iter_mut()
            .find(|slot| slot.number % kept == number % kept)
        {
            Some(slot) => match slot.number.cmp(&number) {
                Ordering::Equal => slot.sketch.add(value),
                Ordering::Less => *slot = Slot::of(number, value),
                Ordering::Greater => {}
            },
            None => ring.push(Slot::of(number, value)),
        }
        Ok(())
    }

    /// The values of a series from `window` ago to now, and before that to the start of its slot. `None` without values.
    pub fn sketch(&self, name: &str, window: Duration, at: Duration) -> Option<Sketch> {
        let (first, now) = (self.slot(at.saturating_sub(window)), self.slot(at));
        self.merged(name, first.max(self.oldest(now)), now)
    }

    /// What a series was from `window` ago to now, as [`History::sketch`] has it.
    pub fn summary(&self, name: &str, window: Duration, at: Duration) -> Option<Summary> {
        self.sketch(name, window, at)?.summary()
    }

    /// What a series was over the kept time up to its last value, however long ago that was.
    pub fn last_summary(&self, name: &str) -> Option<Summary> {
        let last = self
            .series
            .get(name)?
            .iter()
            .map(|slot| slot.number)
            .max()?;
        self.merged(name, self.oldest(last), last)?.summary()
    }

    /// What a series was in one slot, if it is kept.
    pub fn summary_of_slot(&self, name: &str, slot: u64) -> Option<Summary> {
        self.merged(name, slot, slot)?.summary()
    }

    /// The number of the slot of a time.
    pub fn slot(&self, at: Duration) -> u64 {
        let number = at.as_millis() / self.shape.slot.as_millis();
        u64::try_from(number).unwrap_or(u64::MAX)
    }

    /// The time of one slot.
    pub const fn slot_time(&self) -> Duration {
        self.shape.slot
    }

    /// The names of the series.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The memory of its sketches, in bytes.
    pub fn bytes(&self) -> usize {
        let slots = self.series.values().flatten();
        slots.map(|slot| slot.sketch.bytes()).sum()
    }

    /// The most memory that its sketches can have, in bytes.
    pub const fn max_bytes(&self) -> usize {
        self.shape.series * self.shape.slots * Sketch::MAX_BYTES
    }

    fn make_room(&mut self, name: &str, number: u64) -> Result<(), HistoryError> {
        if name.len() > MAX_SERIES_NAME_BYTES {
            return Err(HistoryError::LongName { bytes: name.len() });
        }
        if self.series.len() >= self.shape.series {
            let oldest = self.oldest(number);
            let is_kept = |slot: &Slot| slot.number >= oldest;
            self.series.retain(|_, ring| ring.iter().any(is_kept));
        }
        if self.series.len() >= self.shape.series {
            return Err(HistoryError::TooManySeries {
                name: name.to_owned(),
                most: self.shape.series,
            });
        }
        Ok(())
    }

    fn oldest(&self, now: u64) -> u64 {
        now.saturating_sub(self.shape.slots as u64 - 1)
    }

    /// The values of the slots `first` to `last`.
    fn merged(&self, name: &str, first: u64, last: u64) -> Option<Sketch> {
        let mut whole = Sketch::default();
        for slot in self.series.get(name)? {
            if (first..=last).contains(&slot.number) {
                whole.merge(&slot.sketch);
            }
        }
        (whole.count() > 0).then_some(whole)
    }
}

impl Slot {
    fn of(number: u64, value: f64) -> Self {
        let mut sketch = Sketch::default();
        sketch.add(value);
        Self { number, sketch }
    }
}
