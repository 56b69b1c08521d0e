use std::error::Error;

use hotshoe_engine::PrepareError;
use hotshoe_infer::{Fallback, VariantError};
use hotshoe_trust::Digest;

use super::StateError;

/// Why a release cannot serve on this device. The release that serves now goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A blob of the release cannot be read.
    #[error("cannot read {kind} `{name}` of the release")]
    Blob {
        /// `component`, `model`, `data file` or `self-test file`.
        kind: &'static str,
        /// Its name in the release.
        name: String,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bytes are not those that the release signed.
    #[error(
        "{kind} `{name}` of the release is damaged: it has digest {found} instead of {expected}"
    )]
    Damaged {
        /// `component`, `model`, `data file` or `self-test file`.
        kind: &'static str,
        /// Its name in the release.
        name: String,
        /// What was signed.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// A model cannot be loaded.
    #[error("cannot load model `{name}`")]
    Model {
        /// Its name in the release.
        name: String,
        /// Why not.
        #[source]
        source: hotshoe_infer::LoadError,
    },
    /// None of the variants of a model can be loaded.
    #[error("cannot load model `{name}`: {}", told(refused))]
    NoVariant {
        /// Its name in the release.
        name: String,
        /// Each variant, and why not.
        refused: Vec<Fallback>,
    },
    /// The variants of a model cannot take each other's place.
    #[error("a model of the release has variants that do not fit together")]
    Variants(#[from] VariantError),
    /// A model does not have what its `state` names.
    #[error("model `{name}` cannot keep its state")]
    State {
        /// Its name in the release.
        name: String,
        /// Why not.
        #[source]
        source: StateError,
    },
    /// A component cannot be made ready.
    #[error(transparent)]
    Component(#[from] PrepareError),
    /// The pipeline names something that the release does not hold. A verified release never does.
    #[error("the pipeline names `{0}`, which the release does not hold")]
    Unknown(String),
}

impl LoadError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blob { .. } => "unreadable_blob",
            Self::Damaged { .. } => "damaged_blob",
            Self::Model { .. }
            | Self::NoVariant { .. }
            | Self::Variants(_)
            | Self::State { .. } => "invalid_model",
            Self::Component(error) => error.name(),
            Self::Unknown(_) => "unknown_part",
        }
    }
}

fn told(refused: &[Fallback]) -> String {
    let each = refused
        .iter()
        .map(|it| format!("variant `{}`: {}", it.variant, it.cause));
    each.collect::<Vec<_>>().join("; ")
}
