//! What the outbox has, in memory: of each source the undelivered records, the acknowledged ranges and the losses; of each segment its use.
//! Every sequence below a source's next one is in exactly one of the three.

mod eviction;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::ranges::Ranges;
use crate::record::{Loss, LossCause, Priority};

pub(crate) use eviction::Evicted;

/// From this many losses of a source more than it has records, neighbours are merged whatever their causes are.
const MANY_LOSSES: usize = 64;

/// An undelivered record on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    /// Bytes of its frame.
    pub(crate) size: u32,
    pub(crate) payload: u32,
    pub(crate) age_ms: u64,
    pub(crate) priority: Priority,
    pub(crate) epoch: u16,
}

/// A loss that was not acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct HeldLoss {
    pub(crate) loss: Loss,
    /// It is on the disk, so it may be sent.
    pub(crate) durable: bool,
    /// It was sent as it is, so it does not change any more, unless there are many.
    pub(crate) sent: bool,
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) next: u64,
    pub(crate) live: BTreeMap<u64, Live>,
    pub(crate) acknowledged: Ranges,
    /// By first sequence.
    pub(crate) losses: BTreeMap<u64, HeldLoss>,
    /// How long its records may be kept, in milliseconds.
    pub(crate) retention_ms: Option<u64>,
    /// The age of the log at which a longer retention applies: that under which earlier records came has passed then.
    pub(crate) loosens_at: Option<u64>,
}

/// The use of a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Use {
    pub(crate) bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_records: usize,
    /// Of each source the ages of its oldest and its newest record in the segment, delivered ones included.
    pub(crate) ages: BTreeMap<u32, (u64, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    sources: Vec<Source>,
    names: HashMap<Arc<str>, u32>,
    /// Of each priority the records in the order in which they are sent: by age, source, sequence.
    queues: [BTreeSet<(u64, u32, u64)>; 4],
    pub(crate) segments: BTreeMap<u64, Use>,
    /// Losses that are not durable, by source and first sequence.
    pub(crate) unwritten: BTreeSet<(u32, u64)>,
    pub(crate) live_bytes: u64,
    pub(crate) live_records: usize,
    /// Lost records since the start, by cause.
    pub(crate) lost: BTreeMap<LossCause, u64>,
}

impl Index {
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The number of a source, which is added if there are fewer than `most`.
    pub(crate) fn add(&mut self, name: &Arc<str>, most: usize) -> Option<u32> {
        if let Some(found) = self.find(name) {
            return Some(found);
        }
        if self.sources.len() >= most {
            return None;
        }
        let number = u32::try_from(self.sources.len()).ok()?;
        self.names.insert(Arc::clone(name), number);
        self.sources.push(Source {
            name: Arc::clone(name),
            next: 1,
            live: BTreeMap::new(),
            acknowledged: Ranges::default(),
            losses: BTreeMap::new(),
            retention_ms: None,
            loosens_at: None,
        });
        Some(number)
    }

    pub(crate) fn source(&self, number: u32) -> Option<&Source> {
        self.sources.get(number as usize)
    }

    pub(crate) fn source_mut(&mut self, number: u32) -> Option<&mut Source> {
        self.sources.get_mut(number as usize)
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub(crate) fn sources_mut(&mut self) -> &mut [Source] {
        &mut self.sources
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.sources.len()).unwrap_or(u32::MAX)
    }

    /// Takes the next `count` sequences of a source; returns the first.
    pub(crate) fn take(&mut self, source: u32, count: u64) -> u64 {
        let Some(source) = self.source_mut(source) else {
            return 0;
        };
        let first = source.next;
        source.next = first.saturating_add(count);
        first
    }

