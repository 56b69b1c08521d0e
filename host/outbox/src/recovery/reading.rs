//! Reads the segments of a folder into an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_base::disk::Disk;
use hotshoe_base::files;
use uuid::Uuid;

use crate::bodies::payload_bytes;
use crate::error::OpenError;
use crate::frame::{Frame, Kind};
use crate::host::Binding;
use crate::index::{HeldLoss, Index, Live, trimmed};
use crate::log::{Identity, narrow};
use crate::record::{Loss, LossCause};
use crate::segment::{self, HEADER_BYTES};
use crate::state::State;

use super::Recovery;

/// Bytes of the largest segment that is read: 2 GiB.
const MAX_SEGMENT_BYTES: u64 = 2 << 30;

/// What is collected while segments are read.
pub(super) struct Reading {
    pub(super) index: Index,
    losses: Vec<(u32, Loss)>,
    /// The greatest age of a frame, with its time of day.
    pub(super) newest: Option<(u64, u64)>,
    epoch: u16,
    identity: Option<(u128, u32)>,
    /// The last segment, if frames can be appended to it.
    pub(super) last: Option<(u64, u64)>,
    /// Damaged bytes, by segment.
    pub(super) damage: BTreeMap<u64, u64>,
    /// Segments that the state does not list, and that cannot be removed.
    pub(super) unlisted: BTreeSet<u64>,
    pub(super) recovery: Recovery,
}

impl Reading {
    pub(super) fn begin(state: Option<&State>) -> Self {
        let mut index = Index::default();
        let mut losses = Vec::new();
        for (name, state) in state.into_iter().flat_map(|state| &state.sources) {
            let Some(number) = index.add(&Arc::from(name.as_str()), usize::MAX) else {
                continue;
            };
            let Some(source) = index.source_mut(number) else {
                continue;
            };
            source.next = state.next.max(1);
            source.acknowledged = state.acknowledged.iter().copied().collect();
            source.retention_ms = state.retention_ms;
            let held = state.losses.iter().map(|loss| Loss {
                source: Arc::clone(&source.name),
                ..loss.clone()
            });
            losses.extend(held.map(|loss| (number, loss)));
        }
        Self {
            index,
            losses,
            newest: None,
            epoch: 0,
            identity: None,
            last: None,
            damage: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            recovery: Recovery::default(),
        }
    }

    /// Reads the segments; returns the greatest number that was ever used.
    pub(super) fn read_all(
        &mut self,
        disk: &Disk,
        segments: &BTreeMap<u64, PathBuf>,
        state: Option<&State>,
        key: Option<u32>,
    ) -> Result<u64, OpenError> {
        let (listed, before) = state.map_or((&[][..], 0), |it| (&*it.segments, it.last_segment));
        let last = segments.keys().next_back().copied().unwrap_or_default();
        let first_new = if state.is_some() {
            before + 1
        } else {
            segments.keys().next().copied().unwrap_or(1)
        };
        let expected = listed.iter().copied().chain(first_new..=last);
        let missing = expected.filter(|number| !segments.contains_key(number));
        self.recovery.missing_segments = missing.take(1024).collect();
        let mut used = last;
        for (&number, path) in segments {
            if state.is_some() && number <= before && !listed.contains(&number) {
                if disk.remove(path).is_err() {
                    self.unlisted.insert(number);
                }
                continue;
            }
            match files::read_bytes(path, MAX_SEGMENT_BYTES) {
                // The power was cut while it was begun: nothing was accepted into it, and its number is used again.
                Ok(bytes) if number == last && bytes.len() < HEADER_BYTES => {
                    let _ = disk.remove(path);
                    used = last.saturating_sub(1);
                }
                Ok(bytes) => self.read_segment(number, path, &bytes, key, number == last)?,
                Err(error) => {
                    tracing::warn!(number, %error, "cannot read a segment of the outbox");
                    self.recovery.missing_segments.push(number);
                }
            }
        }
        Ok(used.max(before))
    }

