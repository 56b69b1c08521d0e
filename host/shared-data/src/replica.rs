//! One end's copy of the shared values.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{HybridClock, HybridTime, MAX_CLOCK_DRIFT};
use crate::definition::{Definition, MAX_VALUES, Rule, is_name};
use crate::entry::{Entry, JsonText, Writer};
use crate::error::SharedDataError;
use crate::value::SharedValue;

/// A copy of the shared values of one device, with the clock of its writer. Wall times are in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    own: Writer,
    clock: HybridClock,
    values: BTreeMap<String, Held>,
}

/// A value with its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Held {
    pub definition: Definition,
    pub state: SharedValue,
}

/// What an exchange did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Whether this replica changed.
    pub changed: bool,
    /// Entries of the other replica that were left out, because their times are too far ahead of the wall clock.
    pub ahead: usize,
}

/// A shared value as people and programs see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: Rule,
    /// The value; null if nothing was written. Of a list, the items, oldest first.
    pub value: Value,
    /// Whether it is a write of the device that the site may still replace.
    pub pending: bool,
    /// Who wrote it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Writer>,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

impl Replica {
    /// A replica without values.
    pub const fn new(own: Writer) -> Self {
        Self {
            own,
            clock: HybridClock::new(),
            values: BTreeMap::new(),
        }
    }

    /// From a file. `None` if it is not a state that a replica can have.
    pub(crate) fn from_parts(
        own: Writer,
        clock: HybridClock,
        values: BTreeMap<String, Held>,
    ) -> Option<Self> {
        let is_valid = |(name, held): (&String, &Held)| {
            is_name(name)
                && held.definition.is_valid()
                && held.definition.rule == held.state.rule()
                && held.state.is_valid()
        };
        let latest = values.values().filter_map(|held| held.state.latest()).max();
        let fits = values.len() <= MAX_VALUES
            && values.iter().all(is_valid)
            && latest.is_none_or(|latest| latest <= clock.last());
        fits.then_some(Self { own, clock, values })
    }

    pub(crate) const fn parts(&self) -> (&HybridClock, &BTreeMap<String, Held>) {
        (&self.clock, &self.values)
    }

    /// Defines a value, or changes its limits. Returns whether an older state with another rule was removed.
    pub fn define(&mut self, name: &str, definition: Definition) -> bool {
        let held = self.values.entry(name.to_owned()).or_insert(Held {
            definition,
            state: SharedValue::empty(definition.rule),
        });
        held.definition = definition;
        let is_other = held.state.rule() != definition.rule;
        if is_other {
            held.state = SharedValue::empty(definition.rule);
        }
        is_other
    }