    /// Adds a record, or moves it.
    pub(crate) fn insert(&mut self, source: u32, sequence: u64, live: Live) {
        let Some(of) = self.sources.get_mut(source as usize) else {
            return;
        };
        let before = of.live.insert(sequence, live);
        of.next = of.next.max(sequence + 1);
        if let Some(before) = before {
            self.forget(source, sequence, &before);
        }
        if let Some(queue) = self.queues.get_mut(live.priority.rank()) {
            queue.insert((live.age_ms, source, sequence));
        }
        let segment = self.segments.entry(live.segment).or_default();
        segment.live_bytes += u64::from(live.size);
        segment.live_records += 1;
        let ages = segment
            .ages
            .entry(source)
            .or_insert((live.age_ms, live.age_ms));
        *ages = (ages.0.min(live.age_ms), ages.1.max(live.age_ms));
        self.live_bytes += u64::from(live.size);
        self.live_records += 1;
    }

    pub(crate) fn remove(&mut self, source: u32, sequence: u64) -> Option<Live> {
        let of = self.sources.get_mut(source as usize)?;
        let live = of.live.remove(&sequence)?;
        self.forget(source, sequence, &live);
        Some(live)
    }

    /// Takes a record that its source has no more out of the queues and the sums.
    fn forget(&mut self, source: u32, sequence: u64, live: &Live) {
        if let Some(queue) = self.queues.get_mut(live.priority.rank()) {
            queue.remove(&(live.age_ms, source, sequence));
        }
        let size = u64::from(live.size);
        if let Some(segment) = self.segments.get_mut(&live.segment) {
            segment.live_bytes = segment.live_bytes.saturating_sub(size);
            segment.live_records = segment.live_records.saturating_sub(1);
        }
        self.live_bytes = self.live_bytes.saturating_sub(size);
        self.live_records = self.live_records.saturating_sub(1);
    }

    /// Replaces a record by a loss.
    pub(crate) fn lose_record(&mut self, source: u32, sequence: u64, cause: LossCause) {
        if let Some(live) = self.remove(source, sequence) {
            self.lose(
                source,
                live.epoch,
                (sequence, sequence),
                u64::from(live.payload),
                cause,
            );
        }
    }

    /// Adds a loss of a range that has neither records nor acknowledged sequences.
    pub(crate) fn lose(
        &mut self,
        source: u32,
        epoch: u16,
        (from, to): (u64, u64),
        bytes: u64,
        cause: LossCause,
    ) {
        let Some(of) = self.sources.get_mut(source as usize) else {
            return;
        };
        let count = (to + 1).saturating_sub(from);
        *self.lost.entry(cause).or_default() += count;
        let mut loss = Loss {
            source: Arc::clone(&of.name),
            epoch,
            from,
            to,
            count,
            bytes,
            cause,
        };
        let before = of.losses.range(..from).next_back();
        let before = before.map(|(_, held)| held);
        if let Some(before) = before
            && of.may_merge(before, &loss, (before.loss.to + 1, from))
        {
            loss = merged(&before.loss, &loss);
        }
        let after = of.losses.range(to..).next().map(|(_, held)| held);
        if let Some(after) = after
            && of.may_merge(after, &loss, (to + 1, after.loss.from))
        {
            loss = merged(&loss, &after.loss);
        }
        let (from, to) = (loss.from, loss.to);
        remove_within(&mut of.losses, from, to);
        of.losses.insert(
            from,
            HeldLoss {
                loss,
                durable: false,
                sent: false,
            },
        );
        let within: Vec<_> = self
            .unwritten
            .range((source, from)..=(source, to))
            .copied()
            .collect();
        for it in within {
            self.unwritten.remove(&it);
        }
        self.unwritten.insert((source, from));
    }

    /// Takes a range out of what is to be sent. The caller has checked it.
    pub(crate) fn acknowledge(&mut self, source: u32, from: u64, to: u64) {
        let Some(of) = self.source(source) else {
            return;
        };
        let records: Vec<u64> = of.live.range(from..=to).map(|(&it, _)| it).collect();
        for sequence in records {
            self.remove(source, sequence);
        }
        let Some(of) = self.sources.get_mut(source as usize) else {
            return;
        };
        of.acknowledged.insert(from, to);
        let overlapping: Vec<u64> = of
            .losses
            .range(..=to)
            .rev()
            .take_while(|(_, held)| held.loss.to >= from)
            .map(|(&first, _)| first)
            .collect();
        for first in overlapping {
            let Some(held) = of.losses.remove(&first) else {
                continue;
            };
            let was_unwritten = self.unwritten.remove(&(source, first));
            if let Some(loss) = trimmed(held.loss, &of.acknowledged) {
                if was_unwritten {
                    self.unwritten.insert((source, loss.from));
                }
                of.losses.insert(loss.from, HeldLoss { loss, ..held });
            }
        }
    }

