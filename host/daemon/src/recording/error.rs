//! Errors of recording requests.

use std::collections::BTreeSet;

use hotshoe_egress::Refused;
use hotshoe_store::RecordStage;
use hotshoe_trust::RecordKind;

use super::MAX_SESSIONS;
use super::wire::RefusalBody;

/// Why a request of a recorder is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("cannot read the request: {0}; use a `hotshoe` of the device's version")]
    Request(String),
    #[error("no release serves on this device; there is nothing to record")]
    NoRelease,
    #[error("`--without` leaves nothing to record at `--stage {0}`")]
    Nothing(RecordStage),
    #[error(
        "the device does not allow recording of its {}: in its hotshoe.toml, under [record], write {}, and restart it",
        kind_names(missing),
        line("allow", missing, has)
    )]
    Device {
        missing: BTreeSet<RecordKind>,
        has: BTreeSet<RecordKind>,
    },
    #[error(
        "the data contract of release `{release}` generation {generation} does not allow recording of its {}: in its release.toml, under \
         [data-contract], write {}, and publish it as a higher generation",
        kind_names(missing),
        line("record", missing, has)
    )]
    Contract {
        release: String,
        generation: u64,
        missing: BTreeSet<RecordKind>,
        has: BTreeSet<RecordKind>,
    },
    #[error(
        "the pipeline of release `{release}` {lacks}, so `--stage {stage}` has nothing to record; use --stage sample or --stage post"
    )]
    Stage {
        release: String,
        stage: RecordStage,
        lacks: &'static str,
    },
    #[error(
        "release `{release}` generation {generation} has no [drift], so `--why drift` has nothing to record; leave out `--why`, or publish a \
         release with a baseline (`hotshoe baseline`)"
    )]
    NoDrift { release: String, generation: u64 },
    #[error("this device already has {MAX_SESSIONS} recordings; wait until one ends")]
    Busy,
    #[error(
        "this device has no such recording; it has ended, or its recorder was silent for too long"
    )]
    Unknown,
    #[error(transparent)]
    Class(Refused),
    #[error("cannot write the tensors of a sample as .npz: {0}")]
    Unwritten(String),
}

impl RecordError {
    pub(super) fn body(&self) -> RefusalBody {
        let name = match self {
            Self::Request(_) => "invalid_request",
            Self::NoRelease => "no_release",
            Self::Nothing(_) => "nothing_to_record",
            Self::Device { .. } => "not_allowed_by_device",
            Self::Contract { .. } => "not_allowed_by_release",
            Self::Stage { .. } => "no_such_stage",
            Self::NoDrift { .. } => "no_drift",
            Self::Busy => "busy",
            Self::Unknown => "no_such_recording",
            Self::Class(refused) => refused.name(),
            Self::Unwritten(_) => "unwritten",
        };
        RefusalBody {
            name: name.to_owned(),
            message: self.to_string(),
        }
    }
}

fn kind_names(kinds: &BTreeSet<RecordKind>) -> String {
    let named: Vec<&str> = kinds
        .iter()
        .map(|kind| match kind {
            RecordKind::Sample => "samples",
            RecordKind::Tensors => "tensors",
            RecordKind::Insight => "insights",
        })
        .collect();
    named.join(" and ")
}

/// `allow = ["sample", "tensors"]`
fn line(key: &str, missing: &BTreeSet<RecordKind>, has: &BTreeSet<RecordKind>) -> String {
    let all: Vec<String> = missing
        .union(has)
        .map(|kind| format!("\"{kind}\""))
        .collect();
    format!("{key} = [{}]", all.join(", "))
}
