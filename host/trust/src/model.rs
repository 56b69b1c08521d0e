//! A model of a release: its weights, in one file or in variants, and the limits of its runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Blob;

/// One file of a model's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Variant {
    /// Its name, such as `fp32` or `int8`.
    pub name: String,
    /// Its weights, as ONNX.
    pub blob: Blob,
}

impl Variant {
    /// Name of the only variant of a model with a single file.
    pub const ONLY: &str = "default";
}

/// A model of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ModelJson", into = "ModelJson")]
pub struct Model {
    /// Its weights, the preferred variant first. If one cannot be loaded, or fails, the next one serves.
    pub variants: Vec<Variant>,
    /// Wall time of one run in a step of the pipeline, in milliseconds. Default 10 000.
    pub deadline_ms: u32,
    /// Most samples in one batch, stacked along the first dimension. Default 1: no batching.
    pub max_batch: u32,
    /// How long a sample may wait for others to join its batch, in microseconds. Default 0.
    pub max_wait_us: u32,
    /// The inputs that hold the state of the model, each with the output that feeds it for the next sample of the same
    /// source. Initially zeros. Default: none.
    pub state: BTreeMap<String, String>,
    /// The outputs that are served, in this order; only what they need is loaded. Default: none, which is the file's outputs.
    pub outputs: Vec<String>,
}

impl Model {
    /// The `deadline-ms` of a model that does not give one.
    pub(crate) const DEADLINE_MS: u32 = 10_000;
    /// The `max-batch` of a model that does not give one.
    pub(crate) const MAX_BATCH: u32 = 1;

    /// A model with one file and default limits.
    pub fn of(blob: Blob) -> Self {
        Self {
            variants: vec![Variant {
                name: Variant::ONLY.to_owned(),
                blob,
            }],
            deadline_ms: Self::DEADLINE_MS,
            max_batch: Self::MAX_BATCH,
            max_wait_us: 0,
            state: BTreeMap::new(),
            outputs: Vec::new(),
        }
    }

    /// `deadline-ms` as a duration.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.into())
    }

    /// `max-wait-us` as a duration.
    pub fn max_wait(&self) -> Duration {
        Duration::from_micros(self.max_wait_us.into())
    }
}

/// A model in the JSON of a release: `blob` for a single variant, which has no name, or `variants`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ModelJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<Blob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<Variant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_batch: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_wait_us: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    state: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<String>,
}

impl TryFrom<ModelJson> for Model {
    type Error = &'static str;

    fn try_from(json: ModelJson) -> Result<Self, Self::Error> {
        let variants = match (json.blob, json.variants) {
            (Some(blob), variants) if variants.is_empty() => Self::of(blob).variants,
            (None, variants) if !variants.is_empty() => variants,
            _ => return Err("a model has either `blob` or `variants`"),
        };
        Ok(Self {
            variants,
            deadline_ms: json.deadline_ms.unwrap_or(Self::DEADLINE_MS),
            max_batch: json.max_batch.unwrap_or(Self::MAX_BATCH),
            max_wait_us: json.max_wait_us.unwrap_or(0),
            state: json.state,
            outputs: json.outputs,
        })
    }
}

impl From<Model> for ModelJson {
    fn from(model: Model) -> Self {
        let unless = |value: u32, default| (value != default).then_some(value);
        let (blob, variants) = match model.variants.as_slice() {
            [only] if only.name == Variant::ONLY => (Some(only.blob), Vec::new()),
            _ => (None, model.variants),
        };
        Self {
            blob,
            variants,
            deadline_ms: unless(model.deadline_ms, Model::DEADLINE_MS),
            max_batch: unless(model.max_batch, Model::MAX_BATCH),
            max_wait_us: unless(model.max_wait_us, 0),
            state: model.state,
            outputs: model.outputs,
        }
    }
}
