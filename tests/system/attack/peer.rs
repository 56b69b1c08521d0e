//! The hostile peer: a bare Zenoh session that answers and states whatever it is told to.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use hotshoe_config::Config;
use hotshoe_protocol::group::{self, GROUP};
use hotshoe_store::{Catalogue, Layout};
use hotshoe_trust::Digest;
use serde_json::json;
use zenoh::bytes::Encoding;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Query, QueryTarget, Queryable};
use zenoh::{Session, Wait};

use crate::site::Packed;
use crate::support::{DEADLINE, Device};

/// The name that the peer goes by: that of a publisher, and the first in any order.
const NAME: &str = "publisher-00000000";
/// Root of the site's keys.
const SITE: &str = "hotshoe/lab";

/// A peer that means no good.
pub(crate) struct HostilePeer {
    session: Session,
    /// What it states, by the last part of the key.
    stated: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    queryables: Vec<Queryable<()>>,
    tokens: Vec<LivelinessToken>,
}

/// Tells that no more replies come.
struct End<F: Fn(Option<Digest>)>(F);

impl<F: Fn(Option<Digest>)> Drop for End<F> {
    fn drop(&mut self) {
        (self.0)(None);
    }
}

/// A request for objects, as it arrives.
pub(crate) struct Ask {
    query: Query,
    over: Arc<AtomicBool>,
    /// What is asked for.
    pub digests: Vec<Digest>,
}

/// What somebody holds, by digest.
#[derive(Clone, Default)]
pub(crate) struct Objects {
    releases: Catalogue,
    more: BTreeMap<Digest, Vec<u8>>,
}

impl Objects {
    /// All objects of these releases, and chunks of their blobs.
    pub(crate) fn of(releases: &[&Packed]) -> Self {
        let catalogue = Catalogue::new();
        for packed in releases {
            let layout = Layout::open(&packed.folder).expect("a release folder");
            catalogue.add_layout(&layout).expect("a whole release");
        }
        Self {
            releases: catalogue,
            more: BTreeMap::new(),
        }
    }

    /// The files of a release, whatever they hold.
    pub(crate) fn files(packed: &Packed) -> Self {
        let mut objects = Self::default();
        for file in fs::read_dir(packed.folder.join("blobs/sha256")).expect("a folder") {
            objects.put(fs::read(file.expect("a file").path()).expect("a file"));
        }
        objects
    }

    /// Holds this too.
    pub(crate) fn put(&mut self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.more.insert(digest, bytes);
        digest
    }

    pub(crate) fn get(&self, digest: Digest) -> Option<Vec<u8>> {
        let more = self.more.get(&digest).cloned();
        more.or_else(|| self.releases.read(digest))
    }

    /// Answers as an honest peer would.
    pub(crate) fn answer(&self, ask: &Ask) {
        for digest in &ask.digests {
            if let Some(bytes) = self.get(*digest) {
                ask.reply(*digest, bytes);
            }
        }
    }
}

impl Ask {
    /// The objects that a query asks for: version, kind, length of the asker's name, the name, digests.
    pub(crate) fn of(query: &Query) -> Vec<Digest> {
        let payload = query.payload().map(|payload| payload.to_bytes());
        let payload = payload.unwrap_or_default();
        let Some((&[1, b'o', name], rest)) = payload.split_first_chunk::<3>() else {
            return Vec::new();
        };
        let (digests, _) = rest[usize::from(name)..].as_chunks::<32>();
        digests.iter().map(|d| Digest::from_bytes(*d)).collect()
    }

    /// Sends bytes as the object of this digest. False if the other end no longer listens.
    pub(crate) fn reply(&self, digest: Digest, bytes: impl Into<Vec<u8>>) -> bool {
        self.send(digest, bytes.into(), Encoding::ZENOH_BYTES)
    }

    /// The same, said to be compressed.
    pub(crate) fn reply_zstd(&self, digest: Digest, bytes: impl Into<Vec<u8>>) -> bool {
        self.send(digest, bytes.into(), Encoding::from("application/zstd"))
    }

    fn send(&self, digest: Digest, bytes: Vec<u8>, encoding: Encoding) -> bool {
        let key = format!("{SITE}/@objects/{NAME}/{}", digest.hex());
        let reply = self.query.reply(key, bytes).encoding(encoding);
        reply.wait().is_ok()
    }

    /// Never ends the answer.
    pub(crate) fn hang(self) {
        std::mem::forget(self);
    }

    /// Goes on in a thread of its own, until `each` says that it is enough or the peer is gone.
    pub(crate) fn for_ever(self, each: impl Fn(&Self) -> bool + Send + 'static) {
        thread::spawn(move || while !self.over.load(Ordering::Relaxed) && each(&self) {});
    }
}

impl HostilePeer {
    /// Connects to a device's daemon.
    pub(crate) fn near(device: &Device) -> Self {
        let config = Config::load(&device.config).expect("a configuration");
        Self::at(&config.zenoh.listen)
    }

