//! Fetching a set of objects: the plan's decisions, made true over Zenoh.
//!
//! The calling thread decides and asks. Replies come on Zenoh's threads, which only pass them on; two threads of this fetch unpack,
//! check and store them, so that hashing and receiving overlap.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::scoped;
use hotshoe_link::{Asked, Heard, Site, Sources};
use hotshoe_protocol::wire::is_origin;

use super::check::{Parcel, check};
use super::neighbours::Neighbours;
use super::pace::Pace;
use super::plan::{Batch, Bounds, End, Plan, Want};
use super::roll_call::RollCall;
use super::standing::Standing;
use super::{Cancel, DeliveryConfig, FetchError, Moved};

/// Threads that unpack, check and store what arrives.
const CHECKERS: usize = 2;
/// Objects that wait for them; what comes on top of that was not asked for, or will be asked for again.
const PARCELS: usize = 1_024;
/// How often the plan is looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(20);
/// How long an answer to `have` may take.
const HAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a fetch says how far it is.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What became of an object that arrived.
pub enum Stored {
    /// It is kept.
    Kept,
    /// It is not what was asked for.
    Rubbish,
}

/// One device's end of all fetches.
pub struct Ground<'a> {
    pub site: &'a Site,
    pub own: &'a str,
    pub sources: &'a Sources,
    pub config: &'a DeliveryConfig,
    pub cancel: &'a Cancel,
    pub moved: &'a Mutex<Moved>,
    /// Sources that lost their standing in this fetch.
    pub banned: &'a Mutex<BTreeSet<String>>,
    pub pace: &'a Mutex<Pace>,
    /// Sources that are asked last.
    pub standing: &'a Standing,
}

/// What to do with an object, by the number of its want: check it, and keep it.
pub type Keep<'a> = &'a (dyn Fn(usize, &[u8]) -> Result<Stored, FetchError> + Sync);
/// Told how many bytes of wants have arrived, and how many sources there are.
pub type Tell<'a> = &'a (dyn Fn(u64, usize) + Sync);

pub(super) enum Event {
    Heard(u64, Heard),
    /// An object that nobody will check: its sender lost its standing, or there are too many.
    Ignored(u64),
    Checked {
        batch: u64,
        number: usize,
        from: u128,
        size: u64,
        stored: Stored,
    },
    Have(String, Heard),
    Failed(FetchError),
}

/// A request under way.
struct Flight {
    _asked: Asked,
    source: String,
    missing: Vec<usize>,
    /// Objects that were heard, once no more will come.
    objects: Option<usize>,
    checked: usize,
    bad: bool,
    good: bool,
}

/// Senders, by source and Zenoh id, whose objects were no good.
type Shunned = Arc<Mutex<HashSet<(String, u128)>>>;

struct Run<'a> {
    ground: &'a Ground<'a>,
    plan: Plan,
    neighbours: Option<Neighbours>,
    roll_call: RollCall,
    devices: BTreeSet<String>,
    flights: HashMap<u64, Flight>,
    asked_have: BTreeMap<String, Asked>,
    shunned: Shunned,
    events: Sender<Event>,
    parcels: SyncSender<Option<Parcel>>,
    arrived: u64,
}

