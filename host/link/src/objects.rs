//! Transfer of objects by digest: requests to one source, and the server for requests of others.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_protocol::group::{self, GROUP, GROUP_BYTES, MAX_HEADER_BYTES, Part};
use hotshoe_protocol::have;
use hotshoe_protocol::wire::{Kind, MAX_ASKED, Request, digest_bytes, parse_digests};
use hotshoe_store::Catalogue;
use hotshoe_trust::Digest;
use parking_lot::{Condvar, Mutex, MutexGuard};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::cancellation::CancellationToken;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable, Reply};
use zenoh::sample::{Locality, Sample};

use super::LinkError;
use super::object_replies::{ObjectReplies, ZSTD};
use super::outgoing::{self, BYTES, IncomingQuery, Outgoing, QosClass};
use super::site::{Site, last_part, sender_of};

/// Error reply of a source with a full queue.
const BUSY: &[u8] = b"busy";
/// Prefix of an error reply that lists digests which the source does not have.
const MISSING: &[u8] = b"missing:";
/// Most requests that wait for a thread; a further one is refused as busy.
pub const WAITING_REQUESTS: usize = 256;
/// Most senders whose replies one request accepts.
const MAX_REPLIERS: usize = 16;
/// Most bytes of a reply about the chunks of indexes: [`MAX_ASKED`] indexes of 4 MiB have 116,000 chunks each, with a bit for each chunk.
const MAX_HAVE_BYTES: u64 = 1 << 20;
/// Threads that read, compress and send objects.
const SHARE_THREADS: usize = 4;
/// Of those, how many serve one requester at a time: one that reads slowly must not block the others.
const THREADS_PER_REQUESTER: usize = 2;

/// A reply to a request.
#[derive(Debug)]
pub enum ObjectReply {
    /// Objects that are not checked yet.
    Objects {
        /// Zenoh's id of the sender. Other sessions may also answer under the source's key.
        from: u128,
        /// The objects.
        objects: ReceivedObjects,
    },
    /// The source does not have these objects.
    Missing(Vec<Digest>),
    /// The source is busy.
    Busy,
    /// A reply that does not match the request.
    Unexpected,
    /// Which chunks of the requested indexes the source has.
    Have(Vec<u8>),
    /// The request has ended.
    Finished {
        /// Number of replies with objects that were passed on.
        replies: usize,
    },
}

/// The objects of one reply, as they were received.
#[derive(Debug)]
pub struct ReceivedObjects {
    payload: ZBytes,
    /// The digest of the only object, and whether it is compressed. `None` for a group, whose header lists its objects.
    single: Option<(Digest, bool)>,
}

impl ReceivedObjects {
    /// The bytes of the reply, in one piece.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        self.payload.to_bytes()
    }

    /// Where the objects are in [`Self::bytes`]. `None` if they are malformed.
    pub fn parts(&self, bytes: &[u8]) -> Option<Vec<Part>> {
        match self.single {
            None => group::parse(bytes),
            Some((digest, zstd)) => Some(vec![Part {
                digest,
                zstd,
                range: 0..bytes.len(),
            }]),
        }
    }
}

/// A request that is running. Dropping it cancels it.
#[derive(Debug)]
pub struct PendingRequest {
    token: CancellationToken,
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        // This waits for running callbacks, which never block.
        let _ = self.token.cancel().wait();
    }
}

/// Passes on the replies to a request, with a limit per sender, and reports the end.
struct ReplyCollector<F: Fn(ObjectReply)> {
    each: F,
    /// Requested objects, with their size limits in bytes.
    asked: HashMap<Digest, u64>,
    /// What each sender may send, and what each has left. Other sessions can answer under the source's key, and a flood from one of
    /// them must not hide the source's replies.
    most: Allowance,
    left: Mutex<HashMap<u128, Allowance>>,
    replies: AtomicUsize,
}

/// What one sender may send in reply to a request.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    replies: usize,
    /// Bytes of objects, with the headers of groups.
    bytes: u64,
}

