//! A plan: how a device should work for now. Plans have an order, so that the stricter of two wishes wins item by item.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU32;

use serde::Serialize;

/// Longest name in a plan, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 256;
/// Most outputs, alerts and avoided backends, of each.
pub const MAX_ITEMS: usize = 16;

/// A value, and why it is wished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because<T> {
    /// The value.
    pub value: T,
    /// Why, for people.
    pub reason: String,
}

impl<T> Because<T> {
    /// A value with its reason.
    pub fn new(value: T, reason: impl Into<String>) -> Self {
        Self {
            value,
            reason: reason.into(),
        }
    }
}

/// How a device should work. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// A signed mode, by name. `None` is the release as it is.
    pub mode: Option<Because<String>>,
    /// Which samples are taken.
    pub rate: Option<Because<Rate>>,
    /// How many of the preferred variants of each model are left out. The last variant always stays.
    pub skip_variants: Option<Because<u32>>,
    /// Backends and providers that are not used if there is another one, each with the reason.
    pub avoid_backends: BTreeMap<String, String>,
    /// Least time between two messages of status, in seconds.
    pub status_interval_s: Option<Because<u32>>,
    /// Least time between two messages of telemetry, in seconds.
    pub telemetry_interval_s: Option<Because<u32>>,
    /// Outputs, such as a fan, in percent.
    pub outputs: BTreeMap<String, Because<u8>>,
    /// Alerts, each with its urgency and its text.
    pub alerts: BTreeMap<String, Because<Severity>>,
    /// Whether inference rests.
    pub rest: Option<Because<Rest>>,
}

/// How urgent an alert is; a later one is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warning,
    /// Requires action.
    Critical,
}

impl Severity {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Which samples are taken; each limit applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// One of so many samples. 1 takes each.
    pub every: NonZeroU32,
    /// Least time between two samples, in milliseconds. 500 are two a second.
    pub interval_ms: u32,
    /// Only samples in which something moves.
    pub on_motion: bool,
}

impl Rate {
    /// All samples.
    pub const FULL: Self = Self {
        every: NonZeroU32::MIN,
        interval_ms: 0,
        on_motion: false,
    };

    /// The rate that keeps the limits of both.
    pub fn stricter(self, other: Self) -> Self {
        Self {
            every: self.every.max(other.every),
            interval_ms: self.interval_ms.max(other.interval_ms),
            on_motion: self.on_motion || other.on_motion,
        }
    }
}

/// That inference rests; a later one is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Until a time, in seconds since 1970.
    Until(u64),
    /// Until a plan without it.
    Stop,
    /// The device hibernates.
    Hibernate,
}

/// A mode of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMode {
    /// Its name.
    pub name: String,
    /// Its rate, which a plan can only make stricter.
    pub rate: Rate,
}

/// The modes that a release is signed with, from the fullest to the strictest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignedModes(pub Vec<SignedMode>);

impl SignedModes {
    /// Whether there is a mode of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.rank(name).is_some()
    }

    /// The rate in a plan: that of its mode, and what the plan wishes.
    pub fn rate(&self, plan: &Plan) -> Rate {
        let mut modes = self.0.iter();
        let mode = plan
            .mode
            .as_ref()
            .and_then(|wished| modes.find(|mode| mode.name == wished.value));
        let of_mode = mode.map_or(Rate::FULL, |mode| mode.rate);
        let wished = plan.rate.as_ref().map_or(Rate::FULL, |rate| rate.value);
        of_mode.stricter(wished)
    }

    fn rank(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|mode| mode.name == name)
    }
}

/// Why a plan is refused, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It names a mode that the release does not have.
    #[error("the release has no mode {mode:?}; a plan can only name one of its signed modes")]
    UnsignedMode {
        /// The mode, cut to [`MAX_NAME_BYTES`].
        mode: String,
    },
    /// It has too many items.
    #[error("the plan has {count} {what}; the most is {MAX_ITEMS}")]
    TooManyItems {
        /// Which.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A name or a reason is too long.
    #[error("a text in the {what} of the plan has {bytes} bytes; the most is {most}")]
    LongText {
        /// In which item.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// An output is not a percentage.
    #[error("the plan sets an output to {percent}; write 0 to 100")]
    OutputOutOfRange {
        /// The value.
        percent: u8,
    },
}

impl PlanError {
    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnsignedMode { .. } => "unsigned_mode",
            Self::TooManyItems { .. } => "too_many_items",
            Self::LongText { .. } => "long_text",
            Self::OutputOutOfRange { .. } => "output_out_of_range",
        }
    }
}

