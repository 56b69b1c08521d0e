use std::error::Error;

use hotshoe_engine::PrepareError;
use hotshoe_infer::{Fallback, VariantError};
use hotshoe_trust::{DataContractError, Digest, ReleaseKind};

use super::StateError;

/// Why a release cannot be loaded on this device. The serving release is not affected.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A release that has no pipeline.
    #[error("a release of kind `{0}` has no pipeline to run; publish it to a device")]
    NoPipeline(ReleaseKind),
    /// A blob of the release cannot be read.
    #[error("cannot read {kind} `{name}` of the release")]
    Blob {
        /// `component`, `model`, `data file` or `self-test file`.
        kind: &'static str,
        /// Its name in the release.
        name: String,
        /// Why.
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
        /// The signed digest.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A model cannot be loaded.
    #[error("cannot load model `{name}`")]
    Model {
        /// Its name in the release.
        name: String,
        /// Why.
        #[source]
        source: hotshoe_infer::LoadError,
    },
    /// None of the variants of a model can be loaded.
    #[error("cannot load model `{name}`: {}", list_refused(refused))]
    NoVariant {
        /// Its name in the release.
        name: String,
        /// Each variant with its error.
        refused: Vec<Fallback>,
    },
    /// The variants of a model have different inputs or outputs.
    #[error("a model of the release has variants that do not fit together")]
    Variants(#[from] VariantError),
    /// `state` of a model does not match its inputs and outputs.
    #[error("`state` of model `{name}` is not valid")]
    State {
        /// Its name in the release.
        name: String,
        /// Why.
        #[source]
        source: StateError,
    },
    /// A component cannot be prepared.
    #[error(transparent)]
    Component(#[from] PrepareError),
    /// A component could pass on what may not leave the device.
    #[error(transparent)]
    DataContract(#[from] DataContractError),
    /// The pipeline names something that the release does not have. This cannot happen with a verified release.
    #[error("the pipeline names `{0}`, which the release does not have")]
    Unknown(String),
}

impl LoadError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoPipeline(_) => "no_pipeline",
            Self::Blob { .. } => "unreadable_blob",
            Self::Damaged { .. } => "damaged_blob",
            Self::Model {
                source: hotshoe_infer::LoadError::ChangedRuntime { .. },
                ..
            } => "changed_runtime",
            Self::Model { .. }
            | Self::NoVariant { .. }
            | Self::Variants(_)
            | Self::State { .. } => "invalid_model",
            Self::Component(error) => error.name(),
            Self::DataContract(_) => "data_contract",
            Self::Unknown(_) => "unknown_part",
        }
    }
}

fn list_refused(refused: &[Fallback]) -> String {
    let each = refused
        .iter()
        .map(|it| format!("variant `{}`: {}", it.variant, it.cause));
    each.collect::<Vec<_>>().join("; ")
}
