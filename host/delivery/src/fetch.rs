//! Fetching one release: its package, then its blobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hotshoe_base::Clock;
use hotshoe_link::{Link, LinkError, Site, Sources};
use hotshoe_store::{BlobStore, Catalogue, HashedChunk, Partial, PartialError};
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Blob, ChunkIndex, Digest, Package, Release, ReleaseLimits};
use parking_lot::Mutex;

use super::context::{FetchContext, ProgressFn, Stored};
use super::neighbours::{Chunks, Neighbours};
use super::plan::Want;
use super::run::fetch;
use super::source_reputation::SourceReputation;
use super::token_bucket::TokenBucket;
use super::{Cancel, DeliveryConfig, FetchError, MAX_WHOLE_BYTES, Progress, TransferStats};

/// Fetches releases for one device or registry.
pub struct Fetcher {
    site: Site,
    own: String,
    sources: Sources,
    config: DeliveryConfig,
    catalogue: Catalogue,
    clock: Clock,
    rate_limit: Mutex<TokenBucket>,
    reputation: SourceReputation,
    /// Partial blobs that are advertised to neighbours.
    advertised: Mutex<BTreeSet<Digest>>,
}

/// The blobs of a release that are fetched in chunks.
struct PartialBlobs {
    partials: Vec<Arc<Partial>>,
    /// For each want: the partials, and the positions in them, that it fills.
    places: Vec<Vec<(usize, usize)>>,
    /// Number of chunks that each partial still needs.
    left: Vec<Mutex<usize>>,
    wants: Vec<Want>,
    chunks: Vec<Chunks>,
}