    fn read_segment(
        &mut self,
        number: u64,
        path: &Path,
        bytes: &[u8],
        key: Option<u32>,
        is_last: bool,
    ) -> Result<(), OpenError> {
        let key = key.or(self.identity.map(|(_, key)| key));
        let name = path.display().to_string();
        let scan = segment::scan(
            &name,
            bytes,
            key.unwrap_or_default(),
            |offset, len, frame| {
                self.take(number, offset, len, &frame);
            },
        )?;
        if let Some(header) = scan.header {
            self.epoch = self.epoch.max(header.epoch);
            self.identity.get_or_insert((header.instance, header.key));
        }
        self.index.segments.entry(number).or_default().bytes = bytes.len() as u64;
        let damaged: usize = scan.damaged.iter().map(ExactSizeIterator::len).sum();
        let rest = bytes.len() - scan.valid_end;
        if damaged > 0 || (rest > 0 && !is_last) {
            let all = if is_last { damaged } else { damaged + rest };
            self.damage.insert(number, all as u64);
        }
        let ranges = scan.damaged.iter().cloned();
        for range in ranges.chain(std::iter::once(scan.valid_end..bytes.len())) {
            self.name_damaged(bytes.get(range).unwrap_or_default());
        }
        if is_last {
            self.recovery.torn_bytes = rest as u64;
            if damaged == 0 && scan.header.is_some_and(|header| header.number == number) {
                self.last = Some((number, scan.valid_end as u64));
            }
        }
        Ok(())
    }

    /// Takes a frame into the index.
    fn take(&mut self, number: u64, offset: usize, length: usize, frame: &Frame<'_>) {
        let known = self.index.find(frame.source);
        let found = known.or_else(|| self.index.add(&Arc::from(frame.source), usize::MAX));
        let Some(source) = found else {
            return;
        };
        self.epoch = self.epoch.max(frame.epoch);
        if self.newest.is_none_or(|(age, _)| age <= frame.age_ms) {
            self.newest = Some((frame.age_ms, frame.wall_ms));
        }
        let last = match frame.kind {
            Kind::Next => frame.sequence - 1,
            Kind::Data | Kind::Sealed => {
                let live = Live {
                    segment: number,
                    offset: narrow(offset as u64),
                    size: narrow(length as u64),
                    payload: narrow(payload_bytes(frame)),
                    age_ms: frame.age_ms,
                    priority: frame.priority,
                    epoch: frame.epoch,
                };
                self.index.insert(source, frame.sequence, live);
                frame.sequence
            }
            Kind::Loss => {
                let Some(body) = frame.loss() else {
                    return;
                };
                let loss = Loss {
                    source: Arc::from(frame.source),
                    epoch: frame.epoch,
                    from: frame.sequence,
                    to: body.to,
                    count: body.count,
                    bytes: body.bytes,
                    cause: body.cause,
                };
                self.losses.push((source, loss));
                body.to
            }
            Kind::Ack => {
                let to = frame.acknowledged().unwrap_or(frame.sequence);
                if let Some(of) = self.index.source_mut(source) {
                    of.acknowledged.insert(frame.sequence, to);
                }
                to
            }
        };
        if let Some(of) = self.index.source_mut(source) {
            of.next = of.next.max(last.saturating_add(1));
        }
    }

