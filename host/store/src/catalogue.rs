//! The objects that a process can serve: small blobs whole, large blobs in chunks, and the chunks received so far.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, mpsc::SyncSender},
};

use hotshoe_trust::{
    Blob, ChunkIndex, Digest, IndexError, Release, ReleaseLimits, check_bundle,
    strict_json::{self, JsonError},
};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    blob_error::BlobError,
    blobs::BlobStore,
    layout::{Layout, LayoutError},
    partial::Partial,
    store::ReadError,
};

/// Largest object: 4 MiB. Larger blobs are served in chunks.
pub const MAX_OBJECT_BYTES: u64 = 4 << 20;

/// Why a release cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Its manifest cannot be read.
    #[error("the release to share cannot be read")]
    Read(#[from] ReadError),
    /// A blob of it is missing or damaged.
    #[error("a blob of the release to share is missing or damaged")]
    Blob(#[from] BlobError),
    /// Its folder cannot be read.
    #[error("the release folder to share cannot be read")]
    Layout(#[from] LayoutError),
    /// Its config is not a release.
    #[error("the config of the release to share cannot be read")]
    Config(#[source] Box<JsonError>),
    /// One of its chunk indexes is not valid.
    #[error("the chunk index of blob {blob} cannot be read; pack the release again")]
    Index {
        /// The blob.
        blob: Digest,
        /// Why.
        #[source]
        source: Box<IndexError>,
    },
}

impl CatalogueError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read(error) => error.name(),
            Self::Blob(error) => error.name(),
            Self::Layout(error) => error.name(),
            Self::Config(_) => "malformed",
            Self::Index { .. } => "bad_index",
        }
    }
}

/// A release folder in the catalogue, as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRelease {
    /// The digest of its manifest.
    pub release: Digest,
    /// The manifest's size in bytes.
    pub manifest_size: u64,
    /// The digests of its signature bundles.
    pub bundles: Vec<Digest>,
}

/// Where the bytes of each digest are. Clones share one catalogue. It locks nothing on disk: a removed blob is no longer found.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    sources: Arc<RwLock<HashMap<Digest, Vec<BlobSource>>>>,
    /// Takes the blobs that were read and are missing or damaged.
    damaged: Option<SyncSender<Option<Blob>>>,
}

/// Where the bytes of an object are, and what lists them.
#[derive(Debug, Clone)]
struct BlobSource {
    owner: Owner,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Release(Digest),
    Partial(Digest),
}

#[derive(Debug, Clone)]
enum Bytes {
    /// A range of a blob's file.
    File {
        blob: Arc<StoredBlob>,
        offset: u64,
        len: u64,
    },
    /// A chunk of a blob that is being received.
    Chunk(Arc<Partial>, usize),
}

/// Objects that [`Catalogue::read_run`] reads at once.
#[derive(Debug)]
pub struct Run {
    /// Their digests, and their sizes in bytes if they are in a file.
    objects: Vec<(Digest, u64)>,
    /// The file, and where they begin in it.
    file: Option<(Arc<StoredBlob>, u64)>,
    /// Size of all in bytes.
    bytes: u64,
}

impl Run {
    /// The digests of its objects.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.objects.iter().map(|(digest, _)| *digest)
    }

    fn is_followed_by(&self, blob: &Arc<StoredBlob>, offset: u64) -> bool {
        let follows = |(file, begin): &(Arc<StoredBlob>, u64)| {
            Arc::ptr_eq(file, blob) && begin + self.bytes == offset
        };
        self.file.as_ref().is_some_and(follows)
    }
}

/// A blob, and the folder that has it, without the folder's lock.
#[derive(Debug)]
struct StoredBlob {
    blobs: BlobStore,
    blob: Blob,
}

impl Catalogue {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty catalogue that hashes what it reads. An object that does not match its digest is not returned, and its blob is sent to
    /// `damaged`; a full channel loses it.
    pub fn checked(damaged: SyncSender<Option<Blob>>) -> Self {
        Self {
            sources: Arc::default(),
            damaged: Some(damaged),
        }
    }

