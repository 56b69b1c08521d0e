//! The fetch of a set of objects: it carries out the plan over Zenoh.
//!
//! The calling thread sends the requests. Replies arrive on Zenoh's threads, which only pass them on. Two threads decompress, check and
//! store the objects, so that hashing and receiving overlap.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::scoped;
use hotshoe_link::{ObjectReply, PendingRequest};
use hotshoe_protocol::wire::is_origin;
use parking_lot::Mutex;

use super::FetchError;
use super::check::{ReceivedReply, check};
use super::context::{CheckedObject, Event, FetchContext, ProgressFn, StoreFn, Stored};
use super::neighbours::Neighbours;
use super::plan::{Batch, BatchEnd, Bounds, Plan, Want};
use super::source_discovery::SourceDiscovery;
use super::wait::Arrivals;

/// Threads that decompress, check and store objects.
const CHECKERS: usize = 2;
/// Most replies that wait for them. Further replies are dropped, and their objects requested again if they are wanted.
const MAX_UNCHECKED: usize = 1_024;
/// Interval of the plan's timers when nothing arrives.
const TICK: Duration = Duration::from_millis(20);
/// Timeout of a query `have`.
const HAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// The running request of a batch.
struct BatchRequest {
    _asked: PendingRequest,
    source: String,
    missing: Vec<usize>,
    /// Number of replies with objects, once the request has ended.
    replies: Option<usize>,
    /// Number of replies that were checked.
    checked: usize,
    bad: bool,
    good: bool,
}

/// Senders of invalid objects, by source and Zenoh id.
type IgnoredSenders = Arc<Mutex<HashSet<(String, u128)>>>;

struct Run<'a> {
    context: &'a FetchContext<'a>,
    plan: Plan,
    neighbours: Option<Neighbours>,
    discovery: SourceDiscovery,
    devices: BTreeSet<String>,
    requests: HashMap<u64, BatchRequest>,
    asked_have: BTreeMap<String, PendingRequest>,
    ignored_senders: IgnoredSenders,
    events: Sender<Event>,
    to_check: SyncSender<Option<ReceivedReply>>,
    arrived: u64,
    arrivals: Arrivals,
}

/// Fetches all wants, and returns when all are stored.
pub(crate) fn fetch(
    context: &FetchContext<'_>,
    wants: Vec<Want>,
    neighbours: Option<Neighbours>,
    keep: StoreFn<'_>,
    tell: ProgressFn<'_>,
) -> Result<(), FetchError> {
    if wants.is_empty() {
        return Ok(());
    }
    let most: Vec<u64> = wants.iter().map(|want| want.most).collect();
    let (events, received) = channel();
    let (to_check, arrived) = sync_channel(MAX_UNCHECKED);
    let arrived = Mutex::new(arrived);
    let over = AtomicBool::new(false);
    let mut plan = Plan::new(
        wants,
        Bounds {
            in_flight: context.config.in_flight_bytes,
            batch: context.config.batch_bytes,
            stall: context.config.stall,
            timeout: context.config.batch_timeout,
        },
    );
    for source in context.banned.lock().iter() {
        plan.ban(source);
    }
    plan.demote(context.reputation.demoted(context.clock.now()));
    std::thread::scope(|scope| {
        let (arrived, most, over) = (&arrived, most.as_slice(), &over);
        for _ in 0..CHECKERS {
            let verdicts = events.clone();
            let run = move || check(arrived, over, most, keep, &verdicts);
            scoped(scope, "check", run).map_err(FetchError::Thread)?;
        }
        let end = to_check.clone();
        let mut run = Run {
            context,
            plan,
            neighbours,
            discovery: SourceDiscovery::default(),
            devices: BTreeSet::new(),
            requests: HashMap::new(),
            asked_have: BTreeMap::new(),
            ignored_senders: IgnoredSenders::default(),
            events,
            to_check,
            arrived: 0,
            arrivals: Arrivals::new(context.clock.now()),
        };
        let result = run.until_done(&received, tell);
        let reputation = context.reputation;
        reputation.remember(run.plan.demoted(), context.clock.now());
        drop(run);
        over.store(true, Ordering::Relaxed);
        for _ in 0..CHECKERS {
            let _ = end.send(None);
        }
        result
    })
}

