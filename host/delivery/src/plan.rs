//! Who is asked for what, and when. Pure: no clock, no network, no disk.
//!
//! Every wanted object is waiting, asked for, or done. A batch is one request to one source; an object may be part of several
//! batches, when the first source that was asked is late. A source has a window: how many bytes it is asked for at a time. The
//! window grows with a source that answers fast and shrinks with one that does not.

mod source;
mod terms;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use hotshoe_protocol::wire::MAX_ASKED;
use hotshoe_trust::Digest;

use source::{FIRST_BACK_OFF, Source};

pub use terms::{Batch, Bounds, BatchEnd, Availability, Want};

/// Batches that one source has in hand at a time.
const BATCHES_EACH: usize = 4;
/// When a source is asked again for what it did not hold.
const MISSING_RETRY: Duration = Duration::from_secs(1);
/// When the origin is asked for what the neighbours should have brought, but did not.
const NEIGHBOUR_GRACE: Duration = Duration::from_millis(1_500);

/// When sources that were banned may be asked again, where nothing has come for so long.
const UNBAN_AFTER: Duration = Duration::from_secs(30);

/// A source that has given nothing yet is late after this part of the time that another one has.
const UNKNOWN_STALL_DIVISOR: u32 = 5;

#[derive(Debug)]
struct OpenBatch {
    source: String,
    wants: HashSet<usize>,
    bytes: u64,
    asked: Instant,
    heard: Instant,
    gave: bool,
    /// Others are asked too.
    late: bool,
}

/// Who is asked for what.
#[derive(Debug)]
pub struct Plan {
    wants: Vec<Want>,
    numbers: HashMap<Digest, usize>,
    waiting: BTreeSet<usize>,
    left: usize,
    sources: BTreeMap<String, Source>,
    banned: BTreeSet<String>,
    /// Sources that were late or lied: they are asked for what no other publisher or registry has.
    demoted: BTreeSet<String>,
    /// Sources that have delivered before: they are asked before strangers.
    known: BTreeSet<String>,
    open: BTreeMap<u64, OpenBatch>,
    next_batch: u64,
    in_flight: u64,
    bounds: Bounds,
    /// Wants that a neighbour is to bring, by number.
    neighbour_wants: HashSet<usize>,
    neighbours_progressed: Option<Instant>,
    /// When something came last.
    moved: Option<Instant>,
}

impl Plan {
    /// A plan for these wants, whose digests are distinct.
    pub fn new(wants: Vec<Want>, bounds: Bounds) -> Self {
        let numbers = wants
            .iter()
            .enumerate()
            .map(|(number, want)| (want.digest, number))
            .collect();
        Self {
            waiting: (0..wants.len()).collect(),
            left: wants.len(),
            numbers,
            wants,
            sources: BTreeMap::new(),
            banned: BTreeSet::new(),
            demoted: BTreeSet::new(),
            known: BTreeSet::new(),
            open: BTreeMap::new(),
            next_batch: 0,
            in_flight: 0,
            bounds,
            neighbour_wants: HashSet::new(),
            neighbours_progressed: None,
            moved: None,
        }
    }

    /// Whether everything is here.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The number of a want.
    pub fn number(&self, digest: Digest) -> Option<usize> {
        self.numbers.get(&digest).copied()
    }

    /// A want by its number.
    pub fn want(&self, number: usize) -> Option<Want> {
        self.wants.get(number).copied()
    }

    /// Sources that may be asked.
    pub fn usable(&self) -> usize {
        self.sources.len()
    }

    /// Bytes that were asked for and are not here yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Takes note of which sources there are. Those that went lose their batches, whose numbers are returned.
    pub fn set_sources(
        &mut self,
        live: &BTreeSet<String>,
        is_origin: impl Fn(&str) -> bool,
    ) -> Vec<u64> {
        let gone = |name: &String| !live.contains(name);
        let lost: Vec<String> = self.sources.keys().filter(|n| gone(n)).cloned().collect();
        let mut batches = Vec::new();
        for name in lost {
            batches.extend(self.drop_source(&name));
        }
        for name in live {
            if !self.banned.contains(name) && !self.sources.contains_key(name) {
                let availability = if is_origin(name) {
                    Availability::All
                } else {
                    Availability::Unknown
                };
                self.sources.insert(name.clone(), Source::new(availability));
            }
        }
        batches
    }

    /// Takes note of what a neighbour holds.
    pub fn set_available(&mut self, source: &str, wants: HashSet<usize>) {
        if let Some(source) = self.sources.get_mut(source)
            && source.availability != Availability::All
        {
            source.availability = Availability::Some(wants);
        }
    }

    /// Leaves these to the neighbours, for as long as they make progress.
    pub fn assign_to_neighbours(&mut self, neighbour_wants: HashSet<usize>, now: Instant) {
        if self.neighbours_progressed.is_none() && !neighbour_wants.is_empty() {
            self.neighbours_progressed = Some(now);
        }
        self.neighbour_wants = neighbour_wants;
    }

    /// Asks these last.
    pub fn demote(&mut self, sources: BTreeSet<String>) {
        self.demoted.extend(sources);
    }