impl Fetcher {
    /// A fetcher for a device. It takes objects that are on disk from `catalogue`, and adds partial blobs to it.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn new(
        link: &Arc<Link>,
        catalogue: Catalogue,
        config: DeliveryConfig,
    ) -> Result<Self, LinkError> {
        Self::of(link.site_session(), link.device(), catalogue, config)
    }

    pub(crate) fn of(
        site: &Site,
        own: &str,
        catalogue: Catalogue,
        config: DeliveryConfig,
    ) -> Result<Self, LinkError> {
        Ok(Self {
            sources: site.sources()?,
            site: site.clone(),
            own: own.to_owned(),
            rate_limit: Mutex::new(TokenBucket::new(
                config.max_bytes_per_second,
                site.clock().now(),
            )),
            clock: site.clock().clone(),
            config,
            catalogue,
            reputation: SourceReputation::default(),
            advertised: Mutex::default(),
        })
    }

    /// Changes the bandwidth limit, in bytes per second; `None` for no limit.
    pub fn limit(&self, max_bytes_per_second: Option<u64>) {
        *self.rate_limit.lock() = TokenBucket::new(max_bytes_per_second, self.clock.now());
    }

    /// Fetches a release's manifest, config and bundles, and waits until a source has them. Digests and size limits are checked,
    /// signatures are not.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn package(
        &self,
        release: Digest,
        bundles: &[Digest],
        cancel: &Cancel,
    ) -> Result<Package, FetchError> {
        if bundles.len() as u64 > ReleaseLimits::BUNDLES {
            let what = "bundles";
            return Err(FetchError::TooLarge { release, what });
        }
        let distinct: BTreeSet<Digest> = bundles.iter().copied().collect();
        let mut wants = vec![Want {
            digest: release,
            most: ReleaseLimits::MANIFEST_BYTES,
        }];
        wants.extend(
            distinct
                .into_iter()
                .filter(|digest| *digest != release)
                .map(|digest| Want {
                    digest,
                    most: ReleaseLimits::BUNDLE_BYTES,
                }),
        );
        let state = State::default();
        let objects = self.objects(wants, &state, cancel)?;
        let manifest = objects.get(&release).cloned().unwrap_or_default();
        let parsed = Manifest::parse(&manifest)
            .map_err(|source| FetchError::Manifest { release, source })?;
        let config = parsed.config.blob();
        if config.size > ReleaseLimits::CONFIG_BYTES {
            let what = "bytes of config";
            return Err(FetchError::TooLarge { release, what });
        }
        let want = Want {
            digest: config.digest,
            most: config.size,
        };
        let mut found = self.objects(vec![want], &state, cancel)?;
        Ok(Package {
            manifest,
            config: found.remove(&config.digest).unwrap_or_default(),
            bundles: bundles
                .iter()
                .filter_map(|digest| objects.get(digest).cloned())
                .collect(),
        })
    }

    /// Fetches small objects into memory.
    fn objects(
        &self,
        wants: Vec<Want>,
        state: &State,
        cancel: &Cancel,
    ) -> Result<HashMap<Digest, Vec<u8>>, FetchError> {
        let digests: Vec<Digest> = wants.iter().map(|want| want.digest).collect();
        let mut found = HashMap::new();
        let mut left = Vec::new();
        for want in wants {
            // Another release may have the same object.
            let known = self.catalogue.read(want.digest);
            match known.filter(|bytes| Digest::of(bytes) == want.digest) {
                Some(bytes) if bytes.len() as u64 <= want.most => {
                    found.insert(want.digest, bytes);
                }
                _ => left.push(want),
            }
        }
        let numbers: Vec<Digest> = left.iter().map(|want| want.digest).collect();
        let found = Mutex::new(found);
        let keep = |objects: &[(usize, &[u8])]| {
            let keep = |(number, bytes): &(usize, &[u8])| {
                let digest = Digest::of(bytes);
                if numbers.get(*number) != Some(&digest) {
                    return Stored::Invalid;
                }
                found.lock().insert(digest, bytes.to_vec());
                Stored::Kept
            };
            Ok::<Vec<_>, FetchError>(objects.iter().map(keep).collect())
        };
        fetch(
            &self.context(state, cancel),
            left,
            None,
            &keep,
            &|_, _, _| {},
        )?;
        let mut found = found.into_inner();
        found.retain(|digest, _| digests.contains(digest));
        Ok(found)
    }

    fn context<'a>(&'a self, state: &'a State, cancel: &'a Cancel) -> FetchContext<'a> {
        FetchContext {
            site: &self.site,
            own: &self.own,
            sources: &self.sources,
            config: &self.config,
            cancel,
            stats: &state.stats,
            banned: &state.banned,
            clock: &self.clock,
            rate_limit: &self.rate_limit,
            reputation: &self.reputation,
        }
    }

    /// Fetches all blobs of a release that are not in `blobs` yet, and resumes partial ones. It waits for sources, and returns when
    /// all blobs are complete and durable. Arriving chunks are advertised to neighbours until [`Fetcher::withdraw_partials`].
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn release(
        &self,
        release: &Release,
        blobs: &BlobStore,
        progress: impl Fn(Progress) + Sync,
        cancel: &Cancel,
    ) -> Result<TransferStats, FetchError> {
        self.withdraw_partials();
        let state = State::default();
        let total = release.blobs().map(|blob| blob.size).sum();
        let (absent, present): (Vec<Blob>, Vec<Blob>) =
            release.blobs().partition(|blob| blobs.prove(blob).is_err());
        let here = total - absent.iter().map(|blob| blob.size).sum::<u64>();
        state.stats.lock().bytes_reused = here;
        let (chunked, whole): (Vec<Blob>, Vec<Blob>) = absent
            .into_iter()
            .partition(|blob| release.chunks.contains_key(&blob.digest));
        let small = whole.iter().map(|blob| blob.size).sum::<u64>();
        let tell = |fetched, sources, waits| {
            progress(Progress {
                fetched,
                total,
                sources,
                waits,
            });
        };
        self.fetch_whole(&whole, blobs, &state, cancel, &|fetched, sources, waits| {
            tell(here + fetched, sources, waits);
        })?;
        // The indexes of blobs that are present are not used for a fetch, so a wrong one would be advertised to neighbours.
        for blob in &present {
            if let Some(index) = release.chunks.get(&blob.digest) {
                blobs.check_index(blob, index)?;
            }
        }
        let result = self
            .open_partials(release, &chunked, blobs, &state)
            .and_then(|partial_blobs| {
                let before = here + small + reused(&chunked, &partial_blobs);
                self.fetch_chunked(
                    &partial_blobs,
                    &state,
                    cancel,
                    &|fetched, sources, waits| {
                        tell(before + fetched, sources, waits);
                    },
                )
            });
        if let Err(error) = result {
            self.withdraw_partials();
            return Err(error);
        }
        Ok(std::mem::take(&mut state.stats.lock()))
    }

    /// Stops advertising the partial blobs of the last fetch. Add the release to the catalogue first.
    pub fn withdraw_partials(&self) {
        for blob in std::mem::take(&mut *self.advertised.lock()) {
            self.catalogue.remove_partial(blob);
        }
        self.site.withdraw_indexes();
    }

    fn fetch_whole(
        &self,
        wanted: &[Blob],
        blobs: &BlobStore,
        state: &State,
        cancel: &Cancel,
        tell: ProgressFn<'_>,
    ) -> Result<(), FetchError> {
        if let Some(blob) = wanted.iter().find(|blob| blob.size > MAX_WHOLE_BYTES) {
            return Err(FetchError::NotChunked {
                digest: blob.digest,
                size: blob.size,
            });
        }
        let keep = |objects: &[(usize, &[u8])]| {
            let keep = |(number, bytes): &(usize, &[u8])| {
                if wanted.get(*number) != Some(&Blob::of(bytes)) {
                    return Ok(Stored::Invalid);
                }
                blobs.put(bytes)?;
                Ok(Stored::Kept)
            };
            objects
                .iter()
                .map(keep)
                .collect::<Result<Vec<_>, FetchError>>()
        };
        let wants = wanted
            .iter()
            .map(|blob| Want {
                digest: blob.digest,
                most: blob.size,
            })
            .collect();
        fetch(&self.context(state, cancel), wants, None, &keep, tell)
    }

    /// Opens the partial blobs, and fills in chunks that are on this device in other blobs.
    fn open_partials(
        &self,
        release: &Release,
        chunked: &[Blob],
        blobs: &BlobStore,
        state: &State,
    ) -> Result<PartialBlobs, FetchError> {
        let mut partial_blobs = PartialBlobs {
            partials: Vec::new(),
            places: Vec::new(),
            left: Vec::new(),
            wants: Vec::new(),
            chunks: Vec::new(),
        };
        let mut numbers = BTreeMap::new();
        for blob in chunked {
            let Some(at) = release.chunks.get(&blob.digest) else {
                continue;
            };
            let bytes = blobs.read(at)?;
            let index = ChunkIndex::parse(&bytes, *blob).map_err(|source| FetchError::Index {
                digest: blob.digest,
                source,
            })?;
            let partial = Arc::new(blobs.partial(&index)?);
            let missing = self.fill(&index, &partial)?;
            self.site.advertise_index(at.digest, bytes);
            self.catalogue.add_partial(&partial);
            self.advertised.lock().insert(blob.digest);
            if missing.is_empty() {
                partial.finish()?;
                state.stats.lock().bytes_reused += blob.size;
                continue;
            }
            partial_blobs.enter(*at, &index, partial, &missing, &mut numbers);
        }
        let lacking: u64 = partial_blobs.wants.iter().map(|want| want.most).sum();
        let open: u64 = partial_blobs.partials.iter().map(|p| p.blob().size).sum();
        state.stats.lock().bytes_reused += open.saturating_sub(lacking);
        Ok(partial_blobs)
    }

    /// Fills in chunks that are on this device in other blobs, and returns the missing ones.
    fn fill(&self, index: &ChunkIndex, partial: &Partial) -> Result<Vec<usize>, FetchError> {
        let mut missing = Vec::new();
        for number in partial.missing() {
            let chunk = index.chunks.get(number);
            let found = chunk.and_then(|chunk| self.catalogue.read(chunk.digest));
            match found.map(|bytes| partial.put(number, &bytes)) {
                Some(Ok(())) => {}
                Some(Err(error)) if !is_wrong(&error) => return Err(error.into()),
                _ => missing.push(number),
            }
        }
        Ok(missing)
    }

    fn fetch_chunked(
        &self,
        partial_blobs: &PartialBlobs,
        state: &State,
        cancel: &Cancel,
        tell: ProgressFn<'_>,
    ) -> Result<(), FetchError> {
        let bytes = partial_blobs.wants.iter().map(|want| want.most).sum();
        let neighbours = self
            .config
            .share
            .then(|| {
                Neighbours::new(
                    &self.own,
                    partial_blobs.chunks.clone(),
                    bytes,
                    self.clock.now(),
                )
            })
            .flatten();
        let keep = |objects: &[(usize, &[u8])]| partial_blobs.keep(objects);
        fetch(
            &self.context(state, cancel),
            partial_blobs.wants.clone(),
            neighbours,
            &keep,
            tell,
        )
    }
}

