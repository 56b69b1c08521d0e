//! Fetching one release: its package, then its blobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hotshoe_link::{Link, LinkError, Site, Sources};
use hotshoe_store::{BlobStore, Catalogue, Partial, PartialError};
use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Blob, ChunkIndex, Digest, Package, Release, ReleaseLimits};

use super::neighbours::{Chunks, Neighbours};
use super::pace::Pace;
use super::plan::Want;
use super::run::{Ground, Stored, fetch};
use super::standing::Standing;
use super::{Cancel, DeliveryConfig, FetchError, MAX_WHOLE_BYTES, Moved, Progress};

/// Fetches releases for one device or registry.
pub struct Fetcher {
    site: Site,
    own: String,
    sources: Sources,
    config: DeliveryConfig,
    catalogue: Catalogue,
    pace: Mutex<Pace>,
    standing: Standing,
    /// Blobs whose partials neighbours are told of.
    shown: Mutex<BTreeSet<Digest>>,
}

/// Blobs that arrive in chunks.
struct Arriving {
    partials: Vec<Arc<Partial>>,
    /// For each want: the partials and the places in them that it fills.
    places: Vec<Vec<(usize, usize)>>,
    /// Chunks that each partial still lacks.
    left: Vec<Mutex<usize>>,
    wants: Vec<Want>,
    chunks: Vec<Chunks>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fetcher {
    /// A fetcher for a device. What is on disk is looked up in `catalogue`, and what arrives is entered there.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn new(
        link: &Arc<Link>,
        catalogue: Catalogue,
        config: DeliveryConfig,
    ) -> Result<Self, LinkError> {
        Self::of(link.grounds(), link.device(), catalogue, config)
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
            pace: Mutex::new(Pace::new(config.max_bytes_per_second, Instant::now())),
            config,
            catalogue,
            standing: Standing::default(),
            shown: Mutex::default(),
        })
    }

    /// From now on fetching takes at most so many bytes a second.
    pub fn limit(&self, max_bytes_per_second: Option<u64>) {
        *lock(&self.pace) = Pace::new(max_bytes_per_second, Instant::now());
    }

    /// Fetches a release's manifest, config and bundles. Each matches its digest and is no larger than it may be; nothing else is
    /// known of them. It waits until somebody has them.
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
            // Another release may have brought it already.
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
        let keep = |number: usize, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            if numbers.get(number) != Some(&digest) {
                return Ok(Stored::Rubbish);
            }
            lock(&found).insert(digest, bytes.to_vec());
            Ok(Stored::Kept)
        };
        fetch(&self.ground(state, cancel), left, None, &keep, &|_, _| {})?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.retain(|digest, _| digests.contains(digest));
        Ok(found)
    }

    fn ground<'a>(&'a self, state: &'a State, cancel: &'a Cancel) -> Ground<'a> {
        Ground {
            site: &self.site,
            own: &self.own,
            sources: &self.sources,
            config: &self.config,
            cancel,
            moved: &state.moved,
            banned: &state.banned,
            pace: &self.pace,
            standing: &self.standing,
        }
    }

    /// Fetches all blobs of a release that are not in `blobs` yet; what arrived before is not fetched again. It returns when all are
    /// whole and durable, and waits where nobody has them. Neighbours are told of what arrives, until [`Fetcher::forget`].
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn release(
        &self,
        release: &Release,
        blobs: &BlobStore,
        progress: impl Fn(Progress) + Sync,
        cancel: &Cancel,
    ) -> Result<Moved, FetchError> {
        self.forget();
        let state = State::default();
        let total = release.blobs().map(|blob| blob.size).sum();
        let (absent, present): (Vec<Blob>, Vec<Blob>) =
            release.blobs().partition(|blob| blobs.prove(blob).is_err());
        let here = total - absent.iter().map(|blob| blob.size).sum::<u64>();
        lock(&state.moved).bytes_reused = here;
        let (chunked, whole): (Vec<Blob>, Vec<Blob>) = absent
            .into_iter()
            .partition(|blob| release.chunks.contains_key(&blob.digest));
        let small = whole.iter().map(|blob| blob.size).sum::<u64>();
        let tell = |fetched, sources| {
            progress(Progress {
                fetched,
                total,
                sources,
            });
        };
        self.whole(&whole, blobs, &state, cancel, &|fetched, sources| {
            tell(here + fetched, sources);
        })?;
        // Nothing arrives by these, so nothing else would find what is wrong with them, and neighbours would be offered what they list.
        for blob in &present {
            if let Some(index) = release.chunks.get(&blob.digest) {
                blobs.check_index(blob, index)?;
            }
        }
        let result = self
            .arriving(release, &chunked, blobs, &state)
            .and_then(|arriving| {
                let before = here + small + reused(&chunked, &arriving);
                self.chunked(&arriving, &state, cancel, &|fetched, sources| {
                    tell(before + fetched, sources);
                })
            });
        if let Err(error) = result {
            self.forget();
            return Err(error);
        }
        Ok(std::mem::take(&mut lock(&state.moved)))
    }

    /// Tells neighbours no longer of the partials of the release that was fetched last; enter the release into the catalogue before.
    pub fn forget(&self) {
        for blob in std::mem::take(&mut *lock(&self.shown)) {
            self.catalogue.remove_partial(blob);
        }
        self.site.hide_indexes();
    }

    fn whole(
        &self,
        wanted: &[Blob],
        blobs: &BlobStore,
        state: &State,
        cancel: &Cancel,
        tell: &(dyn Fn(u64, usize) + Sync),
    ) -> Result<(), FetchError> {
        if let Some(blob) = wanted.iter().find(|blob| blob.size > MAX_WHOLE_BYTES) {
            return Err(FetchError::NotChunked {
                digest: blob.digest,
                size: blob.size,
            });
        }
        let keep = |number: usize, bytes: &[u8]| {
            if wanted.get(number) != Some(&Blob::of(bytes)) {
                return Ok(Stored::Rubbish);
            }
            blobs.put(bytes)?;
            Ok(Stored::Kept)
        };
        let wants = wanted
            .iter()
            .map(|blob| Want {
                digest: blob.digest,
                most: blob.size,
            })
            .collect();
        fetch(&self.ground(state, cancel), wants, None, &keep, tell)
    }

    /// Opens what has arrived of the blobs, and fills in what is on this device already.
    fn arriving(
        &self,
        release: &Release,
        chunked: &[Blob],
        blobs: &BlobStore,
        state: &State,
    ) -> Result<Arriving, FetchError> {
        let mut arriving = Arriving {
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
            self.site.show_index(at.digest, bytes);
            self.catalogue.add_partial(&partial);
            lock(&self.shown).insert(blob.digest);
            if missing.is_empty() {
                partial.finish()?;
                lock(&state.moved).bytes_reused += blob.size;
                continue;
            }
            arriving.enter(*at, &index, partial, &missing, &mut numbers);
        }
        let lacking: u64 = arriving.wants.iter().map(|want| want.most).sum();
        let open: u64 = arriving.partials.iter().map(|p| p.blob().size).sum();
        lock(&state.moved).bytes_reused += open.saturating_sub(lacking);
        Ok(arriving)
    }

    /// Fills in chunks that are on this device in other blobs, and returns which are missing still.
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

    fn chunked(
        &self,
        arriving: &Arriving,
        state: &State,
        cancel: &Cancel,
        tell: &(dyn Fn(u64, usize) + Sync),
    ) -> Result<(), FetchError> {
        let bytes = arriving.wants.iter().map(|want| want.most).sum();
        let neighbours = self
            .config
            .share
            .then(|| Neighbours::new(&self.own, arriving.chunks.clone(), bytes, Instant::now()))
            .flatten();
        let keep = |number: usize, bytes: &[u8]| arriving.keep(number, bytes);
        fetch(
            &self.ground(state, cancel),
            arriving.wants.clone(),
            neighbours,
            &keep,
            tell,
        )
    }
}