impl Allowance {
    /// One reply per object, and one with the missing ones.
    fn of(objects: &[(Digest, u64)]) -> Self {
        let bytes: u64 = objects.iter().map(|(_, most)| *most).sum();
        let headers = (objects.len() * MAX_HEADER_BYTES) as u64;
        Self {
            replies: objects.len().saturating_add(1),
            bytes: bytes.saturating_add(headers),
        }
    }

    /// Counts a reply. `None` if it is one too many, and false if it has too many bytes.
    fn spend(&mut self, bytes: u64) -> Option<bool> {
        self.replies = self.replies.checked_sub(1)?;
        let fits = self.bytes >= bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(fits)
    }
}

impl<F: Fn(ObjectReply)> ReplyCollector<F> {
    fn receive(&self, reply: &Reply) {
        let from = sender_of(reply);
        let bytes = reply.result().map_or(0, |sample| sample.payload().len());
        let Some(fits) = self.count(from, bytes as u64) else {
            return;
        };
        let heard = match reply.result() {
            Ok(_) if !fits => ObjectReply::Unexpected,
            Ok(sample) => self.objects(sample, from),
            Err(error) => refusal(&error.payload().to_bytes()),
        };
        if let ObjectReply::Objects { .. } = heard {
            self.replies.fetch_add(1, Ordering::Relaxed);
        }
        (self.each)(heard);
    }

    /// Counts a reply of this sender; see [`Allowance::spend`].
    fn count(&self, from: u128, bytes: u64) -> Option<bool> {
        let mut senders = self.left.lock();
        if senders.len() >= MAX_REPLIERS && !senders.contains_key(&from) {
            return None;
        }
        senders.entry(from).or_insert(self.most).spend(bytes)
    }

    fn objects(&self, sample: &Sample, from: u128) -> ObjectReply {
        let name = last_part(sample.key_expr()).unwrap_or_default();
        let payload = sample.payload();
        if name == Kind::Have.name() && self.asked.is_empty() {
            return ObjectReply::Have(payload.to_bytes().into_owned());
        }
        let single = if name == GROUP {
            if payload.len() > MAX_HEADER_BYTES + GROUP_BYTES {
                return ObjectReply::Unexpected;
            }
            None
        } else {
            let digest = format!("sha256:{name}").parse::<Digest>().ok();
            let asked = digest.and_then(|digest| Some((digest, *self.asked.get(&digest)?)));
            match asked {
                Some((digest, most)) if payload.len() as u64 <= most => {
                    Some((digest, sample.encoding().to_string() == ZSTD))
                }
                _ => return ObjectReply::Unexpected,
            }
        };
        // Copied later, not on Zenoh's thread.
        let payload = payload.clone();
        ObjectReply::Objects {
            from,
            objects: ReceivedObjects { payload, single },
        }
    }
}

impl<F: Fn(ObjectReply)> Drop for ReplyCollector<F> {
    fn drop(&mut self) {
        let replies = self.replies.load(Ordering::Relaxed);
        (self.each)(ObjectReply::Finished { replies });
    }
}

/// Parses an error reply.
fn refusal(payload: &[u8]) -> ObjectReply {
    match payload.strip_prefix(MISSING) {
        Some(list) => parse_digests(list).map_or(ObjectReply::Unexpected, ObjectReply::Missing),
        // Zenoh's own errors, such as a timeout, count as busy.
        None => ObjectReply::Busy,
    }
}

