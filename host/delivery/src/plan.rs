//! The plan of a fetch: which source is asked for what, and when. Pure: no clock, no network, no disk.
//!
//! Each wanted object is waiting, requested, or done. A batch is one request to one source. An object can be in several batches if
//! the first source is slow. The window of a source is the number of bytes per batch; it grows if the source answers fast, and
//! shrinks if it does not.

mod source;
mod terms;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use hotshoe_protocol::wire::MAX_ASKED;
use hotshoe_trust::Digest;

use source::{FIRST_BACK_OFF, Source};

pub use terms::{Availability, Batch, BatchEnd, Bounds, Want};

/// Most open batches per source.
const BATCHES_EACH: usize = 4;
/// Delay before a source is asked again for an object that it did not have.
const MISSING_RETRY: Duration = Duration::from_secs(1);
/// Time without progress of the neighbours after which the origin is asked for their chunks.
const NEIGHBOUR_GRACE: Duration = Duration::from_millis(1_500);

/// Time without any arrival after which banned sources may be asked again.
const UNBAN_AFTER: Duration = Duration::from_secs(30);

/// A source that has not delivered yet counts as slow after this fraction of the usual time.
const UNKNOWN_STALL_DIVISOR: u32 = 5;

#[derive(Debug)]
struct OpenBatch {
    source: String,
    wants: HashSet<usize>,
    bytes: u64,
    asked: Instant,
    heard: Instant,
    gave: bool,
    /// Whether its objects may be requested elsewhere too.
    late: bool,
}

/// The plan of one fetch.
#[derive(Debug)]
pub struct Plan {
    wants: Vec<Want>,
    numbers: HashMap<Digest, usize>,
    waiting: BTreeSet<usize>,
    left: usize,
    sources: BTreeMap<String, Source>,
    banned: BTreeSet<String>,
    /// Sources that were slow or sent bad data. They are asked only for objects that no other publisher or registry has.
    demoted: BTreeSet<String>,
    /// Sources that have delivered before. They are asked before unknown ones.
    known: BTreeSet<String>,
    open: BTreeMap<u64, OpenBatch>,
    next_batch: u64,
    in_flight: u64,
    bounds: Bounds,
    /// Numbers of wants whose owner is a neighbour.
    neighbour_wants: HashSet<usize>,
    neighbours_progressed: Option<Instant>,
    /// Time of the last arrival.
    moved: Option<Instant>,
}

impl Plan {
    /// A plan for these wants. Their digests must be distinct.
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

    /// Whether everything has arrived.
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

    /// Number of sources that may be asked.
    pub fn usable(&self) -> usize {
        self.sources.len()
    }

    /// Requested bytes that have not arrived.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Sets the live sources. Returns the batches of sources that have gone; their objects wait again.
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

    /// Sets the wants that a neighbour has.
    pub fn set_available(&mut self, source: &str, wants: HashSet<usize>) {
        if let Some(source) = self.sources.get_mut(source)
            && source.availability != Availability::All
        {
            source.availability = Availability::Some(wants);
        }
    }

    /// Leaves these wants to the neighbours, as long as they make progress.
    pub fn assign_to_neighbours(&mut self, neighbour_wants: HashSet<usize>, now: Instant) {
        if self.neighbours_progressed.is_none() && !neighbour_wants.is_empty() {
            self.neighbours_progressed = Some(now);
        }
        self.neighbour_wants = neighbour_wants;
    }

    /// Demotes these sources: they are asked last.
    pub fn demote(&mut self, sources: BTreeSet<String>) {
        self.demoted.extend(sources);
    }

    /// Sets the known sources, which are asked before unknown ones of their kind.
    pub fn prefer(&mut self, known: BTreeSet<String>) {
        self.known = known;
    }

    /// The smallest want that has not arrived.
    pub fn smallest(&self) -> Option<Want> {
        let open = self.open.values().flat_map(|open| &open.wants);
        let numbers = self.waiting.iter().chain(open);
        let wants = numbers.filter_map(|number| self.wants.get(*number));
        wants.min_by_key(|want| want.most).copied()
    }

    /// Demoted sources.
    pub fn demoted(&self) -> &BTreeSet<String> {
        &self.demoted
    }

    /// Waiting wants that publishers and registries which are not demoted may have.
    fn available_elsewhere(&self) -> HashSet<usize> {
        let good: Vec<&Source> = self
            .sources
            .iter()
            .filter(|(name, source)| {
                source.availability == Availability::All && !self.demoted.contains(*name)
            })
            .map(|(_, source)| source)
            .collect();
        let has = |number: &usize| good.iter().any(|source| !source.missing.contains(number));
        self.waiting.iter().copied().filter(has).collect()
    }

    /// Bans a source. Returns its batches; their objects wait again.
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
        let origins = self
            .sources
            .values()
            .any(|s| s.availability == Availability::All);
        let mut names: Vec<(bool, bool, usize, String)> = self
            .sources
            .iter()
            .filter(|(_, source)| {
                source.batches < BATCHES_EACH && source.backs_off_until.is_none_or(|t| t <= now)
            })
            // Neighbours first, then known sources, then those with the fewest open batches.
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

    /// The wants to request from `name` next.
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
            true => self.available_elsewhere(),
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
            // At least one object, however large it is.
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

    /// A valid object has arrived. Returns whether it was still wanted, and the batches that it completes.
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

    /// Closes a complete batch, and adapts the window of its source.
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

    /// A batch has ended. Objects that did not arrive wait again. `missing` lists those that the source said it does not have.
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
        // Nothing arrived and no reason was given: the source is busy, slow or broken.
        if unexplained && (!open.gave || end == BatchEnd::TimedOut) {
            source.back_off(now);
        }
    }

    /// Removes a batch. Its objects that are not requested elsewhere wait again.
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

    /// Lets objects of slow batches be requested elsewhere, and demotes their sources. Returns the batches that timed out, which the
    /// caller must end.
    pub fn overdue(&mut self, now: Instant) -> Vec<u64> {
        let mut given_up = Vec::new();
        // Another session may have sent bad data in a source's name, and the source may be the only one: it stays demoted.
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
            let has_delivered = self
                .sources
                .get(&open.source)
                .is_some_and(|s| s.has_delivered);
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
                    source.back_off(now);
                }
            }
        }
        given_up
    }
}
