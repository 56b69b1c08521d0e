//! The ε that a device may spend in a day, stored before it is used.
//!
//! A day is 24 hours of time that certainly passed: the monotonic time of a process, and between two processes of one start of the machine the
//! uptime. The time of day is never asked, and a restart of the machine adds nothing. So neither a clock that is set nor a restart gives more;
//! a device that is off for half of each day has a budget for each two days.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hotshoe_base::disk::Disk;
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_base::{Clock, files};
use serde::{Deserialize, Serialize};

use crate::epsilon::{Epsilon, MAX_EPSILON};

/// Name of the file in the data folder.
pub const BUDGET_FILE: &str = "privacy-budget.json";
/// The time that a budget is for.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

const FORMAT: FileFormat = FileFormat::new(1, 1);
const MAX_FILE_BYTES: u64 = 4_096;
/// A refusal stores the time that has passed if the file is older, in milliseconds. Otherwise a device that restarts often would never see the
/// end of a day with a spent budget.
const STAMP_MS: u64 = 10 * 60 * 1_000;

/// This start of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What identifies it; empty where nothing does.
    pub id: String,
    /// The time since, which no clock that is set changes.
    pub uptime: Duration,
}

/// The budget of a device. One process has it open, as with the data folder.
#[derive(Debug)]
pub struct Budget {
    path: PathBuf,
    disk: Disk,
    clock: Clock,
    boot: Boot,
    opened: Instant,
    /// The time of the budget when it was opened, in milliseconds.
    at_opening_ms: u64,
    limit: Epsilon,
    state: State,
}

/// What is stored. Times are in milliseconds of the budget's own time, which began with its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    now_ms: u64,
    boot: String,
    uptime_ms: u64,
    day_began_ms: u64,
    spent_millionths: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    state: State,
    /// CRC-32 of the state as JSON: a changed digit is not another budget.
    check: u32,
}

/// Why nothing can be spent.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The rest of the day's budget is smaller.
    #[error(
        "publishing costs an epsilon of {wanted}, and {} of today's {limit} is left; the next day begins after {} s of running",
        shown(*left_millionths), next_day.as_secs()
    )]
    Exhausted {
        /// What it costs.
        wanted: Epsilon,
        /// What is left, in millionths.
        left_millionths: u64,
        /// The budget of a day.
        limit: Epsilon,
        /// Running time until the next day begins.
        next_day: Duration,
    },
    /// The file cannot be read or written. What could not be stored is not used.
    #[error("cannot use the privacy budget {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file was changed.
    #[error(
        "the privacy budget {} is damaged, so it is not known what was spent; remove the file after a day without telemetry",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of Hotshoe wrote the file.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

impl BudgetError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exhausted { .. } => "privacy_budget_exhausted",
            Self::Io { .. } => "privacy_budget_io",
            Self::Damaged { .. } => "privacy_budget_damaged",
            Self::Newer(error) => error.name(),
        }
    }
}

impl Budget {
    /// Opens the budget of a data folder. Without a file, nothing was spent: the file is written before anything is.
    ///
    /// # Errors
    /// [`BudgetError`], but for [`BudgetError::Exhausted`].
    pub fn open(
        folder: &Path,
        disk: Disk,
        clock: Clock,
        boot: Boot,
        limit: Epsilon,
    ) -> Result<Self, BudgetError> {
        let path = folder.join(BUDGET_FILE);
        let state = read(&path)?;
        let same_boot = !boot.id.is_empty() && boot.id == state.boot;
        let passed_ms = if same_boot {
            millis(boot.uptime).saturating_sub(state.uptime_ms)
        } else {
            0
        };
        Ok(Self {
            path,
            disk,
            opened: clock.now(),
            clock,
            boot,
            at_opening_ms: state.now_ms.saturating_add(passed_ms),
            limit,
            state,
        })
    }

