//! The queue of log lines before a file that may be full or closed, or a pipe without a reader.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing_subscriber::fmt::MakeWriter;

use super::{Limiter, TARGET, count_lost};

/// Most bytes in the queue: 1 MiB.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// Pause before a busy file is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Most such retries before the line is lost.
const BUSY_TRIES: u32 = 50;
/// Least time between two reports of lost lines.
const REPORT_LOST_EVERY: Duration = Duration::from_secs(1);
/// Interval of checks for left-out lines.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Handle of the queue. Clones share it.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    limiter: Arc<Limiter>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether a line is being written.
    writing: bool,
    /// Lines lost since the last report.
    lost: u64,
    reported: Option<Instant>,
}

/// The writer of one line.
pub struct Line<'a> {
    queue: &'a Queue,
}

impl Queue {
    /// Starts the thread that writes the lines, and reports what `limiter` left out.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn open(
        mut file: impl Write + Send + 'static,
        limiter: Arc<Limiter>,
        supervisor: &Supervisor,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            limiter,
        });
        let queue = Self { shared };
        let own = queue.clone();
        let waker = queue.clone();
        queue.shared.limiter.on_first(move || {
            // The lock makes sure that the thread is not between its check and its wait.
            drop(waker.lock());
            waker.shared.changed.notify_all();
        });
        let thread = supervisor.restarted("log", move || {
            // Set if this thread panicked on a line.
            own.lock().writing = false;
            own.write_all(&mut file);
            Ok(())
        })?;
        Ok((queue, thread))
    }

    /// Adds a line with its line feed, without blocking. If there is no room, the line is lost.
    pub fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > MAX_WAITING_BYTES {
            state.lost += 1;
            drop(state);
            count_lost(1);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Reports left-out lines, and waits at most `limit` until all is written. Returns whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        self.shared.limiter.report(true);
        let mut state = self.lock();
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        self.shared
            .changed
            .wait_while_for(&mut state, is_busy, limit);
        !state.writing && state.lines.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    fn write_all(&self, file: &mut impl Write) {
        let mut torn = false;
        loop {
            let line = self.next();
            let written = write(file, &line, &mut torn);
            let lost = self.written(written.is_ok());
            if lost > 0 {
                tracing::warn!(
                    target: TARGET,
                    lost,
                    "log lines were lost: they could not be written, or arrived faster than they could be written"
                );
            }
        }
    }

    /// Waits for the next line, and meanwhile reports left-out lines.
    fn next(&self) -> Vec<u8> {
        loop {
            let mut state = self.lock();
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.writing = true;
                return line;
            }
            let changed = &self.shared.changed;
            if self.shared.limiter.has_unreported() {
                changed.wait_for(&mut state, CHECK_INTERVAL);
                drop(state);
                self.shared.limiter.report(false);
            } else {
                changed.wait(&mut state);
            }
        }
    }

    /// Records the end of a line. Returns the number of lost lines if it is time to report it.
    fn written(&self, well: bool) -> u64 {
        let mut state = self.lock();
        state.writing = false;
        let report = if well {
            let due = state
                .reported
                .is_none_or(|at| at.elapsed() >= REPORT_LOST_EVERY);
            if state.lost > 0 && due {
                state.reported = Some(Instant::now());
                std::mem::take(&mut state.lost)
            } else {
                0
            }
        } else {
            state.lost += 1;
            0
        };
        drop(state);
        if !well {
            count_lost(1);
        }
        self.shared.changed.notify_all();
        report
    }
}

/// Writes a line, after a line feed if the last one was cut off (`torn`).
fn write(file: &mut impl Write, line: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        write_part(file, b"\n").map_err(|(_, error)| error)?;
        *torn = false;
    }
    write_part(file, line).map_err(|(written, error)| {
        *torn = written > 0;
        error
    })
}

/// Writes all bytes. The error has the number of bytes written before it.
fn write_part(file: &mut impl Write, mut rest: &[u8]) -> Result<(), (usize, io::Error)> {
    let all = rest.len();
    let mut tries = 0;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err((all - rest.len(), io::ErrorKind::WriteZero.into())),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(error) => return Err((all - rest.len(), error)),
        }
    }
    Ok(())
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