impl Site {
    /// Requests objects from `source`, each with its size limit in bytes. `each` is called on Zenoh's threads and must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn ask(
        &self,
        source: &str,
        asker: &str,
        objects: &[(Digest, u64)],
        timeout: Duration,
        each: impl Fn(ObjectReply) + Send + Sync + 'static,
    ) -> Result<PendingRequest, LinkError> {
        let request = Request {
            kind: Kind::Objects,
            asker: asker.to_owned(),
            digests: objects.iter().map(|(digest, _)| *digest).collect(),
        };
        let collector = ReplyCollector {
            each,
            asked: objects.iter().copied().collect(),
            most: Allowance::of(objects),
            left: Mutex::default(),
            replies: AtomicUsize::new(0),
        };
        self.request(source, "*", &request, timeout, collector)
    }

    /// Asks `source` which chunks of these indexes it has.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn ask_have(
        &self,
        source: &str,
        asker: &str,
        indexes: &[Digest],
        timeout: Duration,
        each: impl Fn(ObjectReply) + Send + Sync + 'static,
    ) -> Result<PendingRequest, LinkError> {
        let request = Request {
            kind: Kind::Have,
            asker: asker.to_owned(),
            digests: indexes.to_vec(),
        };
        let collector = ReplyCollector {
            each,
            asked: HashMap::new(),
            most: Allowance {
                replies: 2,
                bytes: MAX_HAVE_BYTES,
            },
            left: Mutex::default(),
            replies: AtomicUsize::new(0),
        };
        self.request(source, Kind::Have.name(), &request, timeout, collector)
    }

    fn request<F: Fn(ObjectReply) + Send + Sync + 'static>(
        &self,
        source: &str,
        part: &str,
        request: &Request,
        timeout: Duration,
        collector: ReplyCollector<F>,
    ) -> Result<PendingRequest, LinkError> {
        let key = self.key(&format!("@objects/{source}/{part}"));
        self.ask_for_objects(&key, request, timeout, move |reply| {
            collector.receive(reply)
        })
    }

    /// Sends a request for objects to the sources that `key` names. `each` gets every reply, on Zenoh's threads.
    pub(super) fn ask_for_objects(
        &self,
        key: &str,
        request: &Request,
        timeout: Duration,
        each: impl Fn(&Reply) + Send + Sync + 'static,
    ) -> Result<PendingRequest, LinkError> {
        let token = CancellationToken::default();
        let query_builder = Outgoing::new(key, request.to_bytes(), BYTES)?
            .ask(&self.session, QosClass::Data)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            // Below samples and results. A reply has the priority of its query.
            .priority(Priority::Background)
            .timeout(timeout)
            .cancellation_token(token.clone());
        outgoing::send(key, query_builder, each)?;
        Ok(PendingRequest { token })
    }

    /// Serves the objects of `catalogue` as `source` until the [`Sharing`] is dropped.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn share(&self, source: &str, catalogue: Catalogue) -> Result<Sharing, LinkError> {
        let queue = Arc::new(RequestQueue {
            root: self.key(&format!("@objects/{source}")),
            site: self.clone(),
            catalogue,
            state: Mutex::default(),
            work: Condvar::new(),
            sent: AtomicU64::new(0),
        });
        let key = format!("{}/*", queue.root);
        let incoming = Arc::clone(&queue);
        let queryable = outgoing::answer_queries(&self.session, &key, move |query| {
            incoming.enqueue(query);
        })?;
        let mut sharing = Sharing {
            queue,
            threads: Vec::with_capacity(SHARE_THREADS),
            _queryable: queryable,
            _token: None,
        };
        for _ in 0..SHARE_THREADS {
            let queue = Arc::clone(&sharing.queue);
            let thread = self
                .supervisor
                .restarted("share", move || {
                    queue.serve();
                    Ok(())
                })
                .map_err(|source| LinkError::Thread { source })?;
            sharing.threads.push(thread);
        }
        sharing._token = Some(self.token(source)?);
        Ok(sharing)
    }
}

/// Serves objects until it is dropped.
#[derive(Debug)]
pub struct Sharing {
    queue: Arc<RequestQueue>,
    threads: Vec<JoinHandle<()>>,
    _queryable: Queryable<()>,
    _token: Option<LivelinessToken>,
}

