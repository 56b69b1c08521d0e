//! Sessions that have the name of one device, such as those of a copied card. A token under a device's `alive` names each session.
//!
//! Zenoh does not forward from peer to peer, so devices behind a registry do not see each other. The registry sees all of them, and
//! declares tokens under `same-name`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use parking_lot::Mutex;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};

use super::LinkError;
use super::outgoing;
use super::site::Site;

/// Time for which another session must be present before it is reported, in seconds: longer than the lease of a lost session of this
/// device, which is 10 s.
const GRACE_S: u64 = 15;
/// Most sessions of one name that are known at a time. Every peer may declare tokens.
const MAX_SESSIONS: usize = 16;
/// Most names that a registry follows.
const MAX_NAMES: usize = 4_096;
/// Most changes that wait for the registry's thread. More are lost.
const MAX_CHANGES: usize = 8_192;
/// The key parts of the tokens, below a device.
const ALIVE: &str = "alive";
const SAME_NAME: &str = "same-name";

/// The other sessions of a device's name, by the key of the token that names each, with the time when it was found.
#[derive(Debug, Clone)]
pub(super) struct OtherSessions {
    clock: Clock,
    since: Arc<Mutex<BTreeMap<(&'static str, String), Instant>>>,
}

/// Shows this session to others of the same name, and finds them, until it is dropped.
#[derive(Debug)]
pub(super) struct NameWatch {
    _token: LivelinessToken,
    _others: [Subscriber<()>; 2],
}

impl OtherSessions {
    /// None yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            since: Arc::default(),
        }
    }

    /// Declares this session's token for the device whose keys begin with `root`, and follows the others.
    pub(super) fn watch(&self, site: &Site, root: &str) -> Result<NameWatch, LinkError> {
        let own = site.status().id;
        let token = outgoing::token(&site.session, &format!("{root}/{ALIVE}/{own}"))?;
        let follow = |part: &'static str| {
            let (known, own) = (self.clone(), own.clone());
            let key = format!("{root}/{part}/*");
            outgoing::follow_tokens(&site.session, &key, move |sample| {
                known.take(part, &own, sample);
            })
        };
        Ok(NameWatch {
            _token: token,
            _others: [follow(ALIVE)?, follow(SAME_NAME)?],
        })
    }

    /// The ids of the sessions that have been there for [`GRACE_S`].
    pub(super) fn ids(&self) -> Vec<String> {
        let grace = Duration::from_secs(GRACE_S);
        let since = self.since.lock();
        let stay = since
            .iter()
            .filter(|(_, since)| self.clock.elapsed(**since) >= grace);
        let ids: BTreeSet<String> = stay.map(|((_, id), _)| id.clone()).collect();
        ids.into_iter().collect()
    }

    fn take(&self, part: &'static str, own: &str, sample: &Sample) {
        let Some((_, id)) = named(sample).filter(|(_, id)| id != own) else {
            return;
        };
        let mut since = self.since.lock();
        if sample.kind() == SampleKind::Delete {
            since.remove(&(part, id));
        } else if since.len() < MAX_SESSIONS {
            since.entry((part, id)).or_insert_with(|| self.clock.now());
        }
    }
}

/// The device and the session that a token names.
fn named(sample: &Sample) -> Option<(String, String)> {
    let mut parts = sample.key_expr().as_str().rsplit('/');
    let session = parts.next()?.to_owned();
    let device = parts.nth(1)?.to_owned();
    Some((device, session))
}

/// Announces to devices behind this session other devices with their names, until it is dropped.
#[derive(Debug)]
pub struct NameRelay {
    /// It has the sender of the changes, whose end is the end of the thread.
    _sessions: Subscriber<()>,
}

impl Site {
    /// Follows the sessions of all devices, and names those that share a name to each other.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn relay_names(&self) -> Result<NameRelay, LinkError> {
        let (sender, changes) = sync_channel(MAX_CHANGES);
        let key = self.key(&format!("*/{ALIVE}/*"));
        let sessions =
            outgoing::follow_tokens(&self.session, &key, move |sample| send(&sender, sample))?;
        let site = self.clone();
        let mut names = SharedNames::default();
        self.supervisor
            .restarted("names", move || {
                names.run(&site, &changes);
                Ok(())
            })
            .map_err(|source| LinkError::Thread { source })?;
        Ok(NameRelay {
            _sessions: sessions,
        })
    }
}

/// A session that appeared or is gone.
struct Change {
    device: String,
    session: String,
    is_there: bool,
}

fn send(changes: &SyncSender<Change>, sample: &Sample) {
    let Some((device, session)) = named(sample) else {
        return;
    };
    let is_there = sample.kind() != SampleKind::Delete;
    let change = Change {
        device,
        session,
        is_there,
    };
    if changes.try_send(change).is_err() {
        tracing::debug!(
            "too many devices connect and disconnect at once; a name conflict may be missed"
        );
    }
}

/// The sessions of each device, with the tokens by which they are named to each other.
#[derive(Default)]
struct SharedNames(BTreeMap<String, BTreeMap<String, Option<LivelinessToken>>>);

impl SharedNames {
    fn run(&mut self, site: &Site, changes: &Receiver<Change>) {
        while let Ok(change) = changes.recv() {
            self.take(site, &change);
        }
    }

    fn take(&mut self, site: &Site, change: &Change) {
        let Change {
            device, session, ..
        } = change;
        if !change.is_there {
            if let Some(sessions) = self.0.get_mut(device) {
                sessions.remove(session);
                if let (1, Some(token)) = (sessions.len(), sessions.values_mut().next()) {
                    *token = None;
                }
                if sessions.is_empty() {
                    self.0.remove(device);
                }
            }
            return;
        }
        if self.0.len() >= MAX_NAMES && !self.0.contains_key(device) {
            return;
        }
        let sessions = self.0.entry(device.clone()).or_default();
        if sessions.len() < MAX_SESSIONS {
            sessions.entry(session.clone()).or_default();
        }
        if sessions.len() < 2 {
            return;
        }
        for (session, token) in sessions.iter_mut().filter(|(_, token)| token.is_none()) {
            let key = site.key(&format!("{device}/{SAME_NAME}/{session}"));
            match outgoing::token(&site.session, &key) {
                Ok(declared) => *token = Some(declared),
                Err(error) => {
                    tracing::warn!(%error, device, "cannot announce the sessions of a shared name to each other");
                }
            }
        }
        // Each device says so too, once it has lasted.
        tracing::info!(
            device,
            sessions = sessions.len(),
            "several daemons have this name, or one has started again"
        );
    }
}