/// Fetches all wants; returns when `keep` has them all.
pub fn fetch(
    ground: &Ground<'_>,
    wants: Vec<Want>,
    neighbours: Option<Neighbours>,
    keep: Keep<'_>,
    tell: Tell<'_>,
) -> Result<(), FetchError> {
    if wants.is_empty() {
        return Ok(());
    }
    let most: Vec<u64> = wants.iter().map(|want| want.most).collect();
    let (events, happened) = channel();
    let (parcels, arrived) = sync_channel(PARCELS);
    let arrived = Mutex::new(arrived);
    let over = AtomicBool::new(false);
    let mut plan = Plan::new(
        wants,
        Bounds {
            in_flight: ground.config.in_flight_bytes,
            batch: ground.config.batch_bytes,
            stall: ground.config.stall,
            timeout: ground.config.batch_timeout,
        },
    );
    for source in lock(ground.banned).iter() {
        plan.ban(source);
    }
    plan.suspect(ground.standing.suspects(Instant::now()));
    std::thread::scope(|scope| {
        let (arrived, most, over) = (&arrived, most.as_slice(), &over);
        for _ in 0..CHECKERS {
            let verdicts = events.clone();
            let run = move || check(arrived, over, most, keep, &verdicts);
            scoped(scope, "check", run).map_err(FetchError::Thread)?;
        }
        let end = parcels.clone();
        let mut run = Run {
            ground,
            plan,
            neighbours,
            roll_call: RollCall::default(),
            devices: BTreeSet::new(),
            flights: HashMap::new(),
            asked_have: BTreeMap::new(),
            shunned: Shunned::default(),
            events,
            parcels,
            arrived: 0,
        };
        let result = run.until_done(&happened, tell);
        let standing = ground.standing;
        standing.remember(run.plan.suspects(), Instant::now());
        drop(run);
        over.store(true, Ordering::Relaxed);
        for _ in 0..CHECKERS {
            let _ = end.send(None);
        }
        result
    })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    fn until_done(&mut self, happened: &Receiver<Event>, tell: Tell<'_>) -> Result<(), FetchError> {
        let mut told = Instant::now();
        tell(0, self.plan.usable());
        while !self.plan.is_done() {
            if self.ground.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            let now = Instant::now();
            self.look_around(now)?;
            self.ask(now)?;
            match happened.recv_timeout(TICK) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(FetchError::Cancelled),
            }
            while let Ok(event) = happened.try_recv() {
                self.take(event)?;
            }
            if told.elapsed() >= REPORT_EVERY {
                told = Instant::now();
                tell(self.arrived, self.plan.usable());
            }
        }
        tell(self.arrived, self.plan.usable());
        Ok(())
    }

    /// Which sources there are, and which batches take too long.
    fn look_around(&mut self, now: Instant) -> Result<(), FetchError> {
        let mut live = self.ground.sources.live();
        live.remove(self.ground.own);
        if !self.ground.config.share {
            live.retain(|name| is_origin(name));
        }
        for batch in self.plan.set_sources(&live, is_origin) {
            self.flights.remove(&batch);
        }
        self.plan.prefer(self.ground.sources.known());
        self.roll_call.look_around(self.ground, &self.plan, now)?;
        for batch in self.plan.overdue(now) {
            if let Some(flight) = self.flights.remove(&batch) {
                tracing::debug!(source = flight.source, "a source did not answer in time");
                self.plan.ended(batch, &flight.missing, End::GivenUp, now);
            }
        }
        live.retain(|name| !is_origin(name));
        self.devices = live;
        let asked = match &mut self.neighbours {
            Some(neighbours) => neighbours.ask(&self.devices, now),
            None => Vec::new(),
        };
        for name in asked {
            self.ask_have(name)?;
        }
        Ok(())
    }

    fn ask_have(&mut self, name: String) -> Result<(), FetchError> {
        let Some(neighbours) = &self.neighbours else {
            return Ok(());
        };
        let (events, source) = (self.events.clone(), name.clone());
        let each = move |heard| {
            let _ = events.send(Event::Have(source.clone(), heard));
        };
        let ground = self.ground;
        let indexes = neighbours.indexes();
        let asked = ground
            .site
            .ask_have(&name, ground.own, &indexes, HAVE_TIMEOUT, each)?;
        self.asked_have.insert(name, asked);
        Ok(())
    }

    fn ask(&mut self, now: Instant) -> Result<(), FetchError> {
        let early = |neighbours: &Neighbours| neighbours.is_early(&self.devices, now);
        if self.neighbours.as_ref().is_some_and(early) {
            return Ok(());
        }
        while lock(self.ground.pace).allows(now) {
            let Some(batch) = self.plan.next(now) else {
                return Ok(());
            };
            lock(self.ground.pace).spend(batch.bytes);
            self.send(batch)?;
        }
        Ok(())
    }

    fn send(&mut self, batch: Batch) -> Result<(), FetchError> {
        let Batch {
            id, source, wants, ..
        } = batch;
        let wants: Vec<(usize, Want)> = wants
            .into_iter()
            .filter_map(|number| Some((number, self.plan.want(number)?)))
            .collect();
        let objects: Vec<_> = wants.iter().map(|(_, w)| (w.digest, w.most)).collect();
        let numbers: HashMap<_, _> = wants.iter().map(|(n, w)| (w.digest, *n)).collect();
        let (events, parcels) = (self.events.clone(), self.parcels.clone());
        let (shunned, from_source) = (Arc::clone(&self.shunned), source.clone());
        let each = move |heard| {
            let event = match heard {
                Heard::Object {
                    digest,
                    from,
                    zstd,
                    bytes,
                } => {
                    let number = numbers.get(&digest).copied();
                    let is_shunned = lock(&shunned).contains(&(from_source.clone(), from));
                    let parcel = number.filter(|_| !is_shunned).map(|number| Parcel {
                        batch: id,
                        number,
                        from,
                        zstd,
                        bytes,
                    });
                    match parcel.map(|parcel| parcels.try_send(Some(parcel))) {
                        Some(Ok(())) => return,
                        _ => Event::Ignored(id),
                    }
                }
                other => Event::Heard(id, other),
            };
            // The fetch may be over; then nobody listens.
            let _ = events.send(event);
        };
        let ground = self.ground;
        let timeout = ground.config.batch_timeout.saturating_mul(2);
        let asked = ground
            .site
            .ask(&source, ground.own, &objects, timeout, each)?;
        let flight = Flight {
            _asked: asked,
            source,
            missing: Vec::new(),
            objects: None,
            checked: 0,
            bad: false,
            good: false,
        };
        self.flights.insert(id, flight);
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), FetchError> {
        let now = Instant::now();
        match event {
            Event::Failed(error) => return Err(error),
            Event::Have(source, Heard::Have(answer)) => self.learn(&source, &answer, now),
            Event::Have(..) => {}
            Event::Ignored(batch) => {
                if let Some(flight) = self.flights.get_mut(&batch) {
                    flight.bad = true;
                    flight.checked += 1;
                }
                self.maybe_over(batch, now);
            }
            Event::Heard(batch, heard) => {
                if let Some(flight) = self.flights.get_mut(&batch) {
                    match heard {
                        Heard::Missing(digests) => {
                            let numbers = digests.iter().filter_map(|d| self.plan.number(*d));
                            flight.missing.extend(numbers);
                        }
                        Heard::Strange => flight.bad = true,
                        Heard::Over { objects } => flight.objects = Some(objects),
                        Heard::Busy | Heard::Have(_) | Heard::Object { .. } => {}
                    }
                }
                self.maybe_over(batch, now);
            }
            Event::Checked {
                batch,
                number,
                from,
                size,
                stored,
            } => {
                self.checked(batch, number, from, size, &stored, now);
                self.maybe_over(batch, now);
            }
        }
        Ok(())
    }

    fn learn(&mut self, source: &str, answer: &[u8], now: Instant) {
        self.asked_have.remove(source);
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let Some((wants, changed)) = neighbours.answered(source, answer) else {
            tracing::debug!(source, "a neighbour said what it holds of another index");
            return;
        };
        self.plan.holds(source, wants);
        if changed {
            let theirs = neighbours.theirs(|number| Some(self.plan.want(number)?.digest));
            self.plan.leave_to_neighbours(theirs, now);
        }
    }

    fn checked(
        &mut self,
        batch: u64,
        number: usize,
        from: u128,
        size: u64,
        stored: &Stored,
        now: Instant,
    ) {
        let Some(flight) = self.flights.get_mut(&batch) else {
            // Its batch was given up, and yet it came.
            if matches!(stored, Stored::Kept) {
                self.arrive(batch, number, now);
            }
            return;
        };
        flight.checked += 1;
        let source = flight.source.clone();
        let mut moved = lock(self.ground.moved);
        moved.bytes_received += size;
        match stored {
            Stored::Kept => {
                flight.good = true;
                self.ground.sources.prove(&source);
                *moved.from.entry(source).or_default() += size;
                drop(moved);
                self.arrive(batch, number, now);
            }
            Stored::Rubbish => {
                flight.bad = true;
                *moved.refused.entry(source.clone()).or_default() += 1;
                drop(moved);
                if lock(&self.shunned).insert((source.clone(), from)) {
                    tracing::warn!(
                        source,
                        "a source sent an object that is not what its digest says"
                    );
                }
            }
        }
    }

    fn arrive(&mut self, batch: u64, number: usize, now: Instant) {
        let (was_wanted, complete) = self.plan.arrived(batch, number, now);
        if was_wanted {
            self.arrived += self.plan.want(number).map_or(0, |want| want.most);
        }
        for batch in complete {
            self.flights.remove(&batch);
        }
    }

    /// Ends a batch when all of its replies have been looked at.
    fn maybe_over(&mut self, batch: u64, now: Instant) {
        let over = |flight: &Flight| flight.objects.is_some_and(|all| flight.checked >= all);
        if !self.flights.get(&batch).is_some_and(over) {
            return;
        }
        let Some(flight) = self.flights.remove(&batch) else {
            return;
        };
        self.plan.ended(batch, &flight.missing, End::Over, now);
        if flight.bad && !flight.good {
            tracing::warn!(
                source = flight.source,
                "a source lost its standing for this fetch"
            );
            *lock(self.ground.moved)
                .refused
                .entry(flight.source.clone())
                .or_default() += 1;
            lock(self.ground.banned).insert(flight.source.clone());
            for batch in self.plan.ban(&flight.source) {
                self.flights.remove(&batch);
            }
        }
    }
}
