//! Writes the outputs of a plan, such as the speed of a fan. A write that hangs costs its own output: the thread that writes is left to itself,
//! and the output is not written again before that thread has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::GovernorOutput;

/// Longest time of one write. It is by the system's clock: the kernel writes.
pub const WRITE_TIMEOUT: Duration = Duration::from_millis(250);

/// The outputs, by name, each with its place and what it is to have, in percent.
pub type Wanted = BTreeMap<String, (GovernorOutput, u8)>;

/// What was written last to each output.
#[derive(Debug)]
pub struct Outputs {
    supervisor: Supervisor,
    driven: BTreeMap<PathBuf, Driven>,
}

#[derive(Debug, Default)]
struct Driven {
    off: u32,
    written: Option<u32>,
    fault: Option<&'static str>,
    hung: Option<JoinHandle<()>>,
}

/// An output that could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFault {
    /// The file.
    pub path: PathBuf,
    /// The stable name: `timed_out` or `failed`.
    pub fault: &'static str,
    /// What the system says.
    pub message: String,
}

impl Outputs {
    /// Without outputs. `supervisor` starts the threads that write.
    pub const fn new(supervisor: Supervisor) -> Self {
        Self {
            supervisor,
            driven: BTreeMap::new(),
        }
    }

    /// Writes what differs from what was written last, and turns off what is no longer there. Returns what fails and did not fail in the
    /// same way the time before. It takes at most [`WRITE_TIMEOUT`] for each output that hangs.
    pub fn set(&mut self, wanted: &Wanted) -> Vec<OutputFault> {
        let files: BTreeSet<&Path> = wanted.values().map(|(it, _)| it.file.as_path()).collect();
        let gone = self.driven.iter();
        let gone: Vec<_> = gone
            .filter(|(path, _)| !files.contains(path.as_path()))
            .map(|(path, driven)| (path.clone(), driven.off))
            .collect();
        // Two outputs of one file: the higher one counts, or each would undo the other's write in each round.
        let mut higher: BTreeMap<&Path, (&GovernorOutput, u8)> = BTreeMap::new();
        for (output, percent) in wanted.values() {
            let one = higher.entry(&output.file).or_insert((output, *percent));
            if *percent > one.1 {
                *one = (output, *percent);
            }
        }
        let mut faults = Vec::new();
        for (path, off) in gone {
            faults.extend(self.write(&path, off, off));
            // One that failed is not tried again: the operator took it out.
            self.driven.remove(&path);
        }
        for (output, percent) in higher.into_values() {
            let number = number(output, percent);
            faults.extend(self.write(&output.file, output.off, number));
        }
        faults
    }

    /// Turns every output off.
    pub fn turn_off(&mut self) -> Vec<OutputFault> {
        self.set(&Wanted::new())
    }

    fn write(&mut self, path: &Path, off: u32, number: u32) -> Option<OutputFault> {
        let driven = self.driven.entry(path.to_owned()).or_default();
        driven.off = off;
        if driven.hung.as_ref().is_some_and(|it| !it.is_finished()) {
            return None;
        }
        driven.hung = None;
        if driven.written == Some(number) {
            return None;
        }
        let failed = match write_in_time(&self.supervisor, path, number.to_string()) {
            Ok(()) => {
                (driven.written, driven.fault) = (Some(number), None);
                return None;
            }
            Err(failed) => failed,
        };
        driven.written = None;
        let fault = failed.fault();
        let is_new = driven.fault.replace(fault) != Some(fault);
        let message = failed.to_string();
        if let WriteError::TimedOut { writer } = failed {
            driven.hung = Some(writer);
        }
        is_new.then(|| OutputFault {
            path: path.to_owned(),
            fault,
            message,
        })
    }
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// It takes too long.
    #[error("the write took longer than {} ms", WRITE_TIMEOUT.as_millis())]
    TimedOut {
        /// The thread that writes.
        writer: JoinHandle<()>,
    },
    /// The system returns an error.
    #[error("{0}")]
    Failed(io::Error),
}

impl WriteError {
    /// The stable name.
    pub(super) const fn fault(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed_out",
            Self::Failed(_) => "failed",
        }
    }
}

/// Writes a text to a file that exists, on a thread of its own.
pub(super) fn write_in_time(
    supervisor: &Supervisor,
    path: &Path,
    text: String,
) -> Result<(), WriteError> {
    let (sender, written) = sync_channel(1);
    let file = path.to_owned();
    let writer = supervisor.task("output-writer", move || {
        // The receiver is gone after the time limit.
        let _ = sender.send(write(&file, &text));
    });
    let writer = writer.map_err(WriteError::Failed)?;
    match written.recv_timeout(WRITE_TIMEOUT) {
        Ok(done) => done.map_err(WriteError::Failed),
        Err(RecvTimeoutError::Timeout) => Err(WriteError::TimedOut { writer }),
        Err(RecvTimeoutError::Disconnected) => {
            Err(WriteError::Failed(io::Error::other("the writer panicked")))
        }
    }
}

/// A file of a driver is written in place. Links are followed, since `/sys/class` has nothing else; the operator names the file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// The number for a percentage, rounded.
fn number(output: &GovernorOutput, percent: u8) -> u32 {
    let (off, full) = (i64::from(output.off), i64::from(output.full));
    let scaled = (full - off) * i64::from(percent.min(100));
    let half = if scaled < 0 { -50 } else { 50 };
    u32::try_from(off + (scaled + half) / 100).unwrap_or(output.off)
}
