//! Packing: from a `release.toml` and its files to a release folder.

mod recorded;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    error::Error,
    path::{Component, Path, PathBuf},
};

use hotshoe_base::disk::parent;
use hotshoe_trust::{
    Digest, MAX_CHUNK_BYTES, Release, Time,
    manifest::Manifest,
    release_toml::{ReleaseToml, ReleaseTomlError},
    toml_file::TomlError,
};

use crate::{
    blob_error::{BlobError, open_below, open_file, read_file},
    layout::{Layout, LayoutError},
};

pub use recorded::RecordedError;

/// Largest `release.toml`: 1 MiB.
const RELEASE_TOML_BYTES: u64 = 1 << 20;

/// Why a release could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The `release.toml` cannot be read.
    #[error("the release description cannot be read")]
    Read(#[source] BlobError),
    /// It is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    Text {
        /// The `release.toml`.
        path: PathBuf,
        /// The first invalid byte, or what it is instead.
        #[source]
        source: std::io::Error,
    },
    /// It is not a valid `release.toml`.
    #[error("{} is not valid", path.display())]
    Toml {
        /// The `release.toml`.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<TomlError>,
    },
    /// A file that it names cannot be used.
    #[error("{} in {}", which(table, name, key), path.display())]
    File {
        /// The `release.toml`.
        path: PathBuf,
        /// `components`, `models`, `data`, `tests` or `drift`.
        table: &'static str,
        /// The entry.
        name: String,
        /// Its key, or the name of a model's variant.
        key: String,
        /// Which file, and why.
        #[source]
        source: Box<BlobError>,
    },
    /// A model that it names cannot be packed.
    #[error("{} in {}", which("models", name, key), path.display())]
    Model {
        /// The `release.toml`.
        path: PathBuf,
        /// The model.
        name: String,
        /// Its key, or the name of the variant.
        key: String,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A recording that it names cannot become self-tests.
    #[error("`recorded` of the [[tests]] entry `{name}` in {}", path.display())]
    Recorded {
        /// The `release.toml`.
        path: PathBuf,
        /// The test.
        name: String,
        /// Why not.
        #[source]
        source: Box<RecordedError>,
    },
    /// It does not describe a valid release.
    #[error("{} does not describe a valid release", path.display())]
    Release {
        /// The `release.toml`.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReleaseTomlError,
    },
    /// The release could not be made into JSON.
    #[error("the release cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The release folder could not be written.
    #[error("the release folder cannot be written")]
    Layout(#[from] LayoutError),
}

impl PackError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read(error) => error.name(),
            Self::Text { .. } => "invalid_toml",
            Self::Toml { source, .. } => source.name(),
            Self::File { source, .. } => source.name(),
            Self::Model { .. } => "invalid_model",
            Self::Recorded { source, .. } => match &**source {
                RecordedError::Recording(error) => error.name(),
                RecordedError::NotRecorded(_) => "not_recorded",
            },
            Self::Release { .. } => "invalid_release",
            Self::Encode(_) => "io",
            Self::Layout(error) => error.name(),
        }
    }
}

/// Describes where a file stands in the `release.toml`.
fn which(table: &str, name: &str, key: &str) -> String {
    match (table, key) {
        ("tests", _) => format!("`{key}` of the [[tests]] entry `{name}`"),
        ("drift", _) => format!("`{key}` of [drift]"),
        (_, "file") => format!("`file` of [{table}.{name}]"),
        _ => format!("`{key}` of [{table}.{name}.variants]"),
    }
}

/// A model's file that is to be packed.
#[derive(Debug, Clone, Copy)]
pub struct ModelFile<'a> {
    /// The model's name in the release.
    pub model: &'a str,
    /// Where the file is.
    pub path: &'a Path,
    /// The file.
    pub bytes: &'a [u8],
    /// The chosen outputs of the model.
    pub outputs: &'a [String],
}

/// Checks a model's file. The result is packed in place of the file, if there is one.
pub type PackModel<'a> =
    &'a dyn Fn(&ModelFile<'_>) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>>;

