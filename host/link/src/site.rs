//! What devices, publishers and registries of one site share: who answers for objects, and what a site should run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::ZenohConfig;
use hotshoe_protocol::status::SessionStatus;
use hotshoe_trust::Digest;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable};
use zenoh::sample::{Locality, Sample, SampleKind};
use zenoh::{Session, Wait};

use super::objects::replier;
use super::outbox::Outbox;
use super::outgoing::{self, JSON, Lane, Outgoing};
use super::pending::Pending;
use super::{LinkError, settings, warn_unanswered};

/// How often a site is asked again what it should run: a put may have been lost, and a publisher may have come unseen.
pub const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How soon it is asked again where something was thrown away unread: it may have been what counts.
const ASK_SOON: Duration = Duration::from_secs(2);
/// How soon at the earliest, however many sources appear.
const ASK_APART: Duration = Duration::from_millis(250);
/// How long an answer to that may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest statement or trust update that is taken, in bytes: the statement, and its signatures.
pub const MAX_STATEMENT_MESSAGE: usize = 3 << 20;
/// Longest name of a release in a key, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// How long what was said may take to leave when the session is closed.
const LEAVE: Duration = Duration::from_secs(5);

/// A session, and the keys of a site.
#[derive(Debug, Clone)]
pub struct Site {
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    name: String,
    /// Indexes of blobs that are arriving, which the catalogue does not list yet.
    indexes: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    /// What its threads are parts of.
    pub(super) parts: Supervisor,
}

/// What is said to a whole site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// What should run, by the name of the release.
    Desired,
    /// A new `trust.toml`.
    Trust,
}

/// A statement as it arrived, before anything was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The name of the release, by its key. For a trust update a number.
    pub name: String,
    /// The statement with its signatures.
    pub bytes: Vec<u8>,
}

impl Site {
    /// Opens a session. It does not wait for a network.
    ///
    /// # Errors
    /// [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig, name: &str) -> Result<Self, LinkError> {
        Self::open_with(config, name, &Supervisor::default())
    }

    /// The same, whose threads are parts of a daemon or a registry.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        config: &ZenohConfig,
        name: &str,
        parts: &Supervisor,
    ) -> Result<Self, LinkError> {
        Ok(Self::with(settings::open(config)?, name, parts))
    }

    /// The same session, for another site.
    pub(super) fn of(session: Session, name: &str) -> Self {
        Self::with(session, name, &Supervisor::default())
    }

    fn with(session: Session, name: &str, parts: &Supervisor) -> Self {
        Self {
            outbox: Outbox::new(session.clone(), parts),
            session,
            name: name.to_owned(),
            indexes: Arc::default(),
            parts: parts.clone(),
        }
    }

    /// Shows neighbours which chunks a blob that is arriving has, until [`Site::hide_indexes`].
    pub fn show_index(&self, index: Digest, bytes: Vec<u8>) {
        self.lock_indexes().insert(index, bytes);
    }

    /// Shows no indexes any more.
    pub fn hide_indexes(&self) {
        self.lock_indexes().clear();
    }

    /// An index that is shown.
    pub(super) fn index(&self, index: Digest) -> Option<Vec<u8>> {
        self.lock_indexes().get(&index).cloned()
    }

    fn lock_indexes(&self) -> MutexGuard<'_, BTreeMap<Digest, Vec<u8>>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Closes the session, after what was published has left.
    pub fn close(&self) {
        self.outbox.close(LEAVE);
        if let Err(error) = self.session.close().wait() {
            tracing::warn!(%error, "the Zenoh session did not close cleanly");
        }
    }

    /// A key of the site.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("hotshoe/{}/{rest}", self.name)
    }

    /// Says something to the whole site, to those that listen now and take it in time.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::TooLong`] and [`LinkError::Use`].
    pub fn say(&self, notice: Notice, name: &str, bytes: &[u8]) -> Result<(), LinkError> {
        let key = self.key(&notice.key(name));
        Outgoing::new(&key, bytes, JSON)?.put(&self.session, Lane::Data)
    }

    /// Answers those that ask what was said, until the [`Answering`] is dropped. `said` gives names and bytes, on Zenoh's threads.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn answer(
        &self,
        notice: Notice,
        said: impl Fn() -> Vec<Desired> + Send + Sync + 'static,
    ) -> Result<Answering, LinkError> {
        let key = self.key(&notice.key("*"));
        let site = self.clone();
        let queryable = outgoing::answer_queries(&self.session, &key, move |caller| {
            let answers = said().into_iter().filter_map(|Desired { name, bytes }| {
                let key = outgoing::address(&site.key(&notice.key(&name))).ok()?;
                let is_asked = caller.key().intersects(&key);
                is_asked.then(|| Outgoing::new(&key, bytes, JSON).ok())?
            });
            let answers = answers.collect();
            warn_unanswered(site.outbox.answer(caller, answers));
        })?;
        Ok(Answering {
            _queryable: queryable,
        })
    }

    /// Listens to what is said to the site: at once, whenever a source appears, and every [`ASK_AGAIN`]. `each` is called on a
    /// thread of its own, one at a time, with the newest of each name.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn watch(
        &self,
        notice: Notice,
        mut each: impl FnMut(Desired) + Send + 'static,
    ) -> Result<Watch, LinkError> {
        let (wake, woken) = sync_channel(1);
        let pending = Arc::new(Ear {
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
        let asker = Asking {
            site: self.clone(),
            notice,
            pending: Arc::downgrade(&pending),
        };
        self.parts
            .restarted("statements", move || {
                asker.run(&woken, &mut each);
                Ok(())
            })
            .map(|thread| Watch {
                _subscribers: (subscriber, sources),
                pending: Some(pending),
                thread: Some(thread),
            })
            .map_err(|source| LinkError::Thread { source })
    }

    /// Says that `source` answers for objects, until the token is dropped.
    pub(super) fn token(&self, source: &str) -> Result<LivelinessToken, LinkError> {
        outgoing::token(&self.session, &self.key(&format!("@source/{source}")))
    }
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
        }
    }
}