/// Bytes of these blobs that are on the device already.
fn reused(chunked: &[Blob], partial_blobs: &PartialBlobs) -> u64 {
    let all: u64 = chunked.iter().map(|blob| blob.size).sum();
    all.saturating_sub(partial_blobs.wants.iter().map(|want| want.most).sum())
}

/// Whether a chunk was refused for its content, and not for an error of the disk.
const fn is_wrong(error: &PartialError) -> bool {
    matches!(error, PartialError::WrongChunk { .. })
}

impl PartialBlobs {
    fn enter(
        &mut self,
        at: Blob,
        index: &ChunkIndex,
        partial: Arc<Partial>,
        missing: &[usize],
        numbers: &mut BTreeMap<Digest, usize>,
    ) {
        let which = self.partials.len();
        let mut chunks = vec![None; index.chunks.len()];
        for &place in missing {
            let Some(chunk) = index.chunks.get(place) else {
                continue;
            };
            // The same chunk may occur several times; it is fetched once.
            let number = *numbers.entry(chunk.digest).or_insert_with(|| {
                self.wants.push(Want {
                    digest: chunk.digest,
                    most: chunk.size,
                });
                self.places.push(Vec::new());
                self.wants.len() - 1
            });
            if let Some(places) = self.places.get_mut(number) {
                places.push((which, place));
            }
            if let Some(chunk) = chunks.get_mut(place) {
                *chunk = Some(number);
            }
        }
        self.chunks.push(Chunks {
            index: at.digest,
            wants: chunks,
        });
        self.left.push(Mutex::new(missing.len()));
        self.partials.push(partial);
    }