    /// Adds a release whose blobs are all in `blobs`, with its signature bundles, and returns the release.
    pub fn add_release(
        &self,
        blobs: &BlobStore,
        release: Digest,
        bundles: &[Digest],
    ) -> Result<Release, CatalogueError> {
        let config = blobs.manifest(release)?.config.digest;
        let bytes = blobs.read_any(config, ReleaseLimits::CONFIG_BYTES)?;
        let content: Release = strict_json::parse(&bytes, ReleaseLimits::CONFIG_BYTES)
            .map_err(|source| CatalogueError::Config(Box::new(source)))?;
        let mut list = List {
            blobs,
            owner: Owner::Release(release),
            sources: Vec::new(),
        };
        for digest in [release, config].iter().chain(bundles) {
            let size = blobs.size(*digest);
            let size = size.ok_or(BlobError::Missing { digest: *digest })?;
            list.add_whole(&Blob {
                digest: *digest,
                size,
            })?;
        }
        for blob in content.blobs() {
            list.add_whole(&blob)?;
            if let Some(index) = content.chunks.get(&blob.digest) {
                list.add_chunks(blob, index)?;
            }
        }
        let sources = list.sources;
        self.replace(Owner::Release(release), sources);
        Ok(content)
    }

    /// Adds the release of a release folder, with its signatures.
    pub fn add_layout(&self, layout: &Layout) -> Result<SharedRelease, CatalogueError> {
        let package = layout.package()?;
        let served = SharedRelease {
            release: Digest::of(&package.manifest),
            manifest_size: package.manifest.len() as u64,
            // Devices verify the signatures. Bundles that cannot be of this release would only use up their limit.
            bundles: package
                .bundles
                .iter()
                .filter(|bundle| check_bundle(&package.manifest, bundle).is_ok())
                .map(|bundle| Digest::of(bundle))
                .take(usize::try_from(ReleaseLimits::BUNDLES).unwrap_or(usize::MAX))
                .collect(),
        };
        let content = self.add_release(&layout.blobs, served.release, &served.bundles)?;
        // Checked before it is announced: devices would ask for missing chunks without end.
        if let Err(error) = layout.blobs.check_chunks(&content) {
            self.remove_release(served.release);
            return Err(error.into());
        }
        Ok(served)
    }

    /// Removes a release; objects that another release shares stay.
    pub fn remove_release(&self, release: Digest) {
        self.replace(Owner::Release(release), Vec::new());
    }

    /// Adds the chunks of a blob that is being received; each can be read once it has arrived.
    pub fn add_partial(&self, partial: &Arc<Partial>) {
        let owner = Owner::Partial(partial.blob().digest);
        let chunks = partial.digests().enumerate();
        let sources = chunks.map(|(index, digest)| {
            let bytes = Bytes::Chunk(Arc::clone(partial), index);
            (digest, BlobSource { owner, bytes })
        });
        self.replace(owner, sources.collect());
    }

    /// Removes the chunks of a blob that was being received.
    pub fn remove_partial(&self, blob: Digest) {
        self.replace(Owner::Partial(blob), Vec::new());
    }

    /// The bytes of an object as they are on disk; the receiver hashes them, and so does a catalogue of [`Self::checked`]. `None` if
    /// it is not listed, has not arrived yet, or was removed.
    pub fn read(&self, digest: Digest) -> Option<Vec<u8>> {
        // Read without the lock, so that a slow disk does not block other readers.
        let sources = self.sources().get(&digest)?.clone();
        sources
            .iter()
            .find_map(|source| self.read_source(digest, &source.bytes))
    }

