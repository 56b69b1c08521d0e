//! The history of the device: what its status was over an hour, a day and a month, in a file of fixed size.

mod file;
mod record;
mod sampler;

use hotshoe_protocol::status::Status;
use serde::Serialize;

pub(crate) use file::{HistoryFile, Span};

use file::{HistoryFileError, WRITE_EVERY_S};
use record::{Mark, Record, SERIES_NAMES};
use sampler::Sampler;

/// How often the status is looked at, in seconds.
pub(crate) const SAMPLE_EVERY_S: u64 = 5;

/// The history as a page gets it.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryAnswer<'a> {
    span: Span,
    slot_s: u64,
    /// The newest second.
    now: u64,
    seconds: u64,
    series: [&'static str; record::SERIES],
    records: Vec<&'a Record>,
    marks: Vec<&'a Mark>,
}

/// Fills the file of the history.
#[derive(Debug)]
pub(crate) struct History {
    file: HistoryFile,
    sampler: Sampler,
    /// When it was written last, in seconds since 1970.
    flushed: u64,
}

impl History {
    pub(crate) fn new(file: HistoryFile) -> Self {
        Self {
            file,
            sampler: Sampler::default(),
            flushed: 0,
        }
    }

    /// Looks at the status at a second of the wall clock. `uptime_ms` is the time since the start.
    pub(crate) fn add(&mut self, status: &Status, now: u64, uptime_ms: u64) {
        for mark in self.sampler.marks(status) {
            self.file.mark(mark);
        }
        for (span, record) in self.sampler.add(status, now, uptime_ms) {
            self.file.add(span, record);
        }
    }

    /// Writes it if it is time to, or if `at_end`. A clock that was set back counts as time to.
    ///
    /// # Errors
    /// [`HistoryFileError::Write`]
    pub(crate) fn flush(&mut self, now: u64, at_end: bool) -> Result<(), HistoryFileError> {
        if at_end {
            for (span, record) in self.sampler.finish() {
                self.file.add(span, record);
            }
        } else if now >= self.flushed && now - self.flushed < WRITE_EVERY_S {
            return Ok(());
        }
        self.flushed = now;
        self.file.flush().map(drop)
    }

    pub(crate) fn answer(&self, span: Span, now: u64) -> HistoryAnswer<'_> {
        HistoryAnswer {
            span,
            slot_s: span.slot_s(),
            now,
            seconds: span.seconds(),
            series: SERIES_NAMES,
            records: self.file.records(span, now),
            marks: self.file.marks(span, now),
        }
    }
}
