//! What is kept of a sample until its recorder has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hotshoe_engine::{Action, Sample};
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, NpzError};
use hotshoe_pipeline::{Decision, Tensors, Trace};
use hotshoe_store::{RecordStage, RecordedEntry, RecordedPart};
use hotshoe_trust::RecordKind;

/// A sample with what was made of it. Tensors and payload are shared with what made them; nothing is copied yet but the insight.
pub(super) struct Taken {
    pub entry: RecordedEntry,
    parts: Vec<(RecordedPart, Content)>,
    /// What it keeps from being freed, at most.
    pub bytes: u64,
    /// Of these, what the answer that tells of it has: what the policies decided, messages in base64.
    pub told_bytes: u64,
}

enum Content {
    Payload(Arc<[u8]>),
    Json(Vec<u8>),
    /// With the sample that they were made of.
    Tensors(Tensors, Option<Sample>),
}

impl Taken {
    /// What a recording of this stage and these kinds keeps.
    pub fn of(
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
        let told_bytes: u64 = if insight {
            decision.actions.iter().map(told_bytes).sum()
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
            bytes: bytes + told_bytes,
            told_bytes,
        }
    }

    /// Its files.
    pub fn files(self) -> Result<Vec<(RecordedPart, Vec<u8>)>, NpzError> {
        let parts = self.parts.into_iter();
        parts
            .map(|(part, content)| Ok((part, content.written()?)))
            .collect()
    }
}

/// Bytes of an action as JSON, about.
fn told_bytes(action: &Action) -> u64 {
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
            Self::Tensors(mut tensors, sample) => {
                if let Some(sample) = sample {
                    let kind = sample.content_type.into_bytes();
                    tensors.push((npz::SAMPLE.to_owned(), line(&sample.payload)?));
                    tensors.push((npz::SAMPLE_TYPE.to_owned(), line(&kind)?));
                }
                npz::to_bytes(&tensors)
            }
        }
    }
}

fn line(bytes: &[u8]) -> Result<Tensor, NpzError> {
    Ok(Tensor::from_u8(&[bytes.len()], bytes.to_vec())?)
}
