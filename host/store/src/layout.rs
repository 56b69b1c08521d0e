//! A release as a folder: an OCI image layout (OCI image specification 1.1, `image-layout.md`).
//!
//! Nothing here is verified. The folder is parsed only to find the bytes of the release's manifest, its config and its
//! signatures, each within its limit; `hotshoe_trust::verify` verifies them.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use hotshoe_trust::{
    Blob, Digest, Package, Release, ReleaseLimits,
    manifest::{BUNDLE, RELEASE},
};
use oci_spec::image::{
    Descriptor, Digest as OciDigest, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType,
    OciLayout,
};

use crate::{
    blob_error::{BlobError, open_below, read_below},
    blobs::BlobStore,
};

/// Largest `index.json`: 1 MiB.
const INDEX_BYTES: u64 = 1 << 20;
/// Most manifests in an index: the release, its signatures, and other referrers.
const INDEX_MANIFESTS: usize = 256;

/// Why a layout could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Not an OCI image layout.
    #[error("{} is not a release folder (an OCI image layout); `hotshoe pack` makes one", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// A JSON file of the layout that cannot be read.
    #[error("{what} in {} cannot be read", path.display())]
    Json {
        /// Which file or blob.
        what: String,
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: oci_spec::OciSpecError,
    },
    /// A layout without a release.
    #[error("{} has no Hotshoe release (no manifest of artifact type {RELEASE})", path.display())]
    NoRelease {
        /// The folder.
        path: PathBuf,
    },
    /// A layout with more than one release.
    #[error("{} has {count} releases; keep one release per folder", path.display())]
    SeveralReleases {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// Too many manifests.
    #[error("{} lists more than {limit} manifests, which is the limit", path.display())]
    TooManyManifests {
        /// The folder.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A blob that is missing, damaged, too large, or cannot be read or written.
    #[error("cannot use a blob of the release folder {}", path.display())]
    Blob {
        /// The folder.
        path: PathBuf,
        /// Which, and why.
        #[source]
        source: BlobError,
    },
    /// The target path exists and is not a release folder.
    #[error("{} exists and is not a release folder; remove it or choose another path", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// An I/O error.
    #[error("cannot write {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl LayoutError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotALayout { .. } | Self::NoRelease { .. } => "not_a_release",
            Self::Json { .. } => "malformed",
            Self::SeveralReleases { .. } => "several_releases",
            Self::TooManyManifests { .. } => "too_many_manifests",
            Self::Blob { source, .. } => source.name(),
            Self::InTheWay { .. } => "in_the_way",
            Self::Io { .. } => "io",
        }
    }
}

/// A release folder.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    pub(crate) blobs: BlobStore,
}

/// The release manifest and the signature manifests of a layout.
struct Manifests {
    release: (Blob, ImageManifest),
    signatures: Vec<(Blob, ImageManifest)>,
}

/// A signature as it is attached: a manifest that refers to the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest.
    pub manifest: Blob,
    /// The blobs that the manifest lists: its config, and the bundle.
    pub parts: Vec<Blob>,
}

impl Layout {
    /// Opens the folder `path`; only the `oci-layout` file is read.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let layout = Self::at(path);
        let bytes = layout
            .read_named("oci-layout")
            .map_err(|source| match source {
                BlobError::LinkLeadsOut { .. } => layout.blob()(source),
                _ => LayoutError::NotALayout {
                    path: path.to_owned(),
                    source,
                },
            })?;
        OciLayout::from_reader(&*bytes).map_err(layout.json("oci-layout"))?;
        Ok(layout)
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            blobs: BlobStore::of_layout(path),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes for `hotshoe_trust::verify`: manifest, config and signature bundles.
    pub fn package(&self) -> Result<Package, LayoutError> {
        let found = self.find(&self.index()?)?;
        let (manifest, parsed) = found.release;
        let config = self.read_descriptor(parsed.config(), ReleaseLimits::CONFIG_BYTES)?;
        let bundles = found
            .signatures
            .iter()
            .flat_map(|(_, signature)| signature.layers())
            .filter(|layer| layer.media_type().as_ref() == BUNDLE)
            .take(
                usize::try_from(ReleaseLimits::BUNDLES_READ.saturating_add(1))
                    .unwrap_or(usize::MAX),
            )
            .map(|layer| self.read_descriptor(layer, ReleaseLimits::BUNDLE_BYTES))
            .collect::<Result<_, _>>()?;
        let manifest = self.blobs.read(&manifest).map_err(self.blob())?;
        Ok(Package {
            manifest,
            config,
            bundles,
        })
    }

