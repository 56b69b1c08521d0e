//! How often the daemon has ended unexpectedly soon after it started with the live release.
//!
//! A start with the live release is recorded before the release is loaded, and the record says so until the daemon ends in order or has run
//! for long enough. So it survives SIGKILL and a crash of any thread at every step. Only the monotonic clock of one process decides: the
//! time of day plays no part. An end by a restart of the machine does not count, since it is mostly a power cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::files::read_bytes;
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_base::{Clock, chain};
use hotshoe_config::DeployConfig;
use hotshoe_store::{Cause, Slot};
use hotshoe_trust::{Digest, Time};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Name of the record in the data folder.
const FILE: &str = "starts.json";
/// Largest record, in bytes.
const MAX_BYTES: u64 = 4 << 10;
/// The format of the record.
const FORMAT: FileFormat = FileFormat::new(1, 1);
/// Changes with each start of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The name of the cause of a release that the daemon kept ending with.
const CRASH_LOOP: &str = "crash_loop";

/// The starts with one live release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    /// The release.
    release: Digest,
    /// When it was installed: a release that is installed again is counted from the start.
    installed: Time,
    /// The start of the machine, where the system says it.
    boot: Option<String>,
    /// Unexpected ends in a row.
    crashes: u32,
    /// Whether an end counts from now on.
    counts: bool,
}

impl Record {
    fn is_of(&self, slot: &Slot) -> bool {
        (self.release, self.installed) == (slot.release, slot.installed)
    }
}

/// Why the record could not be read.
#[derive(Debug, thiserror::Error)]
enum StartRecordError {
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

/// Owns the record of starts. Shared by what ends the daemon and what sees that it goes on.
#[derive(Debug)]
pub(crate) struct StartRecord {
    path: PathBuf,
    disk: Disk,
    clock: Clock,
    began: Instant,
    boot: Option<String>,
    max_crashes: u32,
    within: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    record: Option<Record>,
    /// False if a newer version wrote the record, which then stays as it is.
    is_saved: bool,
    /// Whether this process loads the live release.
    has_begun: bool,
}

impl StartRecord {
    /// Reads the record of a data folder. One that cannot be read counts nothing.
    pub(super) fn open(data: &Path, config: &DeployConfig, clock: Clock) -> Self {
        let boot = fs::read_to_string(BOOT).ok();
        let boot = boot.map(|boot| boot.trim().to_owned());
        Self::on(Disk::new(Faults::never()), data, config, boot, clock)
    }

    fn on(
        disk: Disk,
        data: &Path,
        config: &DeployConfig,
        boot: Option<String>,
        clock: Clock,
    ) -> Self {
        let path = data.join(FILE);
        let read = read(&path);
        let is_saved = !matches!(read, Err(StartRecordError::Newer(_)));
        let record = read.unwrap_or_else(|error| {
            tracing::warn!(
                reason = chain(&error),
                "cannot read how often the daemon has ended unexpectedly; it is counted from the start"
            );
            None
        });
        Self {
            path,
            disk,
            began: clock.now(),
            clock,
            boot,
            max_crashes: config.max_crashes,
            within: Duration::from_secs(config.crash_seconds),
            state: Mutex::new(State {
                record,
                is_saved,
                has_begun: false,
            }),
        }
    }

    /// Unexpected ends in a row with this live release up to now. After a restart of the machine it has one more try.
    fn crashes(&self, live: &Slot) -> u32 {
        let state = self.state.lock();
        let Some(record) = state.record.as_ref().filter(|record| record.is_of(live)) else {
            return 0;
        };
        if record.boot != self.boot {
            return record.crashes.min(self.max_crashes.saturating_sub(1));
        }
        record.crashes.saturating_add(record.counts.into())
    }

    /// Why the live release is given up: the daemon has ended with it as often as is allowed. `None` if it may be loaded.
    pub(super) fn crash_loop(&self, live: &Slot) -> Option<Cause> {
        let crashes = self.crashes(live);
        if self.max_crashes == 0 || crashes < self.max_crashes {
            return None;
        }
        let message = format!(
            "the daemon ended unexpectedly {crashes} times in a row, each within {} s of its start with this release",
            self.within.as_secs()
        );
        Some(Cause::new(CRASH_LOOP, message))
    }

    /// Records that the live release is about to be loaded: from now on, an end that is not in order counts.
    pub(super) fn begin(&self, live: &Slot) {
        self.note(live, self.max_crashes > 0);
        self.state.lock().has_begun = true;
    }

    /// Records that the live release is not loaded, because it was given up.
    pub(super) fn give_up(&self, live: &Slot) {
        self.note(live, false);
    }

    fn note(&self, live: &Slot, counts: bool) {
        let record = Record {
            format: FORMAT.written(),
            release: live.release,
            installed: live.installed,
            boot: self.boot.clone(),
            crashes: self.crashes(live),
            counts,
        };
        self.save(&mut self.state.lock(), record);
    }

    /// Records that the daemon ends in order, or that it does not serve the live release. What was counted stays.
    pub(crate) fn end(&self) {
        self.count_no_more(|crashes| crashes);
    }

    /// Lets the end count that comes now, although it is in order: the process cannot go on.
    pub(crate) fn let_count(&self) {
        // What is not known any more cannot be changed.
        self.state.lock().record = None;
    }

    /// Forgets what was counted once the daemon has run for long enough.
    pub(crate) fn check(&self) {
        if self.clock.elapsed(self.began) >= self.within {
            self.count_no_more(|_| 0);
        }
    }

    /// Records that an end does not count from now on. One lock for reading and writing: [`Self::let_count`] may come meanwhile.
    fn count_no_more(&self, crashes: impl FnOnce(u32) -> u32) {
        let mut state = self.state.lock();
        if let Some(record) = state.record.clone().filter(|record| record.counts) {
            let record = Record {
                crashes: crashes(record.crashes),
                counts: false,
                ..record
            };
            self.save(&mut state, record);
        }
    }

    /// Without room on the disk, nothing is counted: the daemon serves all the same.
    fn save(&self, state: &mut State, record: Record) {
        if !state.is_saved || state.record.as_ref() == Some(&record) {
            return;
        }
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|bytes| self.disk.replace(&self.path, &bytes));
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.path.display(), "cannot record this start; its end does not count");
        }
        state.record = Some(record);
    }
}

impl Drop for StartRecord {
    /// A start that fails ends in order. A panic does not.
    fn drop(&mut self) {
        let has_begun = self.state.get_mut().has_begun;
        if has_begun && !thread::panicking() {
            self.end();
        }
    }
}

fn read(path: &Path) -> Result<Option<Record>, StartRecordError> {
    let bytes = match read_bytes(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StartRecordError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    FORMAT.check_json(path.display(), &bytes)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| StartRecordError::Damaged {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
