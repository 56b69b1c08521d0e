//! Threads that decompress, check and store the objects that arrive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use hotshoe_protocol::wire::expand;
use parking_lot::Mutex;

use super::context::{Event, StoreFn, Stored};

/// A received object, not checked yet.
pub(crate) struct ReceivedObject {
    pub batch: u64,
    pub number: usize,
    pub from: u128,
    pub zstd: bool,
    pub bytes: Vec<u8>,
}

/// Decompresses, checks and stores objects until it receives `None`.
pub(crate) fn check(
    arrived: &Mutex<Receiver<Option<ReceivedObject>>>,
    over: &AtomicBool,
    most: &[u64],
    keep: StoreFn<'_>,
    verdicts: &Sender<Event>,
) {
    loop {
        let Ok(Some(object)) = arrived.lock().recv() else {
            return;
        };
        if over.load(Ordering::Relaxed) {
            continue;
        }
        let most = most.get(object.number).copied().unwrap_or(0);
        let size = object.bytes.len() as u64;
        let store = || {
            let bytes = match object.zstd {
                false => Ok(object.bytes),
                true => expand(&object.bytes, usize::try_from(most).unwrap_or(0)),
            };
            match bytes {
                Ok(bytes) if bytes.len() as u64 <= most => keep(object.number, &bytes),
                _ => Ok(Stored::Invalid),
            }
        };
        // The fetch waits for each result, so a panic of the check counts as an invalid object.
        let stored = catch_unwind(AssertUnwindSafe(store)).unwrap_or(Ok(Stored::Invalid));
        let event = match stored {
            Ok(stored) => Event::Checked {
                batch: object.batch,
                number: object.number,
                from: object.from,
                size,
                stored,
            },
            Err(error) => Event::Failed(error),
        };
        if verdicts.send(event).is_err() {
            return;
        }
    }
}