    fn read_source(&self, digest: Digest, source: &Bytes) -> Option<Vec<u8>> {
        let bytes = source.read();
        let Some(damaged) = &self.damaged else {
            return bytes;
        };
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest);
        if let (None, Bytes::File { blob, .. }) = (&bytes, source) {
            let _ = damaged.try_send(Some(blob.blob));
        }
        bytes
    }

    /// Divides objects into runs, in their order: those that follow each other in one file are one run of at most `most_bytes`, or
    /// of one object.
    pub fn runs(&self, digests: &[Digest], most_bytes: u64) -> Vec<Run> {
        let sources = self.sources();
        let mut runs: Vec<Run> = Vec::new();
        for digest in digests {
            let place = sources.get(digest).and_then(|listed| listed.first());
            let place = place.and_then(|source| match &source.bytes {
                Bytes::File { blob, offset, len } => Some((Arc::clone(blob), *offset, *len)),
                Bytes::Chunk(..) => None,
            });
            let Some((blob, offset, len)) = place else {
                runs.push(Run {
                    objects: vec![(*digest, 0)],
                    file: None,
                    bytes: 0,
                });
                continue;
            };
            match runs.last_mut() {
                Some(run) if run.is_followed_by(&blob, offset) && run.bytes + len <= most_bytes => {
                    run.bytes += len;
                    run.objects.push((*digest, len));
                }
                _ => runs.push(Run {
                    objects: vec![(*digest, len)],
                    file: Some((blob, offset)),
                    bytes: len,
                }),
            }
        }
        runs
    }

    /// Reads a run at once, with the size of each object in bytes. `None` if it has to be read object by object: it is in no file, or one
    /// of its objects is damaged or was removed.
    #[expect(clippy::type_complexity, reason = "bytes, and the size of each object")]
    pub fn read_run(&self, run: &Run) -> Option<(Vec<u8>, Vec<(Digest, usize)>)> {
        let (blob, offset) = run.file.as_ref()?;
        let bytes = blob.read_range(*offset, run.bytes).ok()?;
        let mut objects = Vec::with_capacity(run.objects.len());
        let mut rest = bytes.as_slice();
        for (digest, len) in &run.objects {
            let len = usize::try_from(*len).ok()?;
            let (object, after) = rest.split_at_checked(len)?;
            rest = after;
            if self.damaged.is_some() && Digest::of(object) != *digest {
                return None;
            }
            objects.push((*digest, len));
        }
        Some((bytes, objects))
    }

    /// Whether an object is listed and has arrived.
    pub fn has(&self, digest: Digest) -> bool {
        let sources = self.sources();
        let sources = sources.get(&digest).map(Vec::as_slice).unwrap_or_default();
        sources.iter().any(|source| match &source.bytes {
            Bytes::File { .. } => true,
            Bytes::Chunk(partial, index) => partial.has(*index),
        })
    }

    fn replace(&self, owner: Owner, new: Vec<(Digest, BlobSource)>) {
        let mut sources = self.sources_mut();
        sources.retain(|_, sources| {
            sources.retain(|source| source.owner != owner);
            !sources.is_empty()
        });
        for (digest, source) in new {
            let listed = sources.entry(digest).or_default();
            // A blob may contain a chunk many times; one entry is enough.
            let again = listed.last().is_some_and(|last| last.owner == owner);
            if !again || matches!(source.bytes, Bytes::Chunk(..)) {
                listed.push(source);
            }
        }
    }

    fn sources(&self) -> RwLockReadGuard<'_, HashMap<Digest, Vec<BlobSource>>> {
        self.sources.read()
    }

    fn sources_mut(&self) -> RwLockWriteGuard<'_, HashMap<Digest, Vec<BlobSource>>> {
        self.sources.write()
    }
}

/// Collects the objects of one release.
struct List<'a> {
    blobs: &'a BlobStore,
    owner: Owner,
    sources: Vec<(Digest, BlobSource)>,
}

impl List<'_> {
    /// Adds a blob, if it is small enough to be one object.
    fn add_whole(&mut self, blob: &Blob) -> Result<(), BlobError> {
        if !self.blobs.has(blob) {
            return Err(BlobError::Missing {
                digest: blob.digest,
            });
        }
        if blob.size <= MAX_OBJECT_BYTES {
            self.add(blob.digest, self.stored(*blob), 0, blob.size);
        }
        Ok(())
    }

    fn add_chunks(&mut self, blob: Blob, index: &Blob) -> Result<(), CatalogueError> {
        let bytes = self
            .blobs
            .read_any(index.digest, ReleaseLimits::INDEX_BYTES)?;
        let index = ChunkIndex::parse(&bytes, blob).map_err(|source| CatalogueError::Index {
            blob: blob.digest,
            source: Box::new(source),
        })?;
        let stored = self.stored(blob);
        for (offset, chunk) in index.offsets() {
            self.add(chunk.digest, Arc::clone(&stored), offset, chunk.size);
        }
        Ok(())
    }

    fn stored(&self, blob: Blob) -> Arc<StoredBlob> {
        let blobs = self.blobs.unlocked();
        Arc::new(StoredBlob { blobs, blob })
    }

    fn add(&mut self, digest: Digest, blob: Arc<StoredBlob>, offset: u64, len: u64) {
        let owner = self.owner;
        let bytes = Bytes::File { blob, offset, len };
        self.sources.push((digest, BlobSource { owner, bytes }));
    }
}

impl Bytes {
    fn read(&self) -> Option<Vec<u8>> {
        match self {
            Self::File { blob, offset, len } => blob.read_range(*offset, *len).ok(),
            Self::Chunk(partial, index) => partial.read(*index).ok().flatten(),
        }
    }
}

impl StoredBlob {
    fn read_range(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let file = self.blobs.open_sized(&self.blob);
        file.map_err(io::Error::other)?
            .read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
