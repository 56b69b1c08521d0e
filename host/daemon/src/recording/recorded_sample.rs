//! A sample in the buffer of a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hotshoe_engine::{Action, Sample};
use hotshoe_infer::npz::{self, NpzError};
use hotshoe_pipeline::{Decision, Tensors, Trace};
use hotshoe_store::{RecordStage, RecordedEntry, RecordedPart};
use hotshoe_trust::RecordKind;

/// A sample with its tensors and insight. Tensors and payload are shared with the pipeline; only the insight is copied.
pub(super) struct RecordedSample {
    pub entry: RecordedEntry,
    parts: Vec<(RecordedPart, Content)>,
    /// Upper bound of the memory that it keeps, in bytes.
    pub bytes: u64,
    /// Of these, the bytes of its actions in the answer, with payloads in base64.
    pub actions_bytes: u64,
}

enum Content {
    Payload(Arc<[u8]>),
    Json(Vec<u8>),
    /// Tensors, with the sample that they were made from.
    Tensors(Tensors, Option<Sample>),
}

impl RecordedSample {
    /// The parts of a sample for a recording of this stage and these kinds.
    pub(super) fn of(
        stage: RecordStage,
        kinds: &BTreeSet<RecordKind>,
        sample: &Sample,
        decision: &Decision,
        seen: &Trace,
    ) -> Self {
        let insight = kinds.contains(&RecordKind::Insight);
        let with_sample = kinds.contains(&RecordKind::Sample);
        let mut parts = Vec::new();
        if with_sample && stage != RecordStage::Post {
            let payload = Arc::clone(&sample.payload);
            parts.push((RecordedPart::Sample, Content::Payload(payload)));
        }
        if kinds.contains(&RecordKind::Tensors) {
            let inner = with_sample.then(|| seen.inner.as_ref().unwrap_or(sample));
            parts.extend(tensors(stage, inner, seen));
        }
        if insight {
            let text = serde_json::to_vec_pretty(&decision.insight).unwrap_or_default();
            parts.push((RecordedPart::Insight, Content::Json(text)));
        }
        let actions_bytes: u64 = if insight {
            decision.actions.iter().map(actions_bytes).sum()
        } else {
            0
        };
        let bytes: u64 = parts.iter().map(|(_, content)| content.bytes()).sum();
        let actions = |actions: &Vec<Action>| serde_json::to_value(actions).ok();
        Self {
            entry: RecordedEntry {
                id: sample.id.clone(),
                content_type: sample.content_type.clone(),
                source: sample.source.clone(),
                timestamp: sample.timestamp_us,
                actions: insight.then(|| actions(&decision.actions)).flatten(),
                files: BTreeMap::new(),
            },
            parts,
            bytes: bytes + actions_bytes,
            actions_bytes,
        }
    }

    /// Its files.
    pub(super) fn files(self) -> Result<Vec<(RecordedPart, Vec<u8>)>, NpzError> {
        let parts = self.parts.into_iter();
        parts
            .map(|(part, content)| Ok((part, content.written()?)))
            .collect()
    }
}

/// Approximate size of an action as JSON.
fn actions_bytes(action: &Action) -> u64 {
    let bytes = match action {
        Action::Publish => 0,
        Action::Drop { reason } => reason.len(),
        Action::Alert { message, .. } => message.len(),
        // Four characters of base64 for three bytes.
        Action::Send {
            topic,
            content_type,
            payload,
        } => topic.len() + content_type.len() + payload.len().div_ceil(3) * 4,
    };
    bytes as u64
}

fn tensors(
    stage: RecordStage,
    sample: Option<&Sample>,
    seen: &Trace,
) -> Vec<(RecordedPart, Content)> {
    let with = |tensors: &Tensors| Content::Tensors(tensors.clone(), sample.cloned());
    let made = seen
        .tensors
        .iter()
        .map(|it| (RecordedPart::Tensors, with(it)));
    let outputs = seen
        .outputs
        .iter()
        .map(|it| (RecordedPart::Outputs, with(it)));
    let inputs = seen.inputs.iter().map(|(model, it)| {
        let alone = Content::Tensors(it.clone(), None);
        (RecordedPart::Input(model.clone()), alone)
    });
    match stage {
        RecordStage::Pre => made.chain(inputs.take(1)).collect(),
        RecordStage::Infer => made.chain(outputs).chain(inputs).collect(),
        RecordStage::Sample | RecordStage::Post => Vec::new(),
    }
}

impl Content {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Payload(payload) => payload.len(),
            Self::Json(text) => text.len(),
            Self::Tensors(tensors, sample) => {
                let elements: usize = tensors.iter().map(|(_, it)| it.byte_len()).sum();
                elements + sample.as_ref().map_or(0, |it| it.payload.len())
            }
        };
        bytes as u64
    }

    fn written(self) -> Result<Vec<u8>, NpzError> {
        match self {
            Self::Payload(payload) => Ok(payload.to_vec()),
            Self::Json(text) => Ok(text),
            Self::Tensors(tensors, None) => npz::to_bytes(&tensors),
            Self::Tensors(tensors, Some(sample)) => npz::to_bytes(&npz::with_sample(
                tensors,
                &sample.payload,
                &sample.content_type,
            )?),
        }
    }
}