/// Answers what was said to a site, until it is dropped.
#[derive(Debug)]
pub struct Answering {
    _queryable: Queryable<()>,
}

/// Listens to what is said to a site, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    _subscribers: (Subscriber<()>, Subscriber<()>),
    pending: Option<Arc<Ear>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Statements that were thrown away unread: too large, too many names at once, or followed by a newer one too soon.
    pub fn dropped(&self) -> u64 {
        self.pending
            .as_ref()
            .map_or(0, |p| p.lock().waiting.dropped())
    }
}

impl Drop for Watch {
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

/// What was heard, until the thread that asks looks at it.
#[derive(Debug)]
struct Ear {
    heard: Mutex<Heard>,
    wake: SyncSender<()>,
}

#[derive(Debug, Default)]
struct Heard {
    waiting: Pending,
    /// Updates of `trust.toml` so far.
    updates: u64,
    /// Something was thrown away since the site was asked.
    missed: bool,
    ask: bool,
    closed: bool,
}

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One waiting wake-up is as good as many.
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
            Notice::Desired => last_part(sample.key_expr()).unwrap_or_default(),
            // Each by itself and in order: no version displaces the one that must come before it.
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

/// The thread that asks, and that passes on what was heard.
struct Asking {
    site: Site,
    notice: Notice,
    pending: std::sync::Weak<Ear>,
}

impl Asking {
    fn run(&self, woken: &Receiver<()>, each: &mut impl FnMut(Desired)) {
        let mut asked = Instant::now();
        let (mut pause, mut next, mut first) = (ASK_AGAIN, ASK_AGAIN, true);
        loop {
            let wait = next.saturating_sub(asked.elapsed());
            if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
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
                pause = ASK_SOON;
            }
            // Under a flood there is always something to wake up for, and the time comes all the same.
            let may = first || asked.elapsed() >= ASK_APART;
            let appeared = may && std::mem::take(&mut heard.ask);
            let ask = appeared || asked.elapsed() >= pause;
            let postponed = heard.ask;
            heard.missed &= !ask;
            let waiting = heard.waiting.take();
            drop(heard);
            if ask {
                (asked, first) = (Instant::now(), false);
                // A source's token may arrive before the way to its answers is known: ask again soon, then less and less often.
                pause = if appeared {
                    ASK_SOON
                } else {
                    pause.saturating_mul(2).min(ASK_AGAIN)
                };
                self.ask(&pending);
            }
            next = if postponed { ASK_APART } else { pause };
            drop(pending);
            waiting.into_iter().for_each(&mut *each);
        }
    }

    fn ask(&self, pending: &Arc<Ear>) {
        let key = self.site.key(&self.notice.key("*"));
        let (pending, notice) = (Arc::clone(pending), self.notice);
        let asked = outgoing::question(&self.site.session, &key, None).and_then(|question| {
            let question = question
                .target(QueryTarget::All)
                .consolidation(ConsolidationMode::None)
                .allowed_destination(Locality::Remote)
                .priority(Priority::DataLow)
                .timeout(STATEMENT_TIMEOUT);
            outgoing::send(&key, question, move |reply| {
                if let Ok(sample) = reply.result() {
                    pending.take(notice, Some(replier(reply)), sample);
                }
            })
        });
        if let Err(error) = asked {
            tracing::debug!(%error, key, "the site could not be asked");
        }
    }
}
