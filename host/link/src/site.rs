//! The keys that all devices, publishers and registries of a site share: statements, trusted keys, and sources of objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::ZenohConfig;
use hotshoe_protocol::status::SessionStatus;
use hotshoe_trust::Digest;
use parking_lot::{Mutex, MutexGuard};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable, Reply};
use zenoh::sample::{Locality, Sample, SampleKind};
use zenoh::{Session, Wait};

use super::outgoing::{self, JSON, Outgoing, QosClass};
use super::pending::{PendingNotices, RawNotice};
use super::send_queue::SendQueue;
use super::{LinkError, settings, warn_if_unanswered};

/// Interval of queries for statements: a publication may be lost, and the token of a publisher may be missed.
pub const QUERY_INTERVAL: Duration = Duration::from_secs(30);
/// Interval after a statement was dropped unread: it may have been the relevant one.
const SHORT_QUERY_INTERVAL: Duration = Duration::from_secs(2);
/// Least time between two queries, however many sources appear.
const MIN_QUERY_INTERVAL: Duration = Duration::from_millis(250);
/// Timeout of a query for statements.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest statement or trust update with its signatures, in bytes: 3 MiB.
pub const MAX_STATEMENT_MESSAGE: usize = 3 << 20;
/// Longest name of a release in a key, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Time to send queued messages when the session is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A session, with the keys of a site.
#[derive(Debug, Clone)]
pub struct Site {
    pub(super) session: Session,
    pub(super) send_queue: SendQueue,
    name: String,
    /// Indexes of blobs that are being fetched, which are not in the catalogue yet.
    indexes: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    pub(super) supervisor: Supervisor,
}

/// The kind of a message to a whole site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A statement, under the name of its release.
    Desired,
    /// A new `trust.toml`.
    Trust,
    /// A rollout, under the name of its release.
    Rollout,
}

