//! Who says that it answers for objects. Anybody may say so, by the thousand, so names alone count for little: those that have delivered
//! come first, and of the others so many are considered as can be asked.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_protocol::wire::is_origin;
use hotshoe_protocol::wire::{Kind, Request, expand};
use hotshoe_trust::Digest;
use zenoh::cancellation::CancellationToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};
use zenoh::sample::{Locality, Sample, SampleKind};

use super::LinkError;
use super::objects::{Asked, ZSTD};
use super::outgoing::{self, BYTES, Lane, Outgoing};
use super::site::{Site, last_part};

/// Most tokens of sources that are remembered at one site.
pub const MAX_SOURCES: usize = 1_024;
/// Most sources that are considered of those that have delivered nothing yet: so many publishers and registries, and so many devices.
pub const MAX_STRANGERS: usize = 64;
/// Most sources that are remembered for what they delivered.
const MAX_KNOWN: usize = 256;
/// Longest name of a source, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// With more publishers and registries than this, none of which has delivered, all are called at once.
const CROWD: usize = 4;
/// Most replies to a call that are looked at.
const MAX_CALLED: usize = 1_024;
/// Largest object that is called for, in bytes.
pub const MAX_CALLED_BYTES: u64 = 1 << 20;
/// Least time between two lines of the log about a crowd.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The sources of a site that are alive.
#[derive(Debug)]
pub struct Sources {
    crowd: Arc<Mutex<Crowd>>,
    _subscriber: Subscriber<()>,
}

#[derive(Debug, Default)]
struct Crowd {
    live: BTreeSet<String>,
    /// Those that delivered what was asked for, and when.
    known: BTreeMap<String, Instant>,
    /// Tokens that found no room.
    turned_away: u64,
    told: Option<Instant>,
    /// Which strangers are considered is nothing that a name can aim at.
    order: RandomState,
}

impl Crowd {
    fn appear(&mut self, name: String) {
        if self.live.contains(&name) {
            return;
        }
        if self.live.len() >= MAX_SOURCES {
            let stranger = self.live.iter().find(|n| !self.known.contains_key(*n));
            let Some(stranger) = stranger.filter(|_| self.known.contains_key(&name)).cloned()
            else {
                self.turned_away += 1;
                return self.tell();
            };
            self.turned_away += 1;
            self.live.remove(&stranger);
        }
        self.live.insert(name);
        self.tell();
    }

    fn prove(&mut self, name: &str) {
        let known = self.known.insert(name.to_owned(), Instant::now());
        if known.is_some() {
            return;
        }
        if self.known.len() > MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        // It answers, also where its token found no room.
        self.appear(name.to_owned());
    }

    fn strangers(&self, origins: bool) -> impl Iterator<Item = &String> {
        let is_one = move |name: &&String| is_origin(name) == origins;
        let strangers = self.live.iter().filter(is_one);
        strangers.filter(|name| !self.known.contains_key(*name))
    }

    fn considered(&self) -> BTreeSet<String> {
        let known = self.known.keys().filter(|name| self.live.contains(*name));
        let mut considered: BTreeSet<String> = known.cloned().collect();
        for origins in [true, false] {
            let mut strangers: Vec<&String> = self.strangers(origins).collect();
            if strangers.len() > MAX_STRANGERS {
                strangers.sort_by_cached_key(|name| self.order.hash_one(name));
                strangers.truncate(MAX_STRANGERS);
            }
            considered.extend(strangers.into_iter().cloned());
        }
        considered
    }

    /// Says now and then how many are left out.
    fn tell(&mut self) {
        let beyond = |origins| {
            self.strangers(origins)
                .count()
                .saturating_sub(MAX_STRANGERS)
        };
        let left_out = (beyond(true) + beyond(false)) as u64 + self.turned_away;
        metrics::gauge!("hotshoe_sources_left_out")
            .set(f64::from(u32::try_from(left_out).unwrap_or(u32::MAX)));
        if left_out == 0 || self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        tracing::warn!(
            left_out,
            live = self.live.len(),
            considered = self.considered().len(),
            "more sources say that they answer for objects than are asked; those that have delivered come first. Access rules bind tokens to certificates: `hotshoe zenoh-acl`"
        );
    }
}