    /// The records in the order in which they are sent.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (u32, u64)> {
        let all = self.queues.iter().flatten();
        all.map(|&(_, source, sequence)| (source, sequence))
    }

    /// The oldest record of the least important priority, but of none that is more important than `most`.
    pub(crate) fn victim(&self, most: Priority) -> Option<(u32, u64)> {
        let queues = self.queues.iter().enumerate().rev();
        let mut allowed = queues.take_while(|(rank, _)| *rank >= most.rank());
        allowed.find_map(|(_, queue)| {
            queue
                .first()
                .map(|&(_, source, sequence)| (source, sequence))
        })
    }

    /// A record that is older than `age_ms`.
    pub(crate) fn older_than(&self, age_ms: u64) -> Option<(u32, u64)> {
        let first = self.queues.iter().filter_map(|queue| queue.first());
        let mut old = first.filter(|(age, _, _)| *age < age_ms);
        old.next().map(|&(_, source, sequence)| (source, sequence))
    }

    /// The age of the log when its oldest record came.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let first = self.queues.iter().filter_map(|queue| queue.first());
        first.map(|&(age, _, _)| age).min()
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }
}

impl Source {
    /// Sets how long its records may be kept, at an age of the log: a shorter time at once, a longer one after the present one. True if it
    /// changed.
    pub(crate) fn keep_for(&mut self, wanted: Option<u64>, now_ms: u64) -> bool {
        if let Some(present) = self.retention_ms
            && wanted.is_none_or(|wanted| wanted > present)
        {
            let loosens_at = self
                .loosens_at
                .get_or_insert(now_ms.saturating_add(present));
            if now_ms < *loosens_at {
                return false;
            }
        }
        self.loosens_at = None;
        std::mem::replace(&mut self.retention_ms, wanted) != wanted
    }

    /// Whether `held` and `loss` can be one range: what is `between` them was acknowledged, and they say the same. One that was sent stays
    /// as it is, unless there are many: a collector that answers nothing would fill the memory otherwise.
    fn may_merge(&self, held: &HeldLoss, loss: &Loss, between: (u64, u64)) -> bool {
        let (from, end) = between;
        let touches = from >= end || self.acknowledged.covers(from, end - 1);
        let too_many = self.losses.len() > self.live.len() + MANY_LOSSES;
        touches
            && held.loss.epoch == loss.epoch
            && (too_many || (!held.sent && held.loss.cause == loss.cause))
    }
}

/// Removes the losses that another one replaces.
fn remove_within(losses: &mut BTreeMap<u64, HeldLoss>, from: u64, to: u64) {
    let within: Vec<u64> = losses.range(from..=to).map(|(&first, _)| first).collect();
    for first in within {
        losses.remove(&first);
    }
}

/// Two losses as one. Of two causes it has that of more records.
fn merged(first: &Loss, second: &Loss) -> Loss {
    let cause = if second.count > first.count {
        second.cause
    } else {
        first.cause
    };
    Loss {
        to: second.to,
        count: first.count.saturating_add(second.count),
        bytes: first.bytes.saturating_add(second.bytes),
        cause,
        ..first.clone()
    }
}

/// What of a loss was not acknowledged. Its bytes are shared out evenly.
pub(crate) fn trimmed(loss: Loss, acknowledged: &Ranges) -> Option<Loss> {
    let missing = acknowledged.missing(loss.from, loss.to);
    let (from, to) = (missing.first()?.0, missing.last()?.1);
    let left: u64 = missing.iter().map(|(from, to)| to - from + 1).sum();
    let count = left.min(loss.count);
    let bytes = u128::from(loss.bytes) * u128::from(count) / u128::from(loss.count.max(1));
    Some(Loss {
        from,
        to,
        count,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        ..loss
    })
}