impl Site {
    /// Opens a session. It does not wait for the network.
    ///
    /// # Errors
    /// [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig, name: &str) -> Result<Self, LinkError> {
        Self::open_with(config, name, &Supervisor::default())
    }

    /// Like [`Self::open`], with its threads registered in `supervisor`.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        config: &ZenohConfig,
        name: &str,
        supervisor: &Supervisor,
    ) -> Result<Self, LinkError> {
        Ok(Self::with(settings::open(config)?, name, supervisor))
    }

    /// The clock of its threads.
    pub fn clock(&self) -> &Clock {
        self.supervisor.clock()
    }

    /// Shares a session, for another site.
    pub(super) fn of(session: Session, name: &str) -> Self {
        Self::with(session, name, &Supervisor::default())
    }

    fn with(session: Session, name: &str, supervisor: &Supervisor) -> Self {
        Self {
            send_queue: SendQueue::new(session.clone(), supervisor),
            session,
            name: name.to_owned(),
            indexes: Arc::default(),
            supervisor: supervisor.clone(),
        }
    }

    /// Serves the index of a blob that is being fetched to neighbours, until [`Site::withdraw_indexes`].
    pub fn advertise_index(&self, index: Digest, bytes: Vec<u8>) {
        self.lock_indexes().insert(index, bytes);
    }

    /// Serves no such index any more.
    pub fn withdraw_indexes(&self) {
        self.lock_indexes().clear();
    }

    /// An advertised index.
    pub(super) fn index(&self, index: Digest) -> Option<Vec<u8>> {
        self.lock_indexes().get(&index).cloned()
    }

    fn lock_indexes(&self) -> MutexGuard<'_, BTreeMap<Digest, Vec<u8>>> {
        self.indexes.lock()
    }

    /// The site's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The session's state.
    pub fn status(&self) -> SessionStatus {
        let info = self.session.info();
        SessionStatus {
            id: self.session.zid().to_string(),
            locators: info
                .locators()
                .wait()
                .iter()
                .map(ToString::to_string)
                .collect(),
            peers: info.peers_zid().wait().count() + info.routers_zid().wait().count(),
        }
    }

    /// Sends the queued messages, then closes the session.
    pub fn close(&self) {
        self.send_queue.close(CLOSE_TIMEOUT);
        if let Err(error) = self.session.close().wait() {
            tracing::warn!(%error, "the Zenoh session did not close cleanly");
        }
    }

    /// A key of the site.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("hotshoe/{}/{rest}", self.name)
    }

    /// Publishes a message to the site's current subscribers. A slow one loses it.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::TooLong`] and [`LinkError::Use`].
    pub fn publish(&self, notice: Notice, name: &str, bytes: &[u8]) -> Result<(), LinkError> {
        let key = self.key(&notice.key(name));
        Outgoing::new(&key, bytes, JSON)?.put(&self.session, QosClass::Data)
    }

    /// Answers queries for messages of this kind until the [`NoticeResponder`] is dropped. `said` is called on Zenoh's threads.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn answer(
        &self,
        notice: Notice,
        said: impl Fn() -> Vec<RawNotice> + Send + Sync + 'static,
    ) -> Result<NoticeResponder, LinkError> {
        let key = self.key(&notice.key("*"));
        let site = self.clone();
        let queryable = outgoing::answer_queries(&self.session, &key, move |query| {
            let answers = said().into_iter().filter_map(|RawNotice { name, bytes }| {
                let key = outgoing::address(&site.key(&notice.key(&name))).ok()?;
                let is_asked = query.key().intersects(&key);
                is_asked.then(|| Outgoing::new(&key, bytes, JSON).ok())?
            });
            let answers = answers.collect();
            warn_if_unanswered(site.send_queue.answer(query, answers));
        })?;
        Ok(NoticeResponder {
            _queryable: queryable,
        })
    }

    /// Subscribes to the site's messages of this kind, and queries them at the start, when a source appears, and every
    /// [`QUERY_INTERVAL`]. `each` is called on its own thread, one message at a time.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn watch(
        &self,
        notice: Notice,
        mut each: impl FnMut(RawNotice) + Send + 'static,
    ) -> Result<NoticeSubscription, LinkError> {
        let (wake, woken) = sync_channel(1);
        let pending = Arc::new(Inbox {
            heard: Mutex::default(),
            wake,
        });
        let key = self.key(&notice.key("*"));
        let heard = Arc::clone(&pending);
        let subscriber = outgoing::subscribe(&self.session, &key, move |sample| {
            if sample.kind() == SampleKind::Put {
                heard.take(notice, None, sample);
            }
        })?;
        let appeared = Arc::clone(&pending);
        let tokens = self.key("@source/*");
        let sources = outgoing::follow_tokens(&self.session, &tokens, move |sample| {
            if sample.kind() == SampleKind::Put {
                appeared.ask();
            }
        })?;
        pending.ask();
        let poller = StatementPoller {
            site: self.clone(),
            notice,
            pending: Arc::downgrade(&pending),
        };
        self.supervisor
            .restarted("statements", move || {
                poller.run(&woken, &mut each);
                Ok(())
            })
            .map(|thread| NoticeSubscription {
                _subscribers: (subscriber, sources),
                pending: Some(pending),
                thread: Some(thread),
            })
            .map_err(|source| LinkError::Thread { source })
    }

    /// Announces that `source` serves objects, until the token is dropped.
    pub(super) fn token(&self, source: &str) -> Result<LivelinessToken, LinkError> {
        outgoing::token(&self.session, &self.key(&format!("@source/{source}")))
    }
}

/// The sender of a reply, as it claims; 0 if unknown.
pub(super) fn sender_of(reply: &Reply) -> u128 {
    reply
        .replier_id()
        .map_or(0, |id| u128::from_le_bytes(id.zid().to_le_bytes()))
}

/// The last part of a key.
pub(super) fn last_part(key: &KeyExpr<'_>) -> Option<String> {
    key.as_str().rsplit('/').next().map(str::to_owned)
}

impl Notice {
    fn key(self, name: &str) -> String {
        match self {
            Self::Desired => format!("@desired/{name}"),
            Self::Trust => "@trust".to_owned(),
            Self::Rollout => format!("@rollout/{name}"),
        }
    }
}

/// Answers queries for a site's messages until it is dropped.
#[derive(Debug)]
pub struct NoticeResponder {
    _queryable: Queryable<()>,
}

/// A subscription to a site's messages, until it is dropped.
#[derive(Debug)]
pub struct NoticeSubscription {
    _subscribers: (Subscriber<()>, Subscriber<()>),
    pending: Option<Arc<Inbox>>,
    thread: Option<JoinHandle<()>>,
}