    /// Asks these before others of their kind: they have delivered before.
    pub fn prefer(&mut self, known: BTreeSet<String>) {
        self.known = known;
    }

    /// The smallest of what is not here yet.
    pub fn smallest(&self) -> Option<Want> {
        let open = self.open.values().flat_map(|open| &open.wants);
        let numbers = self.waiting.iter().chain(open);
        let wants = numbers.filter_map(|number| self.wants.get(*number));
        wants.min_by_key(|want| want.most).copied()
    }

    /// Sources that are asked last.
    pub fn demoted(&self) -> &BTreeSet<String> {
        &self.demoted
    }

    /// What publishers and registries without a blemish have, as far as one knows.
    fn elsewhere(&self) -> HashSet<usize> {
        let good: Vec<&Source> = self
            .sources
            .iter()
            .filter(|(name, source)| source.availability == Availability::All && !self.demoted.contains(*name))
            .map(|(_, source)| source)
            .collect();
        let has = |number: &usize| good.iter().any(|source| !source.missing.contains(number));
        self.waiting.iter().copied().filter(has).collect()
    }

    /// Never asks a source again, and takes its batches back, whose numbers are returned.
    pub fn ban(&mut self, source: &str) -> Vec<u64> {
        self.banned.insert(source.to_owned());
        self.demoted.insert(source.to_owned());
        self.drop_source(source)
    }

    fn drop_source(&mut self, name: &str) -> Vec<u64> {
        self.sources.remove(name);
        let its = |(id, open): (&u64, &OpenBatch)| (open.source == name).then_some(*id);
        let batches: Vec<u64> = self.open.iter().filter_map(its).collect();
        for id in &batches {
            self.take_back(*id);
        }
        batches
    }

    /// The next request to make, if there is one.
    pub fn next(&mut self, now: Instant) -> Option<Batch> {
        if self.in_flight >= self.bounds.in_flight || self.waiting.is_empty() {
            return None;
        }
        let origins = self.sources.values().any(|s| s.availability == Availability::All);
        let mut names: Vec<(bool, bool, usize, String)> = self
            .sources
            .iter()
            .filter(|(_, source)| {
                source.batches < BATCHES_EACH && source.backs_off_until.is_none_or(|t| t <= now)
            })
            // Neighbours first, then those that have delivered before, and among equals the one with the least in hand.
            .map(|(name, source)| {
                let is_stranger = !self.known.contains(name);
                let is_origin = source.availability == Availability::All;
                (is_origin, is_stranger, source.batches, name.clone())
            })
            .collect();
        names.sort();
        for (.., name) in names {
            let wants = self.choose(&name, origins, now);
            if !wants.is_empty() {
                return Some(self.ask(name, wants, now));
            }
        }
        None
    }

    /// What `name` is asked for next.
    fn choose(&mut self, name: &str, origins: bool, now: Instant) -> Vec<usize> {
        let neighbours_progress = self
            .neighbours_progressed
            .is_some_and(|moved| now.saturating_duration_since(moved) < NEIGHBOUR_GRACE);
        let asked: HashSet<usize> = self
            .open
            .values()
            .filter(|open| open.source == name && open.late)
            .flat_map(|open| open.wants.iter().copied())
            .collect();
        let skipped = match self.demoted.contains(name) {
            true => self.elsewhere(),
            false => HashSet::new(),
        };
        let Some(source) = self.sources.get_mut(name) else {
            return Vec::new();
        };
        if source.forget_missing.is_some_and(|at| at <= now) {
            source.missing.clear();
            source.forget_missing = None;
        }
        let room = self.bounds.in_flight.saturating_sub(self.in_flight);
        let window = source.window.min(self.bounds.batch).min(room);
        let fits = |number: usize| match &source.availability {
            Availability::All => !(neighbours_progress && self.neighbour_wants.contains(&number)),
            Availability::Unknown => !origins,
            Availability::Some(held) => held.contains(&number),
        };
        let mut chosen = Vec::new();
        let mut bytes = 0_u64;
        for &number in &self.waiting {
            let is_wrong = source.missing.contains(&number)
                || asked.contains(&number)
                || skipped.contains(&number);
            if is_wrong || !fits(number) {
                continue;
            }
            let most = self.wants.get(number).map_or(0, |want| want.most);
            // One object is asked for in any case, however large it is.
            if chosen.len() >= MAX_ASKED || (!chosen.is_empty() && bytes + most > window) {
                break;
            }
            bytes += most;
            chosen.push(number);
        }
        chosen
    }

    fn ask(&mut self, source: String, wants: Vec<usize>, now: Instant) -> Batch {
        let size = |number: &usize| self.wants.get(*number).map_or(0, |want| want.most);
        let bytes = wants.iter().map(size).sum();
        for number in &wants {
            self.waiting.remove(number);
        }
        if let Some(source) = self.sources.get_mut(&source) {
            source.batches += 1;
        }
        let id = self.next_batch;
        self.next_batch += 1;
        self.in_flight += bytes;
        self.open.insert(
            id,
            OpenBatch {
                source: source.clone(),
                wants: wants.iter().copied().collect(),
                bytes,
                asked: now,
                heard: now,
                gave: false,
                late: false,
            },
        );
        Batch {
            id,
            source,
            wants,
            bytes,
        }
    }

