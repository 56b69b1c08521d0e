//! The OCI image manifest of a release: the bytes that are signed.
//!
//! Stricter than the types of `oci-spec`: a signed manifest lists exactly the blobs of its release, so that an
//! unknown field, a missing layer or a surplus one is refused. (OCI image specification 1.1, `manifest.md`.)

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Blob, Digest},
    limits::ReleaseLimits,
    release::Release,
    strict_json::{self, JsonError},
};

pub use crate::media_types::{
    BASELINE, BUNDLE, CHUNKS, CONFIG, INSIGHT, MANIFEST, MODEL, RELEASE, WASM,
};

/// A reference to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Descriptor {
    /// What kind of content it is.
    pub media_type: String,
    /// What it hashes to.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// Free text that tools such as `oras` add; it is ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn new(media_type: &str, blob: Blob) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: blob.digest,
            size: blob.size,
            annotations: BTreeMap::new(),
        }
    }

    /// The blob it refers to.
    pub fn blob(&self) -> Blob {
        Blob {
            digest: self.digest,
            size: self.size,
        }
    }
}

/// The manifest of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`MANIFEST`].
    pub media_type: String,
    /// Always [`RELEASE`].
    pub artifact_type: String,
    /// The release, as JSON.
    pub config: Descriptor,
    /// Components, models, data, self-tests and indexes of chunks, each distinct blob once.
    pub layers: Vec<Descriptor>,
    /// Free text; it is ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why a manifest does not fit its config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Another schema version, media type or artifact type.
    #[error("its {field} is `{found}`, not `{expected}`: this is not a Hotshoe release")]
    Kind {
        /// The field.
        field: &'static str,
        /// The value found.
        found: String,
        /// The value expected.
        expected: String,
    },
    /// The config blob is not the one that the manifest names.
    #[error("it names config {named}, but the config is {given}: two releases are mixed")]
    Config {
        /// The digest in the manifest.
        named: Digest,
        /// The digest of the config.
        given: Digest,
    },
    /// A blob of the release that is not a layer.
    #[error("the release uses blob {0}, which is not a layer of the manifest")]
    MissingLayer(Digest),
    /// A layer that the release does not use, or a duplicate.
    #[error("layer {0} is a duplicate, or the release does not use it")]
    ExtraLayer(Digest),
    /// A layer whose size differs from the release.
    #[error("layer {digest} has {layer} bytes in the manifest and {release} in the release")]
    Size {
        /// The layer.
        digest: Digest,
        /// Its size in the manifest.
        layer: u64,
        /// Its size in the release.
        release: u64,
    },
    /// A layer whose media type does not match its use in the release.
    #[error(
        "layer {digest} has media type `{media_type}`, which does not match its use in the release"
    )]
    MediaType {
        /// The layer.
        digest: Digest,
        /// Its media type in the manifest.
        media_type: String,
    },
}

impl Manifest {
    /// The manifest of `release`, whose JSON is `config`.
    pub fn of(release: &Release, config: &[u8]) -> Self {
        let mut seen = BTreeSet::new();
        let layers = release
            .uses()
            .filter(|(blob, _)| seen.insert(*blob))
            .map(|(blob, media_type)| Descriptor::new(media_type, blob))
            .collect();
        Self {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: RELEASE.to_owned(),
            config: Descriptor::new(CONFIG, Blob::of(config)),
            layers,
            annotations: BTreeMap::new(),
        }
    }

    /// The manifest as JSON: the bytes to sign.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a manifest strictly; see [`strict_json`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        strict_json::parse(bytes, ReleaseLimits::MANIFEST_BYTES)
    }

    /// Checks that this is the manifest of a release and names exactly `config`.
    pub fn check_config(&self, config: &[u8]) -> Result<(), ManifestError> {
        for (field, found, expected) in [
            (
                "schemaVersion",
                self.schema_version.to_string().as_str(),
                "2",
            ),
            ("mediaType", &self.media_type, MANIFEST),
            ("artifactType", &self.artifact_type, RELEASE),
            ("config.mediaType", &self.config.media_type, CONFIG),
        ] {
            if found != expected {
                return Err(ManifestError::Kind {
                    field,
                    found: found.to_owned(),
                    expected: expected.to_owned(),
                });
            }
        }
        let given = Blob::of(config);
        if self.config.blob() != given {
            return Err(ManifestError::Config {
                named: self.config.digest,
                given: given.digest,
            });
        }
        Ok(())
    }

    /// Checks that the layers are exactly the blobs of `release`, with equal sizes and media types.
    pub fn check_layers(&self, release: &Release) -> Result<(), ManifestError> {
        let mut uses: BTreeMap<Digest, (u64, BTreeSet<&str>)> = BTreeMap::new();
        for (blob, media_type) in release.uses() {
            uses.entry(blob.digest)
                .or_insert((blob.size, BTreeSet::new()))
                .1
                .insert(media_type);
        }
        for layer in &self.layers {
            let digest = layer.digest;
            let (size, media_types) = uses
                .remove(&digest)
                .ok_or(ManifestError::ExtraLayer(digest))?;
            if size != layer.size {
                return Err(ManifestError::Size {
                    digest,
                    layer: layer.size,
                    release: size,
                });
            }
            if !media_types.contains(layer.media_type.as_str()) {
                return Err(ManifestError::MediaType {
                    digest,
                    media_type: layer.media_type.clone(),
                });
            }
        }
        uses.pop_first().map_or(Ok(()), |(digest, _)| {
            Err(ManifestError::MissingLayer(digest))
        })
    }
}