    /// Connects to these endpoints.
    pub(crate) fn at(endpoints: &[String]) -> Self {
        let mut config = zenoh::Config::default();
        for (key, value) in [
            ("mode", json!("peer")),
            ("connect/endpoints", json!(endpoints)),
            ("connect/timeout_ms", json!(DEADLINE.as_millis())),
            ("connect/exit_on_failure", json!(true)),
            ("listen/endpoints", json!([])),
            ("scouting/multicast/enabled", json!(false)),
            ("scouting/gossip/enabled", json!(false)),
        ] {
            config
                .insert_json5(key, &value.to_string())
                .expect("a setting");
        }
        let mut peer = Self {
            session: zenoh::open(config).wait().expect("a session"),
            stated: Arc::default(),
            asked: Arc::default(),
            over: Arc::default(),
            queryables: Vec::new(),
            tokens: Vec::new(),
        };
        for place in ["@desired/*", "@trust"] {
            let stated = Arc::clone(&peer.stated);
            peer.answer(place, move |query| {
                let stated = stated.lock().expect("a lock").clone();
                for (key, bytes) in stated {
                    // What is stated elsewhere does not match the question, and Zenoh refuses it.
                    let _ = query.reply(format!("{SITE}/{key}"), bytes).wait();
                }
            });
        }
        peer
    }

    /// Answers whatever is asked below `place`.
    pub(crate) fn answer(&mut self, place: &str, each: impl Fn(&Query) + Send + Sync + 'static) {
        let key = if place == "**" {
            place.to_owned()
        } else {
            format!("{SITE}/{place}")
        };
        let queryable = self
            .session
            .declare_queryable(key)
            .callback(move |query| each(&query))
            .wait()
            .expect("a queryable");
        self.queryables.push(queryable);
    }

    /// Appears as a source of objects, and answers for them so.
    pub(crate) fn source(&mut self, behave: impl Fn(Ask) + Send + Sync + 'static) {
        let (asked, over) = (Arc::clone(&self.asked), Arc::clone(&self.over));
        self.answer(&format!("@objects/{NAME}/*"), move |query| {
            let digests = Ask::of(query);
            if !digests.is_empty() {
                asked.fetch_add(digests.len(), Ordering::SeqCst);
                behave(Ask {
                    query: query.clone(),
                    over: Arc::clone(&over),
                    digests,
                });
            }
        });
        self.appear();
    }

    /// Appears as an honest source of these objects.
    pub(crate) fn serve(&mut self, objects: Objects) {
        self.source(move |ask| objects.answer(&ask));
    }

    /// Declares the token by which devices find a source.
    pub(crate) fn appear(&mut self) {
        self.declare(&format!("@source/{NAME}"));
    }

    /// Declares any token of the site.
    pub(crate) fn declare(&mut self, place: &str) {
        let liveliness = self.session.liveliness();
        let token = liveliness.declare_token(format!("{SITE}/{place}")).wait();
        self.tokens.push(token.expect("a token"));
    }

    /// Asks `source` for these objects under this name. What it does with each reply, and at the end, is `each`'s: it is told the reply's digest.
    pub(crate) fn ask(
        &self,
        source: &str,
        name: &str,
        digests: &[Digest],
        each: impl Fn(Option<Digest>) + Send + Sync + 'static,
    ) {
        let mut request = vec![1, b'o', u8::try_from(name.len()).expect("a short name")];
        request.extend_from_slice(name.as_bytes());
        request.extend(digests.iter().flat_map(|digest| *digest.bytes()));
        let end = End(each);
        self.session
            .get(format!("{SITE}/@objects/{source}/*"))
            .payload(request)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .congestion_control(CongestionControl::Block)
            .priority(Priority::Background)
            .timeout(DEADLINE)
            .callback(move |reply| {
                let Ok(sample) = reply.result() else { return };
                let last = sample.key_expr().as_str().rsplit('/').next();
                let digests: Vec<Digest> = match last {
                    Some(GROUP) => group::parse(&sample.payload().to_bytes())
                        .into_iter()
                        .flatten()
                        .map(|part| part.digest)
                        .collect(),
                    last => last
                        .and_then(|name| format!("sha256:{name}").parse().ok())
                        .into_iter()
                        .collect(),
                };
                for digest in digests {
                    end.0(Some(digest));
                }
            })
            .wait()
            .expect("a query");
    }

    /// Takes what is published under these keys, and does nothing with it.
    pub(crate) fn listen(&self, place: &str) -> Subscriber<()> {
        let subscriber = self.session.declare_subscriber(format!("{SITE}/{place}"));
        subscriber.callback(drop).wait().expect("a subscriber")
    }

    /// Objects that it was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// States what should run, to those that listen and to those that ask.
    pub(crate) fn state(&self, name: &str, statement: &[u8]) {
        self.say(&format!("@desired/{name}"), statement);
    }

    /// States new trusted keys.
    pub(crate) fn update_trust(&self, update: &[u8]) {
        self.say("@trust", update);
    }

    fn say(&self, place: &str, bytes: &[u8]) {
        let mut stated = self.stated.lock().expect("a lock");
        stated.insert(place.to_owned(), bytes.to_vec());
        drop(stated);
        self.put(place, bytes);
    }

    /// Publishes under any key of the site, with an attachment.
    pub(crate) fn put_with(&self, place: &str, bytes: &[u8], attachment: &[u8]) {
        self.session
            .put(format!("{SITE}/{place}"), bytes)
            .attachment(attachment)
            .wait()
            .expect("a put");
    }

    /// Publishes under any key of the site.
    pub(crate) fn put(&self, place: &str, bytes: &[u8]) {
        self.session
            .put(format!("{SITE}/{place}"), bytes)
            .congestion_control(CongestionControl::Block)
            .wait()
            .expect("a put");
    }
}

impl Drop for HostilePeer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.tokens.clear();
        self.queryables.clear();
        let _ = self.session.close().wait();
    }
}
