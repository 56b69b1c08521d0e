//! A sample in the buffer of a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use hotshoe_egress::{Classifier, Egress};
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
    classifier: Arc<Classifier>,
    /// When its class does not let the device keep it any longer.
    pub keep_until: Option<Instant>,
}

enum Content {
    Payload(Arc<[u8]>),
    Insight(Egress),
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
        classifier: &Arc<Classifier>,
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
        if insight && let Ok(made) = classifier.recorded_insight(&decision.insight) {
            parts.push((RecordedPart::Insight, Content::Insight(made)));
        }
        let actions_bytes: u64 = if insight {
            decision.actions.iter().map(actions_bytes).sum()
        } else {
            0
        };
        let bytes: u64 = parts.iter().map(|(_, content)| content.bytes()).sum();
        let actions = insight.then(|| classifier.recorded_actions(&decision.actions).into());
        Self {
            entry: RecordedEntry {
                id: sample.id.clone(),
                content_type: sample.content_type.clone(),
                source: sample.source.clone(),
                timestamp: sample.timestamp_us,
                actions,
                files: BTreeMap::new(),
            },
            parts,
            bytes: bytes + actions_bytes,
            actions_bytes,
            classifier: Arc::clone(classifier),
            keep_until: None,
        }
    }

    /// Its files. What may not leave is left out; the recording was refused then.
    pub(super) fn files(self) -> Result<Vec<(RecordedPart, Egress)>, NpzError> {
        let mut files = Vec::with_capacity(self.parts.len());
        for (part, content) in self.parts {
            if let Some(file) = content.written(&self.classifier)? {
                files.push((part, file));
            }
        }
        Ok(files)
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
            Self::Insight(made) => made.bytes().len(),
            Self::Tensors(tensors, sample) => {
                let elements: usize = tensors.iter().map(|(_, it)| it.byte_len()).sum();
                elements + sample.as_ref().map_or(0, |it| it.payload.len())
            }
        };
        bytes as u64
    }

    fn written(self, classifier: &Classifier) -> Result<Option<Egress>, NpzError> {
        let (kind, bytes) = match self {
            Self::Insight(made) => return Ok(Some(made)),
            Self::Payload(payload) => (RecordKind::Sample, payload.to_vec()),
            Self::Tensors(tensors, None) => (RecordKind::Tensors, npz::to_bytes(&tensors)?),
            Self::Tensors(tensors, Some(sample)) => {
                let (payload, content_type) = (&sample.payload, &sample.content_type);
                let whole = npz::with_sample(tensors, payload, content_type)?;
                (RecordKind::Tensors, npz::to_bytes(&whole)?)
            }
        };
        Ok(classifier.recorded(kind, bytes).ok())
    }
}