/// Bytes of the blobs that need not be fetched.
fn reused(chunked: &[Blob], arriving: &Arriving) -> u64 {
    let all: u64 = chunked.iter().map(|blob| blob.size).sum();
    all.saturating_sub(arriving.wants.iter().map(|want| want.most).sum())
}

/// Whether a chunk was refused for what it is, and not for want of a disk.
const fn is_wrong(error: &PartialError) -> bool {
    matches!(error, PartialError::WrongChunk { .. })
}

impl Arriving {
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
            // The same chunk may stand in several places; it is fetched once.
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

    /// Checks a chunk and writes it wherever it belongs. The blob that it completes is checked as a whole.
    fn keep(&self, number: usize, bytes: &[u8]) -> Result<Stored, FetchError> {
        for &(which, place) in self.places.get(number).into_iter().flatten() {
            let (Some(partial), Some(left)) = (self.partials.get(which), self.left.get(which))
            else {
                continue;
            };
            if partial.has(place) {
                continue;
            }
            match partial.put(place, bytes) {
                Err(error) if is_wrong(&error) => return Ok(Stored::Rubbish),
                other => other?,
            }
            let mut left = lock(left);
            *left = left.saturating_sub(1);
            if *left == 0 {
                // Two threads may have brought the same chunk at once, and counted it twice.
                *left = partial.missing().len();
                if *left == 0 {
                    partial.finish()?;
                }
            }
        }
        Ok(Stored::Kept)
    }
}

/// What one fetch knows.
#[derive(Default)]
struct State {
    moved: Mutex<Moved>,
    banned: Mutex<BTreeSet<String>>,
}