impl Sharing {
    /// Bytes of objects sent.
    pub fn sent(&self) -> u64 {
        self.queue.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        self._token = None;
        self.queue.lock().closed = true;
        self.queue.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Requests that wait for a thread.
#[derive(Debug)]
struct RequestQueue {
    root: String,
    site: Site,
    catalogue: Catalogue,
    state: Mutex<RequestQueueState>,
    work: Condvar,
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct RequestQueueState {
    waiting: VecDeque<(IncomingQuery, Request)>,
    /// Number of threads that serve each requester.
    busy_threads: HashMap<String, usize>,
    closed: bool,
}

impl RequestQueueState {
    /// The oldest request whose requester is below its limit of threads.
    fn next(&mut self) -> Option<(IncomingQuery, Request)> {
        let free = |(_, request): &(IncomingQuery, Request)| {
            self.busy_threads.get(&request.asker).copied().unwrap_or(0) < THREADS_PER_REQUESTER
        };
        let next = self.waiting.iter().position(free)?;
        let (query, request) = self.waiting.remove(next)?;
        *self.busy_threads.entry(request.asker.clone()).or_default() += 1;
        Some((query, request))
    }

    fn finished(&mut self, asker: &str) {
        if let Some(held) = self.busy_threads.get_mut(asker) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.busy_threads.remove(asker);
            }
        }
    }
}

impl RequestQueue {
    fn lock(&self) -> MutexGuard<'_, RequestQueueState> {
        self.state.lock()
    }

    /// Called on Zenoh's threads, so it must not block.
    fn enqueue(&self, query: IncomingQuery) {
        // An invalid request gets no answer.
        let Some(request) = Request::parse(&query.payload()) else {
            return;
        };
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_REQUESTS {
            drop(state);
            let _ = self.site.send_queue.deny(query, BUSY.to_vec());
            return;
        }
        state.waiting.push_back((query, request));
        drop(state);
        self.work.notify_one();
    }

    fn serve(&self) {
        loop {
            let mut state = self.lock();
            let (query, request) = loop {
                if state.closed {
                    return;
                }
                match state.next() {
                    Some(next) => break next,
                    None => {
                        self.work.wait(&mut state);
                    }
                }
            };
            drop(state);
            match request.kind {
                Kind::Objects => self.send(&query, &request),
                Kind::Have => self.send_have(&query, &request),
            }
            drop(query);
            self.lock().finished(&request.asker);
            // The next request of the same requester may be ready now.
            self.work.notify_one();
        }
    }

    fn read(&self, digest: Digest) -> Option<Vec<u8>> {
        self.catalogue
            .read(digest)
            .or_else(|| self.site.index(digest))
    }

    fn send(&self, query: &IncomingQuery, request: &Request) {
        let mut missing = Vec::new();
        let mut replies = ObjectReplies::new(&self.root, query, &self.sent);
        for run in self.catalogue.runs(&request.digests, GROUP_BYTES as u64) {
            if self.lock().closed {
                return;
            }
            let sent = match self.catalogue.read_run(&run) {
                Some((bytes, objects)) => replies.add(bytes, &objects),
                None => run.digests().try_for_each(|digest| {
                    let Some(bytes) = self.read(digest) else {
                        missing.push(digest);
                        return Ok(());
                    };
                    let size = bytes.len();
                    replies.add(bytes, &[(digest, size)])
                }),
            };
            if let Err(stopped) = sent {
                return stopped.log(&request.asker);
            }
        }
        if let Err(stopped) = replies.flush() {
            return stopped.log(&request.asker);
        }
        if !missing.is_empty() {
            let mut list = MISSING.to_vec();
            list.extend(digest_bytes(missing.get(..MAX_ASKED).unwrap_or(&missing)));
            let _ = query.deny(list, BYTES);
        }
    }

    fn send_have(&self, query: &IncomingQuery, request: &Request) {
        let key = format!("{}/{}", self.root, Kind::Have.name());
        let read = |digest| self.read(digest);
        let answer = have::answer(
            &read,
            &|digest| self.catalogue.has(digest),
            &request.digests,
        );
        let answer = Outgoing::new(&key, answer, BYTES).and_then(|answer| query.answer(answer));
        if let Err(error) = answer {
            tracing::debug!(%error, "cannot answer a neighbour");
        }
    }
}