impl Run<'_> {
    fn until_done(
        &mut self,
        received: &Receiver<Event>,
        tell: ProgressFn<'_>,
    ) -> Result<(), FetchError> {
        let clock = self.context.clock;
        let mut told = clock.now();
        tell(0, self.plan.usable(), None);
        while !self.plan.is_done() {
            if self.context.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            let now = clock.now();
            self.poll(now)?;
            self.ask(now)?;
            match clock.recv_until(received, now + TICK) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(FetchError::Cancelled),
            }
            while let Ok(event) = received.try_recv() {
                self.take(event)?;
            }
            if clock.elapsed(told) >= REPORT_EVERY {
                told = clock.now();
                let sources = self.plan.usable();
                tell(self.arrived, sources, self.arrivals.waits(clock, sources));
            }
        }
        tell(self.arrived, self.plan.usable(), None);
        Ok(())
    }

    /// Updates the sources, and handles slow batches.
    fn poll(&mut self, now: Instant) -> Result<(), FetchError> {
        let mut live = self.context.sources.live();
        live.remove(self.context.own);
        if !self.context.config.share {
            live.retain(|name| is_origin(name));
        }
        for batch in self.plan.set_sources(&live, is_origin) {
            self.requests.remove(&batch);
        }
        self.plan.prefer(self.context.sources.known());
        self.discovery.poll(self.context, &self.plan, now)?;
        for batch in self.plan.overdue(now) {
            if let Some(request) = self.requests.remove(&batch) {
                tracing::debug!(
                    source = request.source,
                    "a source did not answer in time; its batch is requested elsewhere"
                );
                self.plan
                    .ended(batch, &request.missing, BatchEnd::TimedOut, now);
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
        let context = self.context;
        let indexes = neighbours.indexes();
        let asked = context
            .site
            .ask_have(&name, context.own, &indexes, HAVE_TIMEOUT, each)?;
        self.asked_have.insert(name, asked);
        Ok(())
    }

    fn ask(&mut self, now: Instant) -> Result<(), FetchError> {
        let early = |neighbours: &Neighbours| neighbours.is_early(&self.devices, now);
        if self.neighbours.as_ref().is_some_and(early) {
            return Ok(());
        }
        while self.context.rate_limit.lock().allows(now) {
            let Some(batch) = self.plan.next(now) else {
                return Ok(());
            };
            self.context.rate_limit.lock().spend(batch.bytes);
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
        let numbers = wants.iter().map(|(n, w)| (w.digest, *n));
        let numbers = Arc::new(numbers.collect::<HashMap<_, _>>());
        let (events, to_check) = (self.events.clone(), self.to_check.clone());
        let (ignored_senders, from_source) = (Arc::clone(&self.ignored_senders), source.clone());
        let each = move |heard| {
            let event = match heard {
                ObjectReply::Objects { from, objects } => {
                    let is_ignored = ignored_senders
                        .lock()
                        .contains(&(from_source.clone(), from));
                    let reply = (!is_ignored).then(|| ReceivedReply {
                        batch: id,
                        from,
                        objects,
                        numbers: Arc::clone(&numbers),
                    });
                    match reply.map(|reply| to_check.try_send(Some(reply))) {
                        Some(Ok(())) => return,
                        _ => Event::Ignored(id),
                    }
                }
                other => Event::Reply(id, other),
            };
            // The fetch may have ended.
            let _ = events.send(event);
        };
        let context = self.context;
        let timeout = context.config.batch_timeout.saturating_mul(2);
        let asked = context
            .site
            .ask(&source, context.own, &objects, timeout, each)?;
        let request = BatchRequest {
            _asked: asked,
            source,
            missing: Vec::new(),
            replies: None,
            checked: 0,
            bad: false,
            good: false,
        };
        self.requests.insert(id, request);
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), FetchError> {
        let now = self.context.clock.now();
        match event {
            Event::Failed(error) => return Err(error),
            Event::Have(source, ObjectReply::Have(answer)) => self.on_have(&source, &answer, now),
            Event::Have(..) => {}
            Event::Ignored(batch) => {
                if let Some(request) = self.requests.get_mut(&batch) {
                    request.bad = true;
                    request.checked += 1;
                }
                self.finish_if_complete(batch, now);
            }
            Event::Reply(batch, heard) => {
                if let Some(request) = self.requests.get_mut(&batch) {
                    match heard {
                        ObjectReply::Missing(digests) => {
                            let numbers = digests.iter().filter_map(|d| self.plan.number(*d));
                            request.missing.extend(numbers);
                        }
                        ObjectReply::Unexpected => request.bad = true,
                        ObjectReply::Finished { replies } => request.replies = Some(replies),
                        ObjectReply::Busy | ObjectReply::Have(_) | ObjectReply::Objects { .. } => {}
                    }
                }
                self.finish_if_complete(batch, now);
            }
            Event::Checked {
                batch,
                from,
                objects,
                unexpected,
            } => {
                if let Some(request) = self.requests.get_mut(&batch) {
                    request.checked += 1;
                    request.bad |= unexpected;
                }
                for object in objects {
                    self.checked(batch, from, &object, now);
                }
                self.finish_if_complete(batch, now);
            }
        }
        Ok(())
    }

    fn on_have(&mut self, source: &str, answer: &[u8], now: Instant) {
        self.asked_have.remove(source);
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let Some((wants, changed)) = neighbours.answered(source, answer) else {
            tracing::debug!(source, "a neighbour answered for another index");
            return;
        };
        self.plan.set_available(source, wants);
        if changed {
            let neighbour_wants =
                neighbours.neighbour_wants(|number| Some(self.plan.want(number)?.digest));
            self.plan.assign_to_neighbours(neighbour_wants, now);
        }
    }

    fn checked(&mut self, batch: u64, from: u128, object: &CheckedObject, now: Instant) {
        let CheckedObject {
            number,
            size,
            stored,
        } = object;
        let (number, size) = (*number, *size);
        let Some(request) = self.requests.get_mut(&batch) else {
            // It arrived after its batch was abandoned.
            if matches!(stored, Stored::Kept) {
                self.arrive(batch, number, now);
            }
            return;
        };
        let source = request.source.clone();
        let mut stats = self.context.stats.lock();
        stats.bytes_received += size;
        match stored {
            Stored::Kept => {
                request.good = true;
                self.arrivals.arrived(now);
                self.context.sources.mark_known(&source);
                *stats.from.entry(source).or_default() += size;
                drop(stats);
                self.arrive(batch, number, now);
            }
            Stored::Invalid => {
                request.bad = true;
                // The next source is asked for it.
                request.missing.push(number);
                *stats.refused.entry(source.clone()).or_default() += 1;
                drop(stats);
                self.arrivals.is_bad(&source);
                if self.ignored_senders.lock().insert((source.clone(), from)) {
                    let digest = self.plan.want(number).map(|want| want.digest.to_string());
                    tracing::warn!(
                        source,
                        digest,
                        "a source sent an object that does not match its digest"
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
            self.requests.remove(&batch);
        }
    }

    /// Ends a batch when all of its replies have been checked.
    fn finish_if_complete(&mut self, batch: u64, now: Instant) {
        let over =
            |request: &BatchRequest| request.replies.is_some_and(|all| request.checked >= all);
        if !self.requests.get(&batch).is_some_and(over) {
            return;
        }
        let Some(request) = self.requests.remove(&batch) else {
            return;
        };
        self.plan
            .ended(batch, &request.missing, BatchEnd::Finished, now);
        if request.bad && !request.good {
            tracing::warn!(
                source = request.source,
                "a source sent only bad data; it is demoted for this fetch"
            );
            *self
                .context
                .stats
                .lock()
                .refused
                .entry(request.source.clone())
                .or_default() += 1;
            self.context.banned.lock().insert(request.source.clone());
            for batch in self.plan.ban(&request.source) {
                self.requests.remove(&batch);
            }
        }
    }
}
