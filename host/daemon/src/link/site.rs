//! What devices, publishers and registries of one site share: who answers for objects, and what a site should run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_trust::Digest;
use zenoh::bytes::Encoding;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable};
use zenoh::sample::{Locality, Sample, SampleKind};
use zenoh::{Session, Wait};

use super::objects::replier;
use super::pending::Pending;
use super::{LinkError, owned_key, settings, warn_unanswered};
use crate::config::ZenohConfig;
use crate::parts::Parts;
use crate::status::SessionStatus;

/// How often a site is asked again what it should run: a put may have been lost, and a publisher may have come unseen.
pub const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How soon it is asked again where something was thrown away unread: it may have been what counts.
const ASK_SOON: Duration = Duration::from_secs(2);
/// How long an answer to that may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest statement or trust update that is taken, in bytes: the statement, and its signatures.
pub const MAX_STATEMENT_MESSAGE: usize = 3 << 20;
/// Most sources that are listened to at one site.
pub const MAX_SOURCES: usize = 1_024;

/// A session, and the keys of a site.
#[derive(Debug, Clone)]
pub struct Site {
    pub(super) session: Session,
    name: String,
    /// Indexes of blobs that are arriving, which the catalogue does not list yet.
    indexes: Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>,
    /// What its threads are parts of.
    pub(super) parts: Parts,
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
        Self::open_with(config, name, &Parts::default())
    }

    /// The same, whose threads are parts of a daemon or a registry.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(config: &ZenohConfig, name: &str, parts: &Parts) -> Result<Self, LinkError> {
        let site = Self::of(settings::open(config)?, name);
        Ok(Self {
            parts: parts.clone(),
            ..site
        })
    }

    /// The same session, for another site.
    pub(super) fn of(session: Session, name: &str) -> Self {
        Self {
            session,
            name: name.to_owned(),
            indexes: Arc::default(),
            parts: Parts::default(),
        }
    }

    /// Shows neighbours which chunks a blob that is arriving has, until [`Site::hide_indexes`].
    pub(crate) fn show_index(&self, index: Digest, bytes: Vec<u8>) {
        self.lock_indexes().insert(index, bytes);
    }

    /// Shows no indexes any more.
    pub(crate) fn hide_indexes(&self) {
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
        if let Err(error) = self.session.close().wait() {
            tracing::warn!(%error, "the Zenoh session did not close cleanly");
        }
    }

    /// A key of the site.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("hotshoe/{}/{rest}", self.name)
    }

    pub(super) fn failed(key: &str) -> impl FnOnce(zenoh::Error) -> LinkError {
        let key = key.to_owned();
        move |source| LinkError::Use { key, source }
    }

    /// Says something to the whole site, to those that listen now.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn say(&self, notice: Notice, name: &str, bytes: &[u8]) -> Result<(), LinkError> {
        let key = self.key(&notice.key(name));
        self.session
            .put(owned_key(&key)?, bytes)
            .encoding(Encoding::APPLICATION_JSON)
            .congestion_control(CongestionControl::Block)
            .wait()
            .map_err(Self::failed(&key))
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
        let queryable = self
            .session
            .declare_queryable(owned_key(&key)?)
            .callback(move |query| {
                for Desired { name, bytes } in said() {
                    let Ok(key) = owned_key(&site.key(&notice.key(&name))) else {
                        continue;
                    };
                    if query.key_expr().intersects(&key) {
                        let reply = query.reply(key, bytes).encoding(Encoding::APPLICATION_JSON);
                        warn_unanswered(reply.wait());
                    }
                }
            })
            .wait()
            .map_err(Self::failed(&key))?;
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
        let subscriber = self
            .session
            .declare_subscriber(owned_key(&key)?)
            .callback(move |sample| {
                if sample.kind() == SampleKind::Put {
                    heard.take(notice, None, &sample);
                }
            })
            .wait()
            .map_err(Self::failed(&key))?;
        let tokens = self.key("@source/*");
        let appeared = Arc::clone(&pending);
        let sources = self
            .session
            .liveliness()
            .declare_subscriber(owned_key(&tokens)?)
            .history(true)
            .callback(move |sample| {
                if sample.kind() == SampleKind::Put {
                    appeared.ask();
                }
            })
            .wait()
            .map_err(Self::failed(&tokens))?;
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
        let key = self.key(&format!("@source/{source}"));
        self.session
            .liveliness()
            .declare_token(owned_key(&key)?)
            .wait()
            .map_err(Self::failed(&key))
    }

    /// Follows which sources there are.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn sources(&self) -> Result<Sources, LinkError> {
        let key = self.key("@source/*");
        let live = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&live);
        let subscriber = self
            .session
            .liveliness()
            .declare_subscriber(owned_key(&key)?)
            .history(true)
            .callback(move |sample: Sample| {
                let Some(name) = last_part(sample.key_expr()) else {
                    return;
                };
                let mut live = seen.lock().unwrap_or_else(PoisonError::into_inner);
                match sample.kind() {
                    SampleKind::Put if live.len() < MAX_SOURCES => drop(live.insert(name)),
                    SampleKind::Put => {}
                    SampleKind::Delete => drop(live.remove(&name)),
                }
            })
            .wait()
            .map_err(Self::failed(&key))?;
        Ok(Sources {
            live,
            _subscriber: subscriber,
        })
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

/// The sources of a site that are alive.
#[derive(Debug)]
pub struct Sources {
    live: Arc<Mutex<BTreeSet<String>>>,
    _subscriber: Subscriber<()>,
}

impl Sources {
    /// Their names.
    pub fn live(&self) -> BTreeSet<String> {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
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
        if sample.payload().len() > MAX_STATEMENT_MESSAGE {
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
        let mut pause = ASK_AGAIN;
        loop {
            let wait = pause.saturating_sub(asked.elapsed());
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
            let appeared = std::mem::take(&mut heard.ask);
            let ask = appeared || asked.elapsed() >= pause;
            heard.missed &= !ask;
            let waiting = heard.waiting.take();
            drop(heard);
            if ask {
                asked = Instant::now();
                // A source's token may arrive before the way to its answers is known: ask again soon, then less and less often.
                pause = if appeared {
                    ASK_SOON
                } else {
                    pause.saturating_mul(2).min(ASK_AGAIN)
                };
                self.ask(&pending);
            }
            drop(pending);
            waiting.into_iter().for_each(&mut *each);
        }
    }

    fn ask(&self, pending: &Arc<Ear>) {
        let key = self.site.key(&self.notice.key("*"));
        let Ok(address) = owned_key(&key) else {
            return;
        };
        let (pending, notice) = (Arc::clone(pending), self.notice);
        let asked = self
            .site
            .session
            .get(address)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            .priority(Priority::DataLow)
            .timeout(STATEMENT_TIMEOUT)
            .callback(move |reply| {
                if let Ok(sample) = reply.result() {
                    pending.take(notice, Some(replier(&reply)), sample);
                }
            })
            .wait();
        if let Err(error) = asked {
            tracing::debug!(%error, key, "the site could not be asked");
        }
    }
}
