//! Media types of a release and its parts.

/// `artifactType` of a release's manifest.
pub const RELEASE: &str = "application/vnd.hotshoe.release.v1+json";
/// Media type of the config blob: a [`crate::Release`] as JSON.
pub const CONFIG: &str = "application/vnd.hotshoe.release.config.v1+json";
/// Media type of a component.
pub const WASM: &str = "application/wasm";
/// Media type of a model.
pub const MODEL: &str = "application/vnd.cncf.model.weight.v1.raw";
/// Media type of an index of chunks; see [`crate::ChunkIndex`].
pub const CHUNKS: &str = "application/vnd.hotshoe.chunks.v1";
/// Media type of the insight that a self-test expects.
pub const INSIGHT: &str = "application/json";
/// Media type of a baseline of drift.
pub const BASELINE: &str = "application/vnd.hotshoe.baseline.v1+json";
/// Media type of a signature: a Sigstore bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Media type of the manifest itself.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
