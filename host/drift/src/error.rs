use hotshoe_base::format::NewerFormat;
use hotshoe_trust::strict_json::JsonError;

use super::limits::{MAX_DIMENSIONS, MAX_SERIES, MAX_VALUES};

/// Why a baseline cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// It is not JSON of this schema.
    #[error("the baseline cannot be read; make it again with `hotshoe baseline`")]
    Unreadable(#[source] JsonError),
    /// No sources, or too many.
    #[error("a baseline of {count} sources; give 1 to {MAX_SERIES}")]
    Sources {
        /// How many there are.
        count: usize,
    },
    /// One source twice.
    #[error("`{source_text}` is in the baseline twice; leave one out")]
    Twice {
        /// The source.
        source_text: String,
    },
    /// Too few samples had a value.
    #[error(
        "`{source_text}` has a value in {found} samples; a baseline needs {least} or more: add samples, or leave it out"
    )]
    TooFew {
        /// The source.
        source_text: String,
        /// How many had one.
        found: u64,
        /// How many are needed.
        least: u64,
    },
    /// Embeddings of several lengths.
    #[error(
        "`{source_text}` has {one} dimensions in one sample and {other} in another; leave it out"
    )]
    Dimensions {
        /// The source.
        source_text: String,
        /// In one sample.
        one: usize,
        /// In another.
        other: usize,
    },
    /// Values that no builder writes.
    #[error(
        "the baseline of `{source_text}` is not valid: {problem}; make it again with `hotshoe baseline` (at most {MAX_VALUES} values or \
         {MAX_DIMENSIONS} dimensions)"
    )]
    Invalid {
        /// The source.
        source_text: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl BaselineError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Newer(error) => error.name(),
            Self::Unreadable(_) | Self::Invalid { .. } => "invalid_baseline",
            Self::Sources { .. } | Self::Twice { .. } => "invalid_sources",
            Self::TooFew { .. } => "too_few_samples",
            Self::Dimensions { .. } => "mixed_dimensions",
        }
    }
}

/// Why no monitor can be made of a baseline and the rules of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// The release watches something that the baseline does not have.
    #[error("`watch` of [drift] has `{watched}`, which the baseline does not have; it has {}", known.join(", "))]
    NotInBaseline {
        /// What the release names.
        watched: String,
        /// What the baseline has.
        known: Vec<String>,
    },
    /// An embedding of the baseline whose covariance is not one.
    #[error(
        "the covariance of `{source_text}` is not positive definite; make the baseline again with `hotshoe baseline`"
    )]
    Covariance {
        /// The source.
        source_text: String,
    },
}

impl MonitorError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotInBaseline { .. } => "not_in_baseline",
            Self::Covariance { .. } => "invalid_baseline",
        }
    }
}