/// A packed release, not yet signed.
#[derive(Debug)]
pub struct Packed {
    /// Where it is.
    pub layout: Layout,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The release.
    pub release: Release,
}

/// Whether a path says by itself that it stays in its folder. `../models/detect.onnx` does not: its author means what it says.
fn stays_below(path: &Path) -> bool {
    let mut depth = 0_u32;
    path.components().all(|component| {
        let deeper = match component {
            Component::Normal(_) => depth.checked_add(1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        };
        depth = deeper.unwrap_or_default();
        deeper.is_some()
    })
}

/// Packs the release of `release_toml`, issued at `now`, into a release folder at `out`.
///
/// Paths in the `release.toml` are relative to its folder. A link in that folder may not lead out of it; a path may. A release folder that is already at `out` is
/// replaced; on failure it stays as it was.
pub fn pack(release_toml: &Path, now: Time, out: &Path) -> Result<Packed, PackError> {
    pack_changed(release_toml, now, out, |_| (), &|_| Ok(None))
}

/// As [`pack`], with `change` applied to the parsed `release.toml`, and each model's file packed by `pack_model`.
pub fn pack_changed(
    release_toml: &Path,
    now: Time,
    out: &Path,
    change: impl FnOnce(&mut ReleaseToml),
    pack_model: PackModel<'_>,
) -> Result<Packed, PackError> {
    let path = || release_toml.to_owned();
    let text = read_file(release_toml, RELEASE_TOML_BYTES).map_err(PackError::Read)?;
    let text = hotshoe_base::files::text(text).map_err(|source| PackError::Text {
        path: path(),
        source,
    })?;
    let mut description = ReleaseToml::parse(&text).map_err(|source| PackError::Toml {
        path: path(),
        source: Box::new(source),
    })?;
    change(&mut description);
    let builder = Layout::create(out)?;
    let mut blobs = BTreeMap::new();
    recorded::expand(&mut description, release_toml, &builder, &mut blobs)?;
    for file in description.files() {
        let model = description
            .models
            .get(file.name)
            .filter(|_| file.table == "models");
        if model.is_none() && blobs.contains_key(file.file) {
            continue;
        }
        let (table, name, key) = (file.table, file.name.to_owned(), file.key.to_owned());
        let folder = parent(release_toml);
        let found = folder.join(file.file);
        let opened = if stays_below(Path::new(file.file)) {
            open_below(folder, &found)
        } else {
            open_file(&found)
        };
        let unread = |source| PackError::File {
            path: path(),
            table,
            name: name.clone(),
            key: key.clone(),
            source: Box::new(source),
        };
        let opened = opened.map_err(unread)?;
        let blob = match model {
            None => builder
                .put_open(opened, &found, file.max_bytes)
                .map_err(unread)?,
            Some(model) => {
                let bytes = opened.read(file.max_bytes).map_err(unread)?;
                let packed = pack_model(&ModelFile {
                    model: file.name,
                    path: &found,
                    bytes: &bytes,
                    outputs: &model.outputs,
                });
                let packed = packed.map_err(|source| PackError::Model {
                    path: path(),
                    name: name.clone(),
                    key: key.clone(),
                    source,
                })?;
                builder.put(packed.as_deref().unwrap_or(&bytes))?
            }
        };
        blobs.insert(file.file.to_owned(), blob);
    }
    let mut chunks = BTreeMap::new();
    for blob in blobs.values().filter(|blob| blob.size > MAX_CHUNK_BYTES) {
        if let Entry::Vacant(entry) = chunks.entry(blob.digest) {
            entry.insert(builder.put_chunks(*blob)?);
        }
    }
    let release =
        description
            .release(now, &blobs, chunks)
            .map_err(|source| PackError::Release {
                path: path(),
                source,
            })?;
    let config = serde_json::to_vec(&release).map_err(PackError::Encode)?;
    let manifest = Manifest::of(&release, &config)
        .to_bytes()
        .map_err(PackError::Encode)?;
    builder.put(&config)?;
    let layout = builder.finish(&manifest)?;
    Ok(Packed {
        layout,
        digest: Digest::of(&manifest),
        release,
    })
}
