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
/// Most records of limited kinds in that time that are not the first of their kind and reason: with 30 for each reason alone, the many
/// reasons for which a release can be refused would fill the log in hours.
const MAX_REPEATED: u64 = 60;
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
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    by_reason: BTreeMap<(AuditKind, String), Window>,
    /// Of all records that were not the first ones of their windows; none yet.
    repeated: Option<Window>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    recorded: u64,
    suppressed: u64,
}

impl Window {
    const fn begin(now: Instant) -> Self {
        Self {
            begun: now,
            recorded: 0,
            suppressed: 0,
        }
    }

    /// Begins again if its time is over. What was suppressed is still to be counted.
    fn renew(&mut self, now: Instant) {
        if now.saturating_duration_since(self.begun) >= WINDOW {
            (self.begun, self.recorded) = (now, 0);
        }
    }
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

    /// Records what other machines can cause: at most `most` of a kind and reason in an hour, and of all kinds and reasons the first ones
    /// and [`MAX_REPEATED`] more. The next one counts those that were left out, so that a flood does not displace what happened before.
    pub(crate) fn record_limited(&self, entry: Entry, reason: &str, most: u64) {
        let now = self.0.clock.now();
        let mut windows = self.0.windows.lock();
        let Windows {
            by_reason,
            repeated,
        } = &mut *windows;
        let mut key = (entry.kind(), reason.to_owned());
        if by_reason.len() >= MAX_REASONS && !by_reason.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        let window = by_reason.entry(key).or_insert(Window::begin(now));
        window.renew(now);
        let repeated = repeated.get_or_insert(Window::begin(now));
        repeated.renew(now);
        let is_first = window.recorded == 0;
        if window.recorded >= most || (!is_first && repeated.recorded >= MAX_REPEATED) {
            window.suppressed += 1;
            return;
        }
        repeated.recorded += u64::from(!is_first);
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
        let all = windows.by_reason.iter_mut();
        let suppressed = all.filter(|(_, it)| it.suppressed > 0);
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

    #[test]
    fn a_flood_of_many_reasons_leaves_the_first_of_each_and_a_bounded_number() {
        let time = VirtualClock::at(std::time::UNIX_EPOCH);
        let (sender, messages) = sync_channel(1_000);
        let recorder = AuditRecorder::new(sender, time.clock());
        let refuse = |reason: &str| {
            let entry = recorder.entry(AuditKind::ReleaseRefused);
            recorder.record_limited(entry.with("reason", reason), reason, 30);
        };
        let reasons: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
        let flood = || {
            for reason in &reasons {
                (0..100).for_each(|_| refuse(reason));
            }
        };
        flood();
        let entries: Vec<Entry> = messages
            .try_iter()
            .map(|message| match message {
                Message::Record(entry) => entry,
                Message::Stop => panic!("not a record"),
            })
            .collect();
        let of = |reason: &str| {
            let own = entries.iter();
            own.filter(|entry| entry.details()["reason"] == reason)
                .count()
        };
        // 30 of the first two reasons, and what is left of the 60 repeated ones: 29 + 29 + 2.
        assert_eq!((of("r0"), of("r1"), of("r2")), (30, 30, 3));
        assert!(reasons.iter().skip(3).all(|reason| of(reason) == 1));
        let suppressed: u64 = recorder
            .take_suppressed()
            .iter()
            .map(|entry| entry.details()[SUPPRESSED].parse::<u64>().unwrap())
            .sum();
        assert_eq!(suppressed, 1_000 - 30 - 30 - 3 - 7);
        time.advance(WINDOW);
        flood();
        assert_eq!(messages.try_iter().count(), 10 + 60);
    }
}