    /// Removes the values that `keep` does not name, and returns their names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self.values.keys().filter(|name| !keep(name)).cloned();
        let gone: Vec<String> = gone.collect();
        self.values.retain(|name, _| keep(name));
        gone
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The rule and the limits of a value.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`].
    pub fn definition(&self, name: &str) -> Result<Definition, SharedDataError> {
        self.held(name).map(|held| held.definition)
    }

    /// The state of a value, for another replica.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`].
    pub fn state(&self, name: &str) -> Result<&SharedValue, SharedDataError> {
        self.held(name).map(|held| &held.state)
    }

    /// A value as people and programs see it.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`].
    pub fn view(&self, name: &str) -> Result<View, SharedDataError> {
        let Held { definition, state } = self.held(name)?;
        let shown = state.shown();
        let value = match state {
            SharedValue::Append(list) => {
                list.items().iter().map(|item| item.value.value()).collect()
            }
            _ => shown.map_or(Value::Null, |entry| entry.value.value()),
        };
        Ok(View {
            name: name.to_owned(),
            rule: definition.rule,
            value,
            pending: matches!(state, SharedValue::RemoteWins(it) if it.pending.is_some()),
            by: shown.map(|entry| entry.by.clone()),
            at_ms: shown.map(|entry| entry.at.wall_ms),
        })
    }

    /// The text of a value, as its writer wrote it; of a list, a JSON array. `None` if nothing was written.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`].
    pub fn text(&self, name: &str) -> Result<Option<String>, SharedDataError> {
        let state = self.state(name)?;
        let SharedValue::Append(list) = state else {
            let shown = state.shown();
            return Ok(shown.map(|entry| entry.value.as_str().to_owned()));
        };
        let items: Vec<&str> = list
            .items()
            .iter()
            .map(|item| item.value.as_str())
            .collect();
        Ok((!items.is_empty()).then(|| format!("[{}]", items.join(","))))
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`], [`SharedDataError::OtherRule`] for a list, and [`SharedDataError::ValueTooLarge`].
    pub fn set(&mut self, name: &str, value: JsonText, now_ms: u64) -> Result<(), SharedDataError> {
        self.write(name, value, now_ms, |rule| rule != Rule::Append)
    }

    /// Appends an item to a list.
    ///
    /// # Errors
    /// [`SharedDataError::UnknownValue`], [`SharedDataError::OtherRule`] if it is not a list, and [`SharedDataError::ValueTooLarge`].
    pub fn append(
        &mut self,
        name: &str,
        value: JsonText,
        now_ms: u64,
    ) -> Result<(), SharedDataError> {
        self.write(name, value, now_ms, |rule| rule == Rule::Append)
    }

    fn write(
        &mut self,
        name: &str,
        value: JsonText,
        now_ms: u64,
        fits: impl FnOnce(Rule) -> bool,
    ) -> Result<(), SharedDataError> {
        let Held { definition, state } = known(self.values.get_mut(name), name)?;
        if !fits(definition.rule) {
            return Err(other_rule(name, definition.rule));
        }
        check_size(name, &value, definition)?;
        let entry = Entry {
            at: self.clock.tick(now_ms),
            by: self.own.clone(),
            value,
        };
        state.write(entry, definition);
        Ok(())
    }

    /// Merges another replica's state of a value. `at_ms` is that replica's wall time. Two clocks that agree show that an entry far ahead
    /// of both was written by a wrong clock: an own one is written again with the time now, one of another writer is removed. If the
    /// clocks differ, nothing is known about either.
    ///
    /// # Errors
    /// [`SharedDataError::ClocksDiffer`], [`SharedDataError::UnknownValue`], [`SharedDataError::OtherRule`],
    /// [`SharedDataError::InvalidState`] and [`SharedDataError::ValueTooLarge`].
    pub fn exchange(
        &mut self,
        name: &str,
        mut other: SharedValue,
        at_ms: u64,
        now_ms: u64,
    ) -> Result<Merged, SharedDataError> {
        let by_ms = at_ms.abs_diff(now_ms);
        if Duration::from_millis(by_ms) > MAX_CLOCK_DRIFT {
            return Err(SharedDataError::ClocksDiffer { by_ms });
        }
        let held = self.held(name)?;
        let definition = held.definition;
        if other.rule() != definition.rule {
            return Err(other_rule(name, definition.rule));
        }
        if !other.is_valid() {
            let name = name.to_owned();
            return Err(SharedDataError::InvalidState { name });
        }
        for entry in other.entries() {
            check_size(name, &entry.value, &definition)?;
        }
        let before = held.state.clone();
        let rewritten = self.rewrite_ahead(now_ms);
        let ahead = other.take_ahead(HybridTime::horizon(now_ms)).len();
        if let Some(latest) = other.latest() {
            // Nothing is ahead any more.
            let _ = self.clock.observe(latest, now_ms);
        }
        let held = known(self.values.get_mut(name), name)?;
        held.state.merge(other, &definition);
        let changed = rewritten || held.state != before;
        Ok(Merged { changed, ahead })
    }

    /// Writes own entries that are too far ahead again, with the time now, and removes those of others. Returns whether there were any.
    fn rewrite_ahead(&mut self, now_ms: u64) -> bool {
        let horizon = HybridTime::horizon(now_ms);
        if self.clock.last() <= horizon {
            return false;
        }
        let taken: Vec<Vec<Entry>> = self
            .values
            .values_mut()
            .map(|held| held.state.take_ahead(horizon))
            .collect();
        let left = self.values.values().filter_map(|held| held.state.latest());
        self.clock.reset(left.max().unwrap_or_default());
        for (held, entries) in self.values.values_mut().zip(taken) {
            for mut entry in entries.into_iter().filter(|entry| entry.by == self.own) {
                entry.at = self.clock.tick(now_ms);
                held.state.write(entry, &held.definition);
            }
        }
        true
    }

    fn held(&self, name: &str) -> Result<&Held, SharedDataError> {
        known(self.values.get(name), name)
    }
}

fn known<T>(held: Option<T>, name: &str) -> Result<T, SharedDataError> {
    held.ok_or_else(|| SharedDataError::UnknownValue {
        name: name.to_owned(),
    })
}

fn other_rule(name: &str, rule: Rule) -> SharedDataError {
    let name = name.to_owned();
    SharedDataError::OtherRule { name, rule }
}

fn check_size(
    name: &str,
    value: &JsonText,
    definition: &Definition,
) -> Result<(), SharedDataError> {
    let (bytes, limit) = (value.bytes(), u64::from(definition.max_bytes));
    if bytes <= limit {
        return Ok(());
    }
    Err(SharedDataError::ValueTooLarge {
        name: name.to_owned(),
        bytes,
        limit,
    })
}