impl NoticeSubscription {
    /// Number of messages that were dropped unread: too large, too many names at once, or replaced by a newer one too soon.
    pub fn dropped(&self) -> u64 {
        self.pending
            .as_ref()
            .map_or(0, |p| p.lock().waiting.dropped())
    }
}

impl Drop for NoticeSubscription {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.lock().closed = true;
            pending.wake();
        }
        let own = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != own) {
            let _ = thread.join();
        }
    }
}

/// Messages that wait for the poller's thread.
#[derive(Debug)]
struct Inbox {
    heard: Mutex<InboxState>,
    wake: SyncSender<()>,
}

#[derive(Debug, Default)]
struct InboxState {
    waiting: PendingNotices,
    /// Updates of `trust.toml` so far.
    updates: u64,
    /// Whether a message was dropped since the last query.
    missed: bool,
    ask: bool,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.heard.lock()
    }

    /// One pending wake-up is enough.
    fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    fn ask(&self) {
        self.lock().ask = true;
        self.wake();
    }

    fn take(&self, notice: Notice, sender: Option<u128>, sample: &Sample) {
        let mut heard = self.lock();
        let name = match notice {
            Notice::Desired | Notice::Rollout => last_part(sample.key_expr()).unwrap_or_default(),
            // Numbered, to keep all versions in order: each needs the one before it.
            Notice::Trust => {
                heard.updates += 1;
                format!("{:020}", heard.updates)
            }
        };
        if sample.payload().len() > MAX_STATEMENT_MESSAGE || name.len() > MAX_NAME_BYTES {
            heard.waiting.refuse();
            return;
        }
        let bytes = sample.payload().to_bytes().into_owned();
        heard.missed |= !heard.waiting.add(sender, name, bytes);
        drop(heard);
        self.wake();
    }
}

/// The thread that queries the site and passes messages on.
struct StatementPoller {
    site: Site,
    notice: Notice,
    pending: std::sync::Weak<Inbox>,
}

impl StatementPoller {
    fn run(&self, woken: &Receiver<()>, each: &mut impl FnMut(RawNotice)) {
        let clock = self.site.clock();
        let mut asked = clock.now();
        let (mut pause, mut next, mut first) = (QUERY_INTERVAL, QUERY_INTERVAL, true);
        loop {
            if clock.recv_until(woken, asked + next) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let Some(pending) = self.pending.upgrade() else {
                return;
            };
            let mut heard = pending.lock();
            if heard.closed {
                return;
            }
            if heard.missed {
                pause = SHORT_QUERY_INTERVAL;
            }
            // A flood of messages must not trigger a flood of queries.
            let may = first || clock.elapsed(asked) >= MIN_QUERY_INTERVAL;
            let appeared = may && std::mem::take(&mut heard.ask);
            let ask = appeared || clock.elapsed(asked) >= pause;
            let postponed = heard.ask;
            heard.missed &= !ask;
            let waiting = heard.waiting.take();
            drop(heard);
            if ask {
                (asked, first) = (clock.now(), false);
                // A source's token may arrive before the route to its queryable: ask again soon, then less and less often.
                pause = if appeared {
                    SHORT_QUERY_INTERVAL
                } else {
                    pause.saturating_mul(2).min(QUERY_INTERVAL)
                };
                self.ask(&pending);
            }
            next = if postponed { MIN_QUERY_INTERVAL } else { pause };
            drop(pending);
            waiting.into_iter().for_each(&mut *each);
        }
    }

    fn ask(&self, pending: &Arc<Inbox>) {
        let key = self.site.key(&self.notice.key("*"));
        let (pending, notice) = (Arc::clone(pending), self.notice);
        let asked =
            outgoing::query_builder(&self.site.session, &key, None).and_then(|query_builder| {
                let query_builder = query_builder
                    .target(QueryTarget::All)
                    .consolidation(ConsolidationMode::None)
                    .allowed_destination(Locality::Remote)
                    .priority(Priority::DataLow)
                    .timeout(STATEMENT_TIMEOUT);
                outgoing::send(&key, query_builder, move |reply| {
                    if let Ok(sample) = reply.result() {
                        pending.take(notice, Some(sender_of(reply)), sample);
                    }
                })
            });
        if let Err(error) = asked {
            tracing::debug!(%error, key, "cannot query the statements of the site");
        }
    }
}