    /// Spends the whole budget of a day, whatever its limit is: for a data folder of which it is not known what was spent. A day of running
    /// later, there is a new one. A damaged file is replaced.
    ///
    /// # Errors
    /// [`BudgetError::Io`] and [`BudgetError::Newer`].
    pub fn spend_all(folder: &Path, disk: &Disk) -> Result<(), BudgetError> {
        let path = folder.join(BUDGET_FILE);
        let before = match read(&path) {
            Ok(state) => state,
            Err(BudgetError::Damaged { .. }) => State::default(),
            Err(error) => return Err(error),
        };
        // No start of the machine: only time from the next opening on counts.
        let state = State {
            now_ms: before.now_ms,
            day_began_ms: before.now_ms,
            spent_millionths: MAX_EPSILON,
            ..State::default()
        };
        encoded(&state)
            .and_then(|json| disk.replace(&path, &json))
            .map_err(|source| BudgetError::Io { path, source })
    }

    /// What is left of the day, in millionths.
    pub fn left_millionths(&self) -> u64 {
        let spent = self.state_now().spent_millionths;
        self.limit.millionths().saturating_sub(spent)
    }

    /// Spends `epsilon`. When this returns, it is stored durably.
    ///
    /// # Errors
    /// [`BudgetError::Exhausted`], and [`BudgetError::Io`]: the amount then counts as spent, because it may be stored.
    pub fn spend(&mut self, epsilon: Epsilon) -> Result<(), BudgetError> {
        let mut state = self.state_now();
        let left_millionths = self
            .limit
            .millionths()
            .saturating_sub(state.spent_millionths);
        if epsilon.millionths() > left_millionths {
            let refused = BudgetError::Exhausted {
                wanted: epsilon,
                left_millionths,
                limit: self.limit,
                next_day: self.next_day(&state),
            };
            if state.now_ms.saturating_sub(self.state.now_ms) >= STAMP_MS {
                self.store(state)?;
            }
            return Err(refused);
        }
        if state.spent_millionths == 0 {
            // A day begins with its first use.
            state.day_began_ms = state.now_ms;
        }
        state.spent_millionths += epsilon.millionths();
        self.store(state)
    }

    /// The state with the time that has passed, and with nothing spent if the day is over.
    fn state_now(&self) -> State {
        let since_opening = self.clock.elapsed(self.opened);
        let now_ms = self.at_opening_ms.saturating_add(millis(since_opening));
        let is_over = now_ms.saturating_sub(self.state.day_began_ms) >= millis(DAY);
        State {
            now_ms,
            boot: self.boot.id.clone(),
            uptime_ms: millis(self.boot.uptime.saturating_add(since_opening)),
            day_began_ms: self.state.day_began_ms,
            spent_millionths: if is_over {
                0
            } else {
                self.state.spent_millionths
            },
        }
    }

    fn next_day(&self, state: &State) -> Duration {
        let passed = Duration::from_millis(state.now_ms.saturating_sub(state.day_began_ms));
        DAY.saturating_sub(passed)
    }

    fn store(&mut self, state: State) -> Result<(), BudgetError> {
        let json = encoded(&state);
        // If the write fails, the file may have either state: this one has spent more.
        self.state = state;
        json.and_then(|json| self.disk.replace(&self.path, &json))
            .map_err(|source| BudgetError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

fn encoded(state: &State) -> io::Result<Vec<u8>> {
    let stored = Stored {
        format: FORMAT.written(),
        check: check(state)?,
        state: state.clone(),
    };
    Ok(serde_json::to_vec(&stored)?)
}

fn read(path: &Path) -> Result<State, BudgetError> {
    let bytes = match files::read_bytes(path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(source) => {
            let path = path.to_owned();
            return Err(BudgetError::Io { path, source });
        }
    };
    let damaged = || BudgetError::Damaged {
        path: path.to_owned(),
    };
    FORMAT.check_json(path.display(), &bytes)?;
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    // Written again, so that no byte can differ from what this program writes.
    let same_bytes = serde_json::to_vec(&stored).is_ok_and(|again| again == bytes);
    let is_known = (1..=FORMAT.newest()).contains(&stored.format);
    match check(&stored.state) {
        Ok(check) if check == stored.check && same_bytes && is_known => Ok(stored.state),
        _ => Err(damaged()),
    }
}

fn check(state: &State) -> io::Result<u32> {
    Ok(crc32fast::hash(&serde_json::to_vec(state)?))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn shown(millionths: u64) -> String {
    Epsilon::from_millionths(millionths)
        .map_or_else(|_| "nothing".to_owned(), |epsilon| epsilon.to_string())
}
