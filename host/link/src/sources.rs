//! The sources that announce objects. Any session can announce thousands, so sources that have delivered are preferred, and only a
//! limited number of unknown ones is asked.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_protocol::wire::is_origin;
use hotshoe_protocol::wire::{Kind, Request, expand};
use hotshoe_trust::Digest;
use parking_lot::Mutex;
use zenoh::pubsub::Subscriber;
use zenoh::query::Reply;
use zenoh::sample::{Sample, SampleKind};

use super::LinkError;
use super::object_replies::ZSTD;
use super::objects::PendingRequest;
use super::outgoing;
use super::site::{Site, last_part};

/// Most announced sources of a site.
pub const MAX_SOURCES: usize = 1_024;
/// Most unknown sources (without a delivery yet) that are asked: this many publishers and registries, and this many devices.
pub const MAX_UNKNOWN_SOURCES: usize = 64;
/// Most known sources (with a delivery).
const MAX_KNOWN_SOURCES: usize = 256;
/// Longest name of a source, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// With more unknown publishers and registries than this, and no known one, a request goes to all of them at once.
const MANY_UNKNOWN: usize = 4;
/// Most replies to a broadcast that are checked.
const MAX_BROADCAST_REPLIES: usize = 1_024;
/// Largest object that is requested by broadcast, in bytes: 1 MiB.
pub const MAX_BROADCAST_BYTES: u64 = 1 << 20;
/// Least time between two warnings about sources that are left out.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The live sources of a site.
#[derive(Debug)]
pub struct Sources {
    table: Arc<Mutex<SourceTable>>,
    _subscriber: Subscriber<()>,
}

#[derive(Debug, Default)]
struct SourceTable {
    live: BTreeSet<String>,
    /// Sources that have delivered, with the time of the last delivery.
    known: BTreeMap<String, Instant>,
    /// Tokens beyond [`MAX_SOURCES`].
    rejected: u64,
    warned: Option<Instant>,
    clock: Clock,
    /// Random order of unknown sources, so that names cannot be chosen to come first.
    order: RandomState,
}

impl SourceTable {
    fn add(&mut self, name: String) {
        if self.live.contains(&name) {
            return;
        }
        if self.live.len() >= MAX_SOURCES {
            let unknown_source = self.live.iter().find(|n| !self.known.contains_key(*n));
            let Some(unknown_source) = unknown_source
                .filter(|_| self.known.contains_key(&name))
                .cloned()
            else {
                self.rejected += 1;
                return self.report_left_out();
            };
            self.rejected += 1;
            self.live.remove(&unknown_source);
        }
        self.live.insert(name);
        self.report_left_out();
    }

    fn mark_known(&mut self, name: &str) {
        let known = self.known.insert(name.to_owned(), self.clock.now());
        if known.is_some() {
            return;
        }
        if self.known.len() > MAX_KNOWN_SOURCES {
            let oldest = self.known.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        // It answers even if its token was rejected.
        self.add(name.to_owned());
    }

    fn unknown(&self, origins: bool) -> impl Iterator<Item = &String> {
        let is_one = move |name: &&String| is_origin(name) == origins;
        let unknown = self.live.iter().filter(is_one);
        unknown.filter(|name| !self.known.contains_key(*name))
    }

    fn considered(&self) -> BTreeSet<String> {
        let known = self.known.keys().filter(|name| self.live.contains(*name));
        let mut considered: BTreeSet<String> = known.cloned().collect();
        for origins in [true, false] {
            let mut unknown: Vec<&String> = self.unknown(origins).collect();
            if unknown.len() > MAX_UNKNOWN_SOURCES {
                unknown.sort_by_cached_key(|name| self.order.hash_one(name));
                unknown.truncate(MAX_UNKNOWN_SOURCES);
            }
            considered.extend(unknown.into_iter().cloned());
        }
        considered
    }

    /// Warns about sources that are left out, at most once per [`WARN_EVERY`].
    fn report_left_out(&mut self) {
        let beyond = |origins| {
            self.unknown(origins)
                .count()
                .saturating_sub(MAX_UNKNOWN_SOURCES)
        };
        let left_out = (beyond(true) + beyond(false)) as u64 + self.rejected;
        metrics::gauge!("hotshoe_sources_left_out")
            .set(f64::from(u32::try_from(left_out).unwrap_or(u32::MAX)));
        if left_out == 0
            || self
                .warned
                .is_some_and(|warned| self.clock.elapsed(warned) < WARN_EVERY)
        {
            return;
        }
        self.warned = Some(self.clock.now());
        tracing::warn!(
            left_out,
            live = self.live.len(),
            considered = self.considered().len(),
            "more sources announce themselves than are asked; sources that have delivered are asked first. To bind announcements to certificates, use `hotshoe zenoh-acl`"
        );
    }
}

impl Sources {
    /// Names of the sources that may be asked.
    pub fn live(&self) -> BTreeSet<String> {
        self.table.lock().considered()
    }

    /// Names of live sources that have delivered.
    pub fn known(&self) -> BTreeSet<String> {
        let table = self.table.lock();
        let known = table.known.keys();
        known
            .filter(|name| table.live.contains(*name))
            .cloned()
            .collect()
    }

    /// Records that a source has delivered.
    pub fn mark_known(&self, name: &str) {
        self.table.lock().mark_known(name);
    }

    /// Whether there are many publishers and registries, and none of them has delivered yet.
    pub fn has_many_unknown(&self) -> bool {
        let table = self.table.lock();
        let is_known = |name: &String| is_origin(name) && table.live.contains(name);
        !table.known.keys().any(is_known) && table.unknown(true).nth(MANY_UNKNOWN).is_some()
    }

    /// Requests an object, with its size limit in bytes, from all sources of a site at once. Sources that deliver it become known.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn broadcast(
        &self,
        site: &Site,
        asker: &str,
        object: (Digest, u64),
        timeout: Duration,
    ) -> Result<PendingRequest, LinkError> {
        let (digest, most) = object;
        let request = Request {
            kind: Kind::Objects,
            asker: asker.to_owned(),
            digests: vec![digest],
        };
        let key = site.key("@objects/*/*");
        let (table, heard) = (Arc::clone(&self.table), AtomicUsize::new(0));
        site.ask_for_objects(&key, &request, timeout, move |reply| {
            if heard.fetch_add(1, Ordering::Relaxed) < MAX_BROADCAST_REPLIES
                && let Some(source) = delivered_by(reply, digest, most)
            {
                table.lock().mark_known(&source);
            }
        })
    }
}

/// The source of a reply to a broadcast, if the reply is the requested object.
fn delivered_by(reply: &Reply, digest: Digest, most: u64) -> Option<String> {
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
    /// Tracks the sources of the site.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn sources(&self) -> Result<Sources, LinkError> {
        let key = self.key("@source/*");
        let table = Arc::new(Mutex::new(SourceTable {
            clock: self.clock().clone(),
            ..SourceTable::default()
        }));
        let seen = Arc::clone(&table);
        let subscriber = outgoing::follow_tokens(&self.session, &key, move |sample: &Sample| {
            let name = last_part(sample.key_expr());
            let Some(name) = name.filter(|name| name.len() <= MAX_NAME_BYTES) else {
                return;
            };
            let mut table = seen.lock();
            match sample.kind() {
                SampleKind::Put => table.add(name),
                SampleKind::Delete => drop(table.live.remove(&name)),
            }
        })?;
        Ok(Sources {
            table,
            _subscriber: subscriber,
        })
    }
}
