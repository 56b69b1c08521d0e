//! What waits for the next commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::error::AppendError;
use crate::log::Refused;
use crate::record::{LossCause, Position, Record};

/// Bytes that a record takes in the queue beside its payload.
const RECORD_BYTES: usize = size_of::<Record>();

/// Records that waited for each other are committed together.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) records: Vec<Record>,
    pub(super) group: Arc<Group>,
}

/// What becomes known of the records of an entry.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) outcome: Mutex<Option<Result<Vec<Position>, AppendError>>>,
    pub(super) done: Condvar,
}

/// What one commit writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) refused: Vec<Refused>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    pub(super) bytes: usize,
    records: usize,
    /// Records that were refused, and their bytes, by source and cause.
    refused: BTreeMap<(Arc<str>, LossCause), (u64, u64)>,
    /// Callers that wait for the next commit.
    pub(super) waiters: usize,
    /// Records of the last commit: when as many are there again, and a caller waits, no more are expected.
    expected: usize,
    /// The log has something else to write.
    pub(super) wanted: bool,
    /// When the thread looks at the log by itself.
    pub(super) next: Option<Instant>,
    pub(super) rejected: u64,
    pub(super) closed: bool,
    pub(super) ended: bool,
}

impl Group {
    /// Sets the outcome, once.
    pub(super) fn complete(&self, outcome: Result<Vec<Position>, AppendError>) {
        self.outcome.lock().get_or_insert(outcome);
        self.done.notify_all();
    }
}

impl Drop for Entry {
    /// Where the commit did not end, its callers wait no longer.
    fn drop(&mut self) {
        self.group.complete(Err(AppendError::Closed));
    }
}

impl Queue {
    pub(super) fn has_work(&self) -> bool {
        self.wanted || !self.entries.is_empty() || !self.refused.is_empty()
    }

    /// Whether the commit need not wait for the end of its window.
    pub(super) fn is_due(&self, commit_bytes: usize) -> bool {
        let all_came = self.waiters > 0 && self.records >= self.expected.max(1);
        all_came || self.bytes >= commit_bytes
    }

    /// Whether records fit. What is larger than the queue is taken when it is empty.
    pub(super) fn has_room(&self, records: &[Record], limit: usize) -> bool {
        self.entries.is_empty() || self.bytes.saturating_add(bytes_of(records)) <= limit
    }

    pub(super) fn push(&mut self, records: Vec<Record>) -> Arc<Group> {
        let group = Arc::new(Group::default());
        self.bytes += bytes_of(&records);
        self.records += records.len();
        self.entries.push_back(Entry {
            records,
            group: Arc::clone(&group),
        });
        group
    }

    /// Counts records that are refused, which the log names as lost. Of sources beyond the limit it could say nothing.
    pub(super) fn refuse(&mut self, records: &[Record], cause: LossCause, sources: usize) {
        // There are two causes.
        let most = sources.saturating_mul(2);
        for record in records {
            let key = (Arc::clone(&record.source), cause);
            if !self.refused.contains_key(&key) && self.refused.len() >= most {
                continue;
            }
            let entry = self.refused.entry(key).or_default();
            entry.0 += 1;
            entry.1 += record.payload.len() as u64;
        }
    }

    /// Takes entries of about `commit_bytes`, and at least one.
    pub(super) fn take(&mut self, commit_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        let (mut bytes, mut records) = (0, 0);
        while bytes < commit_bytes
            && let Some(entry) = self.entries.pop_front()
        {
            bytes += bytes_of(&entry.records);
            records += entry.records.len();
            batch.entries.push(entry);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.records = self.records.saturating_sub(records);
        if records > 0 {
            self.expected = records;
        }
        self.wanted = false;
        if self.entries.is_empty() {
            self.waiters = 0;
            // After the records that came before them.
            let refused = std::mem::take(&mut self.refused).into_iter();
            batch.refused = refused
                .map(|((source, cause), (count, bytes))| Refused {
                    source,
                    cause,
                    count,
                    bytes,
                })
                .collect();
        }
        batch
    }
}

fn bytes_of(records: &[Record]) -> usize {
    let of = |record: &Record| record.payload.len() + RECORD_BYTES;
    records.iter().map(of).sum()
}
