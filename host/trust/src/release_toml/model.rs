use std::collections::BTreeMap;

use serde::Deserialize;

use super::{FileUse, ReleaseTomlError};
use crate::{
    digest::Blob,
    limits::ReleaseLimits,
    model::{Model, Variant},
    release_error::ReleaseError,
};

/// A `[models.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelToml {
    /// The ONNX file, relative to the `release.toml`. Either this or `variants`.
    #[serde(default)]
    pub file: Option<String>,
    /// The ONNX file of each variant, relative to the `release.toml`.
    #[serde(default)]
    pub variants: BTreeMap<String, String>,
    /// The variants in order of preference: all of them, each once.
    #[serde(default)]
    pub prefer: Vec<String>,
    /// Wall time of one run in a step of the pipeline, in milliseconds. Default 10 000.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u32,
    /// Most samples in one batch. Default 1.
    #[serde(default = "max_batch")]
    pub max_batch: u32,
    /// How long a sample may wait for others to join its batch, in microseconds. Default 0.
    #[serde(default)]
    pub max_wait_us: u32,
    /// Each input that holds the state of the model, with the output that feeds it. Default: none.
    #[serde(default)]
    pub state: BTreeMap<String, String>,
    /// The outputs that are served, in this order; only what they need is loaded. Default: the file's outputs.
    #[serde(default)]
    pub outputs: Vec<String>,
}

const fn deadline_ms() -> u32 {
    Model::DEADLINE_MS
}

const fn max_batch() -> u32 {
    Model::MAX_BATCH
}

impl ModelToml {
    pub(super) fn files<'a>(&'a self, name: &'a str) -> impl Iterator<Item = FileUse<'a>> {
        let of = move |key, file| FileUse {
            table: "models",
            name,
            key,
            file,
            max_bytes: ReleaseLimits::MODEL_BYTES,
        };
        let file = self.file.iter().map(move |file| of("file", file.as_str()));
        let variants = self.variants.iter();
        file.chain(variants.map(move |(variant, file)| of(variant.as_str(), file.as_str())))
    }

    pub(super) fn model(
        &self,
        name: &str,
        blob: impl Fn(&String) -> Result<Blob, ReleaseTomlError>,
    ) -> Result<Model, ReleaseTomlError> {
        let refuse = |problem: String| ReleaseError::Model {
            model: name.to_owned(),
            problem,
        };
        let variants = match &self.file {
            Some(file) if self.variants.is_empty() && self.prefer.is_empty() => {
                vec![Variant {
                    name: Variant::ONLY.to_owned(),
                    blob: blob(file)?,
                }]
            }
            None if !self.variants.is_empty() => {
                self.check_prefer().map_err(refuse)?;
                let in_order = self.prefer.iter().filter_map(|name| {
                    let file = self.variants.get(name)?;
                    Some(blob(file).map(|blob| Variant {
                        name: name.clone(),
                        blob,
                    }))
                });
                in_order.collect::<Result<_, _>>()?
            }
            _ => {
                let problem = "write either `file`, or `variants` with `prefer`".to_owned();
                return Err(refuse(problem).into());
            }
        };
        Ok(Model {
            variants,
            deadline_ms: self.deadline_ms,
            max_batch: self.max_batch,
            max_wait_us: self.max_wait_us,
            state: self.state.clone(),
            outputs: self.outputs.clone(),
        })
    }

    /// Whether `prefer` has each variant once and nothing else.
    fn check_prefer(&self) -> Result<(), String> {
        if self.prefer.is_empty() {
            let known: Vec<_> = self.variants.keys().map(String::as_str).collect();
            let known = known.join("\", \"");
            return Err(format!(
                "`prefer` is missing: it names each variant once, in order of preference, such as prefer = [\"{known}\"]"
            ));
        }
        if let Some(unknown) = self.prefer.iter().find(|n| !self.variants.contains_key(*n)) {
            let known: Vec<_> = self.variants.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(format!(
                "`prefer` names variant `{unknown}`; its variants are {known}"
            ));
        }
        for variant in self.variants.keys() {
            let times = self.prefer.iter().filter(|name| *name == variant).count();
            let problem = match times {
                1 => continue,
                0 => format!("does not name variant `{variant}`"),
                times => format!("names variant `{variant}` {times} times"),
            };
            return Err(format!(
                "`prefer` {problem}; it names each variant once, in order of preference"
            ));
        }
        Ok(())
    }
}