    /// A damaged frame whose head is right may bear the last sequence of its source, which no later frame shows: it is taken, so that it is
    /// named as lost and not given again.
    fn name_damaged(&mut self, mut rest: &[u8]) {
        while let Some(length) = Frame::length(rest) {
            let claimed = Frame::claimed(rest).and_then(|(name, sequence)| {
                let number = self.index.find(name)?;
                Some((self.index.source_mut(number)?, sequence))
            });
            match claimed {
                Some((source, sequence)) if sequence == source.next => source.next += 1,
                Some((source, sequence)) if sequence < source.next => {}
                _ => break,
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    /// Takes what was acknowledged or lost out of what is to be sent.
    pub(super) fn settle(&mut self, has_state: bool) {
        if !has_state {
            self.assume_delivered();
        }
        for (source, loss) in std::mem::take(&mut self.losses) {
            self.restore(source, loss);
        }
        for number in self.index.numbers() {
            let Some(source) = self.index.source(number) else {
                continue;
            };
            let gone = |at: u64| {
                let loss = source.losses.range(..=at).next_back();
                source.acknowledged.contains(at) || loss.is_some_and(|(_, held)| held.loss.to >= at)
            };
            let delivered: Vec<u64> = source.live.keys().copied().filter(|&at| gone(at)).collect();
            for sequence in delivered {
                self.index.remove(number, sequence);
            }
            let Some(source) = self.index.source_mut(number) else {
                continue;
            };
            for (_, held) in std::mem::take(&mut source.losses) {
                if let Some(loss) = trimmed(held.loss, &source.acknowledged) {
                    source.losses.insert(loss.from, HeldLoss { loss, ..held });
                }
            }
        }
    }

    /// Without a state, what is below the first sequence of a source counts as delivered.
    fn assume_delivered(&mut self) {
        for number in self.index.numbers() {
            let losses = self.losses.iter().filter(|(source, _)| *source == number);
            let first_lost = losses.map(|(_, loss)| loss.from).min();
            let Some(source) = self.index.source_mut(number) else {
                continue;
            };
            let first = [
                source.live.keys().next().copied(),
                source.acknowledged.iter().next().map(|(from, _)| from),
                first_lost,
            ];
            if let Some(first) = first.into_iter().flatten().min() {
                source.acknowledged.insert(1, first - 1);
            }
        }
    }

    /// Adds a loss as it was written. A later one replaces those within it.
    fn restore(&mut self, number: u32, mut loss: Loss) {
        let Some(source) = self.index.source_mut(number) else {
            return;
        };
        let overlapping: Vec<u64> = source
            .losses
            .range(..=loss.to)
            .rev()
            .take_while(|(_, held)| held.loss.to >= loss.from)
            .map(|(&first, _)| first)
            .collect();
        for first in overlapping {
            let Some(HeldLoss { loss: held, .. }) = source.losses.remove(&first) else {
                continue;
            };
            if held.from <= loss.from && held.to >= loss.to {
                loss = held;
            } else if held.from < loss.from || held.to > loss.to {
                loss.from = loss.from.min(held.from);
                loss.to = loss.to.max(held.to);
                loss.count = loss
                    .count
                    .saturating_add(held.count)
                    .min(loss.to - loss.from + 1);
            }
        }
        let held = HeldLoss {
            loss,
            durable: true,
            sent: false,
        };
        source.losses.insert(held.loss.from, held);
    }

    /// Who the outbox is, and whether that must be written first.
    pub(super) fn identity(
        &mut self,
        state: Option<&State>,
        bound_to: &Binding,
    ) -> (Identity, bool) {
        let random = || Uuid::new_v4().as_u128();
        // The low half of a random identifier, whose fixed bits are in the upper half.
        let new_key = || u32::try_from(random() & u128::from(u32::MAX)).unwrap_or_default();
        let Some(state) = state else {
            let (instance, key) = self.identity.unwrap_or_else(|| (random(), new_key()));
            let epoch = self.epoch.saturating_add(1);
            return (
                Identity {
                    instance,
                    epoch,
                    key,
                },
                true,
            );
        };
        self.recovery.is_copy = state.bound_to != *bound_to;
        let mut damage = self.damage.iter();
        let is_damaged = damage.any(|(number, bytes)| state.damaged.get(number) != Some(bytes))
            || !self.recovery.missing_segments.is_empty()
            || self.recovery.torn_bytes > 0;
        let has_new_key = self.recovery.key_set_aside.is_some();
        let rises = self.recovery.is_copy || is_damaged || has_new_key;
        let epoch = state.epoch.max(self.epoch);
        let identity = Identity {
            instance: u128::from_str_radix(&state.instance, 16).unwrap_or_else(|_| random()),
            epoch: epoch.saturating_add(u16::from(rises)),
            key: state.key,
        };
        (identity, identity.epoch != state.epoch)
    }

    /// Every sequence that was given and is nowhere is lost.
    pub(super) fn name_gaps(&mut self, epoch: u16) {
        for number in self.index.numbers() {
            let Some(source) = self.index.source(number) else {
                continue;
            };
            let mut known = source.acknowledged.clone();
            for held in source.losses.values() {
                known.insert(held.loss.from, held.loss.to);
            }
            let mut run: Option<(u64, u64)> = None;
            for &sequence in source.live.keys() {
                run = match run {
                    Some((from, to)) if to + 1 == sequence => Some((from, sequence)),
                    before => {
                        before
                            .into_iter()
                            .for_each(|(from, to)| known.insert(from, to));
                        Some((sequence, sequence))
                    }
                };
            }
            run.into_iter()
                .for_each(|(from, to)| known.insert(from, to));
            let name = Arc::clone(&source.name);
            for (from, to) in known.missing(1, source.next - 1) {
                self.index
                    .lose(number, epoch, (from, to), 0, LossCause::Corrupt);
                self.recovery.losses.push(Loss {
                    source: Arc::clone(&name),
                    epoch,
                    from,
                    to,
                    count: to - from + 1,
                    bytes: 0,
                    cause: LossCause::Corrupt,
                });
            }
        }
    }
}
