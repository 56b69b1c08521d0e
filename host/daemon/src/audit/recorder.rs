//! Hands records to the writer, and never waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hotshoe_audit::{AuditKind, Entry};
use hotshoe_base::Clock;
use hotshoe_trust::time_of;
use parking_lot::Mutex;

use super::Message;

/// The time in which a limited kind is counted.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Most reasons that are counted apart; further ones share one count of their kind.
const MAX_REASONS: usize = 256;
/// The reason of those.
const OTHER: &str = "other";
/// The detail with the number of records that the limit kept out.
const SUPPRESSED: &str = "suppressed";

/// Records what happened, from any thread. Clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct AuditRecorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sender: SyncSender<Message>,
    clock: Clock,
    /// Records that did not fit into the queue.
    lost: AtomicU64,
    windows: Mutex<BTreeMap<(AuditKind, String), Window>>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    recorded: u64,
    suppressed: u64,
}

impl AuditRecorder {
    pub(super) fn new(sender: SyncSender<Message>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            sender,
            clock,
            lost: AtomicU64::new(0),
            windows: Mutex::default(),
        }))
    }

    /// An entry of the present time.
    pub(crate) fn entry(&self, kind: AuditKind) -> Entry {
        Entry::new(kind, time_of(self.0.clock.wall()))
    }

    /// Records an entry. If the queue is full, it is lost and counted.
    pub(crate) fn record(&self, entry: Entry) {
        if self.0.sender.try_send(Message::Record(entry)).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records what other machines can cause: at most `most` of a kind and reason in an hour. The next one counts those that were left
    /// out, so that a flood does not displace what happened before.
    pub(crate) fn record_limited(&self, entry: Entry, reason: &str, most: u64) {
        let now = self.0.clock.now();
        let mut windows = self.0.windows.lock();
        let mut key = (entry.kind(), reason.to_owned());
        if windows.len() >= MAX_REASONS && !windows.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        let window = windows.entry(key).or_insert(Window {
            begun: now,
            recorded: 0,
            suppressed: 0,
        });
        if now.saturating_duration_since(window.begun) >= WINDOW {
            (window.begun, window.recorded) = (now, 0);
        }
        if window.recorded >= most {
            window.suppressed += 1;
            return;
        }
        window.recorded += 1;
        let suppressed = std::mem::take(&mut window.suppressed);
        drop(windows);
        self.record(match suppressed {
            0 => entry,
            number => entry.with(SUPPRESSED, number.to_string()),
        });
    }

    /// The number of lost records since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        self.0.lost.swap(0, Ordering::Relaxed)
    }

    /// Entries that count what the limits kept out and no entry has counted yet.
    pub(super) fn take_suppressed(&self) -> Vec<Entry> {
        let mut windows = self.0.windows.lock();
        let suppressed = windows.iter_mut().filter(|(_, it)| it.suppressed > 0);
        let entries = suppressed.map(|((kind, reason), window)| {
            let number = std::mem::take(&mut window.suppressed);
            self.entry(*kind)
                .with("reason", reason)
                .with(SUPPRESSED, number.to_string())
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests"
    )]
    use std::sync::mpsc::{Receiver, sync_channel};

    use hotshoe_base::VirtualClock;

    use super::*;

    fn next(messages: &Receiver<Message>) -> Entry {
        let Message::Record(entry) = messages.try_recv().unwrap() else {
            panic!("not a record");
        };
        entry
    }

    #[test]
    fn a_full_queue_loses_records_and_counts_them() {
        let (sender, messages) = sync_channel(2);
        let recorder = AuditRecorder::new(sender, Clock::default());
        (0..5).for_each(|_| recorder.record(recorder.entry(AuditKind::Command)));
        assert_eq!(recorder.take_lost(), 3);
        assert_eq!(recorder.take_lost(), 0);
        assert_eq!(messages.try_iter().count(), 2);
    }

    #[test]
    fn a_flood_is_recorded_once_in_an_hour_and_counted() {
        let time = VirtualClock::at(std::time::UNIX_EPOCH);
        let (sender, messages) = sync_channel(100);
        let recorder = AuditRecorder::new(sender, time.clock());
        let refuse = |reason: &str| {
            let entry = recorder.entry(AuditKind::StatementRefused);
            recorder.record_limited(entry.with("reason", reason), reason, 1);
        };
        (0..1_000).for_each(|_| refuse("unsigned"));
        refuse("replayed");
        assert_eq!(next(&messages).details()["reason"], "unsigned");
        assert_eq!(next(&messages).details()["reason"], "replayed");
        assert!(messages.try_recv().is_err());
        time.advance(WINDOW);
        refuse("unsigned");
        assert_eq!(next(&messages).details()[SUPPRESSED], "999");
        refuse("unsigned");
        let left = recorder.take_suppressed();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].details()[SUPPRESSED], "1");
        assert!(recorder.take_suppressed().is_empty());
    }
}
