//! Logging of panics, and a list of the library threads that panicked.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeMap;
use std::panic::{self, PanicHookInfo};
use std::thread;

use parking_lot::Mutex;

use super::PREFIX;
use super::{PartState, PartStatus};

/// Most thread names that are kept.
const MAX_THREADS: usize = 32;
/// Longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 512;

/// Number of panics and last message, by library thread.
static LIBRARIES: Mutex<BTreeMap<String, (u64, String)>> = Mutex::new(BTreeMap::new());

/// Logs every panic from now on, and keeps those of library threads for the status.
///
/// The standard library's own report goes to standard error, where a reader that does not read would block the thread for ever.
pub fn log_panics() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    let message = message(info.payload());
    if is_of_library(name) {
        let mut all = LIBRARIES.lock();
        if all.len() < MAX_THREADS || all.contains_key(name) {
            let (count, last) = all.entry(name.to_owned()).or_default();
            *count += 1;
            last.clone_from(&message);
        }
    }
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread = name, location, message, %backtrace, "a thread panicked");
    } else {
        tracing::error!(thread = name, location, message, "a thread panicked");
    }
}

/// Whether a thread belongs to a library. Our own threads catch their panics, and a panic of an unnamed helper reaches the thread that
/// joins it.
fn is_of_library(name: &str) -> bool {
    let ours = [PREFIX, "infer-"];
    name != "main" && name != "unnamed" && !ours.iter().any(|prefix| name.starts_with(prefix))
}

/// The status of the library threads that panicked.
pub(super) fn of_libraries() -> Vec<PartStatus> {
    let all = LIBRARIES.lock();
    let part = |(name, (count, message)): (&String, &(u64, String))| PartStatus {
        name: format!("library thread {name}"),
        state: PartState::Panicked,
        threads: 1,
        restarts: 0,
        cause: Some(format!("{count} panics, the last: {message}")),
    };
    all.iter().map(part).collect()
}

/// The message of a panic, cut to [`MAX_MESSAGE`].
pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let end = text.floor_char_boundary(MAX_MESSAGE);
    text.get(..end).unwrap_or_default().to_owned()
}