    /// The signatures, as other tools see them.
    pub fn referrers(&self) -> Result<Vec<Referrer>, LayoutError> {
        let signatures = self.find(&self.index()?)?.signatures;
        let referrer = |(manifest, parsed): (Blob, ImageManifest)| {
            let parts = [parsed.config()].into_iter().chain(parsed.layers());
            Ok(Referrer {
                manifest,
                parts: parts
                    .map(|part| self.described(part))
                    .collect::<Result<_, LayoutError>>()?,
            })
        };
        signatures.into_iter().map(referrer).collect()
    }

    /// Reads a blob, and checks its size and digest.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>, LayoutError> {
        self.blobs.read(blob).map_err(self.blob())
    }

    /// Opens a blob, and checks its size.
    pub fn open_blob(&self, blob: &Blob) -> Result<File, LayoutError> {
        let opened = self.blobs.open_sized(blob);
        let opened = opened.and_then(|contents| {
            let path = self.blobs.path(blob.digest);
            contents.into_plain().map_err(BlobError::read(&path))
        });
        opened.map_err(self.blob())
    }

    /// Hashes a blob incrementally, and checks its size and digest.
    pub fn check(&self, blob: &Blob) -> Result<(), LayoutError> {
        self.blobs.check(blob).map_err(self.blob())
    }

    /// Checks every blob of its release, and each index of chunks against its blob.
    pub fn check_release(&self, release: &Release) -> Result<(), LayoutError> {
        self.blobs.check_release(release).map_err(self.blob())
    }

    /// The path of a blob's file.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.blobs.path(digest)
    }

    /// Attaches a signature bundle to the release, as an OCI referrer. Attaching the same bundle again changes nothing.
    /// Blocks while another process attaches one.
    pub fn attach(&self, bundle: &[u8]) -> Result<(), LayoutError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let (release, _) = self.find(&index)?.release;
        let layer = self.put(bundle)?;
        let empty = self.put(b"{}")?;
        let referrer = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::Other(BUNDLE.to_owned()))
            .config(self.descriptor(MediaType::EmptyJSON, empty)?)
            .layers([self.descriptor(MediaType::Other(BUNDLE.to_owned()), layer)?])
            .subject(self.descriptor(MediaType::ImageManifest, release)?)
            .build()
            .and_then(|referrer| referrer.to_string())
            .map_err(self.json("the signature's manifest"))?;
        let referrer = self.put(referrer.as_bytes())?;
        let mut descriptor = self.descriptor(MediaType::ImageManifest, referrer)?;
        descriptor.set_artifact_type(Some(MediaType::Other(BUNDLE.to_owned())));
        if index
            .manifests()
            .iter()
            .any(|listed| listed.digest() == descriptor.digest())
        {
            return Ok(());
        }
        let manifests = index
            .manifests()
            .iter()
            .cloned()
            .chain([descriptor])
            .collect::<Vec<_>>();
        index.set_manifests(manifests);
        self.write_index(&index)
    }

    /// Locks the folder for a change. The lock is on a file that every layout has and that never changes.
    fn lock(&self) -> Result<File, LayoutError> {
        let path = self.path.join("oci-layout");
        let file = open_below(&self.path, &path).map_err(self.blob())?.file;
        file.lock()
            .map(|()| file)
            .map_err(|source| LayoutError::Io { path, source })
    }

    pub(crate) fn write_index(&self, index: &ImageIndex) -> Result<(), LayoutError> {
        let text = index.to_string().map_err(self.json("index.json"))?;
        self.replace("index.json", text.as_bytes())
    }

    /// Replaces a file of the layout atomically.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let path = self.path.join(name);
        self.blobs
            .disk()
            .replace(&path, bytes)
            .map_err(|source| LayoutError::Io { path, source })
    }

    pub(crate) fn prepare(&self) -> Result<(), LayoutError> {
        self.blobs.prepare().map_err(self.blob())
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob, LayoutError> {
        self.blobs.put(bytes).map_err(self.blob())
    }

    pub(crate) fn descriptor(
        &self,
        media_type: MediaType,
        blob: Blob,
    ) -> Result<Descriptor, LayoutError> {
        let digest = OciDigest::try_from(blob.digest.to_string()).map_err(self.json("a digest"))?;
        Ok(Descriptor::new(media_type, blob.size, digest))
    }

    fn index(&self) -> Result<ImageIndex, LayoutError> {
        let bytes = self.read_named("index.json").map_err(self.blob())?;
        let index = ImageIndex::from_reader(&*bytes).map_err(self.json("index.json"))?;
        if index.manifests().len() > INDEX_MANIFESTS {
            return Err(LayoutError::TooManyManifests {
                path: self.path.clone(),
                limit: INDEX_MANIFESTS,
            });
        }
        Ok(index)
    }

    /// Reads a file at the top of the folder.
    fn read_named(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        read_below(&self.path, &self.path.join(name), INDEX_BYTES)
    }

    /// Finds the one release of the index and the signatures that refer to it.
    fn find(&self, index: &ImageIndex) -> Result<Manifests, LayoutError> {
        let mut releases = Vec::new();
        let mut signatures = Vec::new();
        for descriptor in index.manifests() {
            // Some tools omit the artifact type in the index; then the manifest itself has it.
            let matters = |kind: &MediaType| {
                *kind == MediaType::EmptyJSON || [RELEASE, BUNDLE, ""].contains(&kind.as_ref())
            };
            let listed = descriptor.artifact_type().as_ref();
            if *descriptor.media_type() != MediaType::ImageManifest
                || listed.is_some_and(|kind| !matters(kind))
            {
                continue;
            }
            let bytes = self.read_descriptor(descriptor, ReleaseLimits::MANIFEST_BYTES)?;
            let manifest = ImageManifest::from_reader(&*bytes)
                .map_err(self.json(descriptor.digest().as_ref()))?;
            match manifest.artifact_type().as_ref().map(AsRef::as_ref) {
                Some(RELEASE) => releases.push((Blob::of(&bytes), manifest)),
                Some(BUNDLE) => signatures.push((Blob::of(&bytes), manifest)),
                _ => {}
            }
        }
        let count = releases.len();
        let (Some(release), 1) = (releases.pop(), count) else {
            let path = self.path.clone();
            return Err(match count {
                0 => LayoutError::NoRelease { path },
                _ => LayoutError::SeveralReleases { path, count },
            });
        };
        let digest = release.0.digest.to_string();
        signatures.retain(|(_, signature)| {
            signature
                .subject()
                .as_ref()
                .is_some_and(|s| s.digest().as_ref() == digest)
        });
        Ok(Manifests {
            release,
            signatures,
        })
    }

    fn read_descriptor(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let blob = self.described(descriptor)?;
        if blob.size > limit {
            let path = PathBuf::from(blob.digest.to_string());
            return Err(self.blob()(BlobError::TooLarge { path, limit }));
        }
        self.read(&blob)
    }

    fn described(&self, descriptor: &Descriptor) -> Result<Blob, LayoutError> {
        let text = descriptor.digest().as_ref();
        let digest = text.parse::<Digest>().map_err(|error| LayoutError::Json {
            what: format!("digest {text}"),
            path: self.path.clone(),
            source: oci_spec::OciSpecError::Other(error.to_string()),
        })?;
        let size = descriptor.size();
        Ok(Blob { digest, size })
    }

    fn blob(&self) -> impl FnOnce(BlobError) -> LayoutError {
        let path = self.path.clone();
        move |source| LayoutError::Blob { path, source }
    }

    fn json(&self, what: &str) -> impl FnOnce(oci_spec::OciSpecError) -> LayoutError {
        let (what, path) = (what.to_owned(), self.path.clone());
        move |source| LayoutError::Json { what, path, source }
    }
}