fn lock(crowd: &Mutex<Crowd>) -> MutexGuard<'_, Crowd> {
    crowd.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sources {
    /// Names of those that are considered.
    pub fn live(&self) -> BTreeSet<String> {
        lock(&self.crowd).considered()
    }

    /// Names of those that have delivered and are alive.
    pub fn known(&self) -> BTreeSet<String> {
        let crowd = lock(&self.crowd);
        let known = crowd.known.keys();
        known
            .filter(|name| crowd.live.contains(*name))
            .cloned()
            .collect()
    }

    /// Takes note that a source delivered what was asked for.
    pub fn prove(&self, name: &str) {
        lock(&self.crowd).prove(name);
    }

    /// Whether there are many publishers and registries, and none of them has delivered anything yet.
    pub fn is_crowd(&self) -> bool {
        let crowd = lock(&self.crowd);
        let is_known = |name: &String| is_origin(name) && crowd.live.contains(name);
        !crowd.known.keys().any(is_known) && crowd.strangers(true).nth(CROWD).is_some()
    }

    /// Calls all sources of a site at once for an object of at most `most` bytes. Those that have it are known from then on.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn call(
        &self,
        site: &Site,
        asker: &str,
        object: (Digest, u64),
        timeout: Duration,
    ) -> Result<Asked, LinkError> {
        let (digest, most) = object;
        let request = Request {
            kind: Kind::Objects,
            asker: asker.to_owned(),
            digests: vec![digest],
        };
        let key = site.key("@objects/*/*");
        let token = CancellationToken::default();
        let question = Outgoing::new(&key, request.to_bytes(), BYTES)?
            .ask(&site.session, Lane::Data)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            .priority(Priority::Background)
            .timeout(timeout)
            .cancellation_token(token.clone());
        let (crowd, heard) = (Arc::clone(&self.crowd), AtomicUsize::new(0));
        outgoing::send(&key, question, move |reply| {
            if heard.fetch_add(1, Ordering::Relaxed) < MAX_CALLED
                && let Some(source) = has(reply, digest, most)
            {
                lock(&crowd).prove(&source);
            }
        })?;
        Ok(Asked::new(token))
    }
}

/// The source that a reply to a call comes from, where it is the object.
fn has(reply: &Reply, digest: Digest, most: u64) -> Option<String> {
    let sample = reply.result().ok()?;
    let mut parts = sample.key_expr().as_str().rsplit('/');
    if parts.next()? != digest.hex() || sample.payload().len() as u64 > most {
        return None;
    }
    let source = parts.next().filter(|name| name.len() <= MAX_NAME_BYTES)?;
    let bytes = sample.payload().to_bytes();
    let found = if sample.encoding().to_string() == ZSTD {
        Digest::of(&expand(&bytes, usize::try_from(most).ok()?).ok()?)
    } else {
        Digest::of(&bytes)
    };
    (found == digest).then(|| source.to_owned())
}

impl Site {
    /// Follows which sources there are.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn sources(&self) -> Result<Sources, LinkError> {
        let key = self.key("@source/*");
        let crowd = Arc::new(Mutex::new(Crowd::default()));
        let seen = Arc::clone(&crowd);
        let subscriber = outgoing::follow_tokens(&self.session, &key, move |sample: &Sample| {
            let name = last_part(sample.key_expr());
            let Some(name) = name.filter(|name| name.len() <= MAX_NAME_BYTES) else {
                return;
            };
            let mut crowd = lock(&seen);
            match sample.kind() {
                SampleKind::Put => crowd.appear(name),
                SampleKind::Delete => drop(crowd.live.remove(&name)),
            }
        })?;
        Ok(Sources {
            crowd,
            _subscriber: subscriber,
        })
    }
}