impl Plan {
    /// Checks that a plan names a signed mode, if any, and keeps the limits.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn check(&self, modes: &SignedModes) -> Result<(), PlanError> {
        if let Some(mode) = &self.mode
            && !modes.contains(&mode.value)
        {
            let mode = cut(&mode.value, MAX_NAME_BYTES).to_owned();
            return Err(PlanError::UnsignedMode { mode });
        }
        let reasons = [
            ("mode", self.mode.as_ref().map(|it| &it.reason)),
            ("rate", self.rate.as_ref().map(|it| &it.reason)),
            (
                "skipped variants",
                self.skip_variants.as_ref().map(|it| &it.reason),
            ),
            (
                "status interval",
                self.status_interval_s.as_ref().map(|it| &it.reason),
            ),
            (
                "telemetry interval",
                self.telemetry_interval_s.as_ref().map(|it| &it.reason),
            ),
            ("rest", self.rest.as_ref().map(|it| &it.reason)),
        ];
        for (what, reason) in reasons {
            check_text(what, reason.map_or("", |it| it.as_str()), MAX_REASON_BYTES)?;
        }
        check_items("avoided backends", &self.avoid_backends, |it| it)?;
        check_items("alerts", &self.alerts, |it| &it.reason)?;
        check_items("outputs", &self.outputs, |it| &it.reason)?;
        match self.outputs.values().find(|it| it.value > 100) {
            Some(it) => Err(PlanError::OutputOutOfRange { percent: it.value }),
            None => Ok(()),
        }
    }

    /// The plan that has the stricter of both wishes for each item: the later mode, the lower rate, the longer interval, the higher output, the more urgent alert.
    /// With equal ones, the reason is that of `self`. Of outputs, alerts and backends, those beyond [`MAX_ITEMS`] are left out.
    #[must_use]
    pub fn stricter(mut self, other: &Self, modes: &SignedModes) -> Self {
        let rank = |mode: &String| modes.rank(mode);
        self.mode = later(self.mode, &other.mode, rank);
        self.rate = match (self.rate, &other.rate) {
            (Some(one), Some(other)) => Some(stricter_rate(one, other)),
            (one, other) => one.or_else(|| other.clone()),
        };
        self.skip_variants = later(self.skip_variants, &other.skip_variants, |count| *count);
        self.status_interval_s = later(self.status_interval_s, &other.status_interval_s, |it| *it);
        self.telemetry_interval_s = later(
            self.telemetry_interval_s,
            &other.telemetry_interval_s,
            |it| *it,
        );
        self.rest = later(self.rest, &other.rest, |rest| *rest);
        for (name, reason) in &other.avoid_backends {
            insert(&mut self.avoid_backends, name, reason, |_, _| false);
        }
        for (name, alert) in &other.alerts {
            let is_more_urgent =
                |new: &Because<Severity>, old: &Because<Severity>| new.value > old.value;
            insert(&mut self.alerts, name, alert, is_more_urgent);
        }
        for (name, output) in &other.outputs {
            let is_higher = |new: &Because<u8>, old: &Because<u8>| new.value > old.value;
            insert(&mut self.outputs, name, output, is_higher);
        }
        self
    }

    /// Whether both wish the same, for whatever reasons.
    pub fn wishes_same(&self, other: &Self) -> bool {
        same(&self.mode, &other.mode)
            && same(&self.rate, &other.rate)
            && same(&self.skip_variants, &other.skip_variants)
            && same(&self.status_interval_s, &other.status_interval_s)
            && same(&self.telemetry_interval_s, &other.telemetry_interval_s)
            && same(&self.rest, &other.rest)
            && self.avoid_backends.keys().eq(other.avoid_backends.keys())
            && values(&self.alerts).eq(values(&other.alerts))
            && values(&self.outputs).eq(values(&other.outputs))
    }
}

/// The items without their reasons.
fn values<T: Copy>(items: &BTreeMap<String, Because<T>>) -> impl Iterator<Item = (&String, T)> {
    items.iter().map(|(name, item)| (name, item.value))
}

fn same<T: PartialEq>(one: &Option<Because<T>>, other: &Option<Because<T>>) -> bool {
    one.as_ref().map(|it| &it.value) == other.as_ref().map(|it| &it.value)
}

/// The one whose order is later; none is the first.
fn later<T: Clone, O: Ord>(
    one: Option<Because<T>>,
    other: &Option<Because<T>>,
    order: impl Fn(&T) -> O,
) -> Option<Because<T>> {
    let of = |it: Option<&Because<T>>| it.map(|it| order(&it.value));
    if of(other.as_ref()) > of(one.as_ref()) {
        other.clone()
    } else {
        one
    }
}

/// With the reasons of both where each has the stricter limit in something.
fn stricter_rate(one: Because<Rate>, other: &Because<Rate>) -> Because<Rate> {
    let value = one.value.stricter(other.value);
    if value == one.value {
        return one;
    }
    if value == other.value {
        return other.clone();
    }
    let both = format!("{}; {}", one.reason, other.reason);
    Because::new(value, cut(&both, MAX_REASON_BYTES))
}

fn insert<T: Clone>(
    items: &mut BTreeMap<String, T>,
    name: &str,
    item: &T,
    wins: impl Fn(&T, &T) -> bool,
) {
    let has_room = items.len() < MAX_ITEMS;
    match items.entry(name.to_owned()) {
        Entry::Vacant(place) if has_room => {
            place.insert(item.clone());
        }
        Entry::Vacant(_) => {}
        Entry::Occupied(mut old) => {
            if wins(item, old.get()) {
                old.insert(item.clone());
            }
        }
    }
}

fn check_items<T>(
    what: &'static str,
    items: &BTreeMap<String, T>,
    reason: impl Fn(&T) -> &String,
) -> Result<(), PlanError> {
    let count = items.len();
    if count > MAX_ITEMS {
        return Err(PlanError::TooManyItems { what, count });
    }
    for (name, item) in items {
        check_text(what, name, MAX_NAME_BYTES)?;
        check_text(what, reason(item), MAX_REASON_BYTES)?;
    }
    Ok(())
}

fn check_text(what: &'static str, text: &str, most: usize) -> Result<(), PlanError> {
    let bytes = text.len();
    if bytes > most {
        return Err(PlanError::LongText { what, bytes, most });
    }
    Ok(())
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
