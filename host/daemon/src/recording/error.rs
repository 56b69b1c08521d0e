//! Why something is not recorded, and what to change.

use std::collections::BTreeSet;

use hotshoe_store::RecordStage;
use hotshoe_trust::RecordKind;

use super::MAX_SESSIONS;
use super::wire::RefusalBody;

/// Why a request of a recorder is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the request cannot be read: {0}; is this `hotshoe` of the device's version?")]
    Request(String),
    #[error("no release serves on this device; there is nothing to record")]
    NoRelease,
    #[error("with `--without` nothing of `--stage {0}` is left to record")]
    Nothing(RecordStage),
    #[error(
        "the device does not let its {} be recorded: in its hotshoe.toml, under [record], write {}, and start it again",
        kind_names(missing),
        line("allow", missing, has)
    )]
    Device {
        missing: BTreeSet<RecordKind>,
        has: BTreeSet<RecordKind>,
    },
    #[error(
        "the data contract of release `{release}` generation {generation} does not let its {} be recorded: in its release.toml, under \
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
        "the pipeline of release `{release}` {lacks}, so that nothing can be recorded at `--stage {stage}`; take --stage sample or --stage post"
    )]
    Stage {
        release: String,
        stage: RecordStage,
        lacks: &'static str,
    },
    #[error("{MAX_SESSIONS} recordings of this device are made already; wait until one has ended")]
    Busy,
    #[error(
        "no such recording is made on this device; it ended, or nobody asked for it for too long"
    )]
    Unknown,
    #[error("the tensors of a sample cannot be written as .npz: {0}")]
    Unwritten(String),
}

impl RecordError {
    pub fn body(&self) -> RefusalBody {
        let name = match self {
            Self::Request(_) => "invalid_request",
            Self::NoRelease => "no_release",
            Self::Nothing(_) => "nothing_to_record",
            Self::Device { .. } => "not_allowed_by_device",
            Self::Contract { .. } => "not_allowed_by_release",
            Self::Stage { .. } => "no_such_stage",
            Self::Busy => "busy",
            Self::Unknown => "no_such_recording",
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
