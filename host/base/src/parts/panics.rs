//! Panics: a line in the log each, and a list of the threads of libraries that had one.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeMap;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::PREFIX;
use super::{PartState, PartStatus};

/// Most names of threads that are kept.
const MAX_THREADS: usize = 32;
/// Longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 512;

/// Threads of libraries that panicked: how often, and what the last one said.
static LIBRARIES: Mutex<BTreeMap<String, (u64, String)>> = Mutex::new(BTreeMap::new());

/// From now on a panic is a line in the log, and one in a thread of a library is kept for the status.
///
/// The standard library's own report goes to standard error, where a reader that does not read would hold up the thread for ever.
pub fn log_panics() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    let message = message(info.payload());
    if is_of_library(name) {
        let mut all = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_THREADS || all.contains_key(name) {
            let (count, last) = all.entry(name.to_owned()).or_default();
            *count += 1;
            last.clone_from(&message);
        }
    }
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread = name, place, message, %backtrace, "a thread panicked");
    } else {
        tracing::error!(thread = name, place, message, "a thread panicked");
    }
}

/// Whether a thread is neither one of ours, whose panics are caught and accounted for where they happen, nor an unnamed helper, whose
/// panic reaches the thread that it helps.
fn is_of_library(name: &str) -> bool {
    let ours = [PREFIX, "infer-"];
    name != "main" && name != "unnamed" && !ours.iter().any(|prefix| name.starts_with(prefix))
}

/// The threads of libraries that panicked.
pub(super) fn of_libraries() -> Vec<PartStatus> {
    let all = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let part = |(name, (count, message)): (&String, &(u64, String))| PartStatus {
        name: format!("library thread {name}"),
        state: PartState::Panicked,
        threads: 1,
        restarts: 0,
        cause: Some(format!("{count} panics, the last: {message}")),
    };
    all.iter().map(part).collect()
}

/// What a panic said.
pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    let end = text.floor_char_boundary(MAX_MESSAGE);
    text.get(..end).unwrap_or_default().to_owned()
}
