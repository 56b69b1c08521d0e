//! `[deploy]`: which releases the device takes over Zenoh, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hotshoe_trust::{HealthBounds, Signatures, Time, TrustRoot};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::check_range;
use crate::error::ConfigError;

/// Largest `quota-mib`: 16 TiB.
pub const MAX_QUOTA_MIB: u64 = 16 << 20;
/// Largest `fresh-within-hours`: 90 days, the longest validity of a statement.
pub const MAX_FRESH_HOURS: u64 = 90 * 24;
/// Smallest `max-bytes-per-second`: 4 KiB, at which a chunk takes a minute.
pub(crate) const MIN_BYTES_PER_SECOND: u64 = 4 << 10;
/// Minutes in a day.
const DAY: u16 = 24 * 60;

/// `[deploy]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DeployConfig {
    /// Which statements are accepted. Releases must be signed in any case. Default: `any`.
    pub statements: Statements,
    /// Where the previous release is kept during the probation of a trial. Default: `memory`.
    pub keep_previous: KeepPrevious,
    /// Whether the device shares its blobs with its neighbours, so that they do not fetch them over a slow link. Default: true.
    pub share: bool,
    /// Bandwidth limit of fetching, in bytes per second. Default: no limit.
    pub max_bytes_per_second: Option<u64>,
    /// Disk quota of blobs, in MiB. Blobs of the live, previous and trial release are kept in any case. Default: 4096.
    pub quota_mib: u64,
    /// The time of day, in UTC, in which a staged release may be activated, such as `02:00-04:00`. Default: any time.
    pub window: Option<Window>,
    /// Age of the newest valid statement, in hours, from which the status is `stale`: an attacker may withhold newer ones.
    /// Default: never.
    pub fresh_within_hours: Option<u64>,
    /// Unexpected ends of the daemon in a row, each within `crash-seconds` of its start with the same live release, after which the previous
    /// release serves, or none. 0: any number. Default: 3.
    pub max_crashes: u32,
    /// The time after a start in which an unexpected end counts, in seconds. Default: 300.
    pub crash_seconds: u64,
    /// Bounds of the health gate; a release can only be stricter.
    pub health: HealthBounds,
}

/// Which statements are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statements {
    /// All statements under the site's keys; signatures are checked if there are any.
    #[default]
    Any,
    /// Only statements that trusted keys signed.
    Signed,
}

impl Statements {
    /// What is asked of the signatures of a message, with these trusted keys.
    pub const fn signatures(self, trust: &TrustRoot) -> Signatures<'_> {
        match self {
            Self::Any => Signatures::Optional(trust),
            Self::Signed => Signatures::Required(trust),
        }
    }
}

/// Where the previous release is kept during the probation of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepPrevious {
    /// Loaded, so that a rollback is immediate.
    #[default]
    Memory,
    /// Only on disk, to save memory: a rollback loads it first, and the trial serves until then.
    Disk,
}

/// A daily time window in minutes, which may pass midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: u16,
    to: u16,
}

/// A text that is not a [`Window`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid time; write HH:MM-HH:MM in UTC, with two different times, such as 02:00-04:00"
)]
pub struct WindowError(String);

impl Window {
    /// Whether it is open at `now`: from its first minute to just before its last.
    pub fn is_open(self, now: Time) -> bool {
        let time = TimeZone::UTC.to_datetime(now).time();
        let minute =
            u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or(0);
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let refuse = || WindowError(text.chars().take(40).collect());
        let (from, to) = text.split_once('-').ok_or_else(refuse)?;
        let from = minute(from).ok_or_else(refuse)?;
        let to = minute(to).ok_or_else(refuse)?;
        (from != to).then_some(Self { from, to }).ok_or_else(refuse)
    }
}

/// The minute of the day of `HH:MM`; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Default for DeployConfig {
    fn default() -> Self {
        Self {
            statements: Statements::default(),
            keep_previous: KeepPrevious::default(),
            share: true,
            max_bytes_per_second: None,
            quota_mib: 4_096,
            window: None,
            fresh_within_hours: None,
            max_crashes: 3,
            crash_seconds: 300,
            health: HealthBounds::default(),
        }
    }
}

impl DeployConfig {
    /// Checks the rules that the types do not enforce.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.health.check().map_err(ConfigError::Health)?;
        check_range("deploy.quota-mib", self.quota_mib, 1, MAX_QUOTA_MIB)?;
        let rate = self.max_bytes_per_second.unwrap_or(u64::MAX);
        check_range(
            "deploy.max-bytes-per-second",
            rate,
            MIN_BYTES_PER_SECOND,
            u64::MAX,
        )?;
        check_range("deploy.max-crashes", self.max_crashes.into(), 0, 100)?;
        check_range("deploy.crash-seconds", self.crash_seconds, 1, 86_400)?;
        let hours = self.fresh_within_hours.unwrap_or(1);
        check_range("deploy.fresh-within-hours", hours, 1, MAX_FRESH_HOURS)
    }

    /// `quota-mib` in bytes.
    pub fn quota_bytes(&self) -> u64 {
        self.quota_mib.saturating_mul(1 << 20)
    }

    /// Whether a release may be activated at `now`.
    pub fn may_activate(&self, now: Time) -> bool {
        self.window.is_none_or(|window| window.is_open(now))
    }

    /// `fresh-within-hours` as a duration.
    pub fn fresh_within(&self) -> Option<Duration> {
        self.fresh_within_hours
            .map(|hours| Duration::from_secs(hours.saturating_mul(3_600)))
    }
}