    /// An object is here and good. True where it was wanted still. Batches that are complete thereby are returned too.
    pub fn arrived(&mut self, batch: u64, number: usize, now: Instant) -> (bool, Vec<u64>) {
        if let Some(open) = self.open.get_mut(&batch) {
            open.heard = now;
            open.gave = true;
            if let Some(source) = self.sources.get_mut(&open.source) {
                source.pause = FIRST_BACK_OFF;
                source.has_delivered = true;
                if source.availability != Availability::All {
                    self.neighbours_progressed = Some(now);
                }
            }
        }
        let most = self.wants.get(number).map_or(0, |want| want.most);
        let mut was_wanted = self.waiting.remove(&number);
        let mut complete = Vec::new();
        for (id, open) in &mut self.open {
            if open.wants.remove(&number) {
                was_wanted = true;
                open.bytes = open.bytes.saturating_sub(most);
                if !open.late {
                    self.in_flight = self.in_flight.saturating_sub(most);
                }
                if open.wants.is_empty() {
                    complete.push(*id);
                }
            }
        }
        self.left -= usize::from(was_wanted);
        if was_wanted {
            self.moved = Some(now);
        }
        for id in &complete {
            self.complete(*id, now);
        }
        (was_wanted, complete)
    }

    /// A batch that brought everything: its source may be asked for more at a time, or for less.
    fn complete(&mut self, id: u64, now: Instant) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        let Some(source) = self.sources.get_mut(&open.source) else {
            return;
        };
        source.batches = source.batches.saturating_sub(1);
        let took = now.saturating_duration_since(open.asked);
        if took < self.bounds.stall / 8 {
            source.window = (source.window * 2).min(self.bounds.batch);
        } else if took > self.bounds.stall / 2 {
            source.window = (source.window / 2).max(1);
        }
    }

    /// A batch has ended; what it did not bring waits again. `missing` is what its source said it does not hold.
    pub fn ended(&mut self, batch: u64, missing: &[usize], end: BatchEnd, now: Instant) {
        let Some(open) = self.take_back(batch) else {
            return;
        };
        let Some(source) = self.sources.get_mut(&open.source) else {
            return;
        };
        let lacks: HashSet<usize> = missing
            .iter()
            .copied()
            .filter(|number| open.wants.contains(number))
            .collect();
        if !lacks.is_empty() {
            source.forget_missing.get_or_insert(now + MISSING_RETRY);
        }
        let unexplained = open.wants.len() > lacks.len();
        source.missing.extend(lacks);
        // It gave nothing, and did not say why: it is busy, slow or broken.
        if unexplained && (!open.gave || end == BatchEnd::TimedOut) {
            source.rest(now);
        }
    }

    /// Takes a batch back: what it did not bring waits again.
    fn take_back(&mut self, id: u64) -> Option<OpenBatch> {
        let open = self.open.remove(&id)?;
        if let Some(source) = self.sources.get_mut(&open.source) {
            source.batches = source.batches.saturating_sub(1);
        }
        if !open.late {
            self.in_flight = self.in_flight.saturating_sub(open.bytes);
        }
        let elsewhere = |number: &usize| {
            self.open
                .values()
                .any(|o| !o.late && o.wants.contains(number))
        };
        let back: Vec<usize> = open
            .wants
            .iter()
            .copied()
            .filter(|n| !elsewhere(n))
            .collect();
        self.waiting.extend(back);
        Some(open)
    }

    /// Looks after batches that take long: their objects may be asked for elsewhere, and those that take too long are given up. Returns
    /// the latter, which are to be ended.
    pub fn overdue(&mut self, now: Instant) -> Vec<u64> {
        let mut given_up = Vec::new();
        // Others may have lied in a source's name, and it may be the only one: it stays suspect, and is asked last.
        let moved = *self.moved.get_or_insert(now);
        if now.saturating_duration_since(moved) >= UNBAN_AFTER {
            self.banned.clear();
            self.moved = Some(now);
        }
        for (id, open) in &mut self.open {
            let quiet = now.saturating_duration_since(open.heard);
            if quiet >= self.bounds.timeout {
                given_up.push(*id);
            }
            let has_delivered = self.sources.get(&open.source).is_some_and(|s| s.has_delivered);
            let stall = match has_delivered {
                true => self.bounds.stall,
                false => self.bounds.stall / UNKNOWN_STALL_DIVISOR,
            };
            let slow = now.saturating_duration_since(open.asked) >= stall;
            if slow && !open.late {
                open.late = true;
                self.in_flight = self.in_flight.saturating_sub(open.bytes);
                self.waiting.extend(open.wants.iter().copied());
                self.demoted.insert(open.source.clone());
                if let Some(source) = self.sources.get_mut(&open.source) {
                    source.rest(now);
                }
            }
        }
        given_up
    }
}