    /// Checks chunks and writes them to all of their positions. A blob that is complete is checked as a whole.
    fn keep(&self, objects: &[(usize, &[u8])]) -> Result<Vec<Stored>, FetchError> {
        let mut stored = Vec::with_capacity(objects.len());
        let mut writes: BTreeMap<usize, Vec<(usize, HashedChunk<'_>)>> = BTreeMap::new();
        for (number, bytes) in objects {
            let chunk = HashedChunk::of(bytes);
            let places = self.places.get(*number).into_iter().flatten();
            let fits = |(which, place): &(usize, usize)| {
                let partial = self.partials.get(*which);
                partial.is_some_and(|partial| partial.fits(*place, &chunk))
            };
            if !places.clone().all(fits) {
                stored.push(Stored::Invalid);
                continue;
            }
            for &(which, place) in places {
                writes.entry(which).or_default().push((place, chunk));
            }
            stored.push(Stored::Kept);
        }
        for (which, chunks) in writes {
            if let (Some(partial), Some(left)) = (self.partials.get(which), self.left.get(which)) {
                write(partial, left, &chunks)?;
            }
        }
        Ok(stored)
    }
}

/// Writes chunks, of which `left` are missing, and finishes a blob that is complete.
fn write(
    partial: &Partial,
    left: &Mutex<usize>,
    chunks: &[(usize, HashedChunk<'_>)],
) -> Result<(), FetchError> {
    let new = chunks.iter().filter(|(place, _)| !partial.has(*place));
    let new = new.count();
    if new == 0 {
        return Ok(());
    }
    partial.put_all(chunks)?;
    let mut left = left.lock();
    *left = left.saturating_sub(new);
    if *left == 0 {
        // Two threads may have written the same chunk at once, and counted it twice.
        *left = partial.missing().len();
        if *left == 0 {
            partial.finish()?;
        }
    }
    Ok(())
}

/// State of one fetch.
#[derive(Default)]
struct State {
    stats: Mutex<TransferStats>,
    banned: Mutex<BTreeSet<String>>,
}
