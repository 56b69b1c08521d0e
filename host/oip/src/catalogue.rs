//! The callable models of the live release, and its pipeline.

use std::collections::BTreeSet;
use std::sync::Arc;

use hotshoe_config::OipConfig;
use hotshoe_daemon::LocalClient;
use hotshoe_infer::{Backend, NamedModel, TensorInfo};
use hotshoe_pipeline::Pipeline;

use crate::datatype;
use crate::error::RequestError;

/// The pipeline's input: the sample's bytes.
pub(crate) const SAMPLE: &str = "sample";
/// The pipeline's output: the typed result as JSON; `null` if the policy keeps it on the device.
pub(crate) const INSIGHT: &str = "insight";
/// The pipeline's output: the policy's actions, as JSON.
pub(crate) const ACTIONS: &str = "actions";

/// Finds models and the pipeline by name.
pub(crate) struct Catalogue {
    client: LocalClient,
    /// `None`: all models.
    models: Option<BTreeSet<String>>,
    pipeline: bool,
}

/// A model or the pipeline.
pub(crate) enum Callable {
    Model(Arc<NamedModel>),
    Pipeline,
}

/// A model or the pipeline of one release.
pub(crate) struct CallTarget {
    pub(crate) name: String,
    /// The release's generation.
    pub(crate) version: String,
    pub(crate) callable: Callable,
}

/// The description of one input or output.
pub(crate) struct TensorDescription {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    /// The sizes; -1 is any size.
    pub(crate) shape: Vec<i64>,
}

impl Catalogue {
    pub(crate) fn new(config: &OipConfig, client: LocalClient) -> Self {
        // Not an error: the names may be for a later release.
        if let (Some(names), Some(pipeline)) = (&config.models, client.pipeline()) {
            let known: Vec<&str> = pipeline.models().keys().map(String::as_str).collect();
            for model in names {
                if !known.contains(&model.as_str()) {
                    tracing::warn!(
                        model,
                        known = known.join(", "),
                        "`oip.models` names a model that the release does not have"
                    );
                }
            }
        }
        Self {
            client,
            models: config.models.as_ref().map(|m| m.iter().cloned().collect()),
            pipeline: config.pipeline,
        }
    }

    pub(crate) const fn client(&self) -> &LocalClient {
        &self.client
    }

    /// Whether a release serves.
    pub(crate) fn ready(&self) -> bool {
        self.client.pipeline().is_some()
    }

    /// Finds a model or the pipeline by name and, if given, version.
    pub(crate) fn find(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<CallTarget, RequestError> {
        let pipeline = self.client.pipeline().ok_or(RequestError::NoRelease)?;
        let model = pipeline.models().get(name).filter(|_| self.offers(name));
        let callable = match model {
            Some(model) => Callable::Model(Arc::clone(model)),
            None if self.pipeline && pipeline.release().name == name => Callable::Pipeline,
            None => {
                let names: Vec<_> = self.names(&pipeline).map(|n| format!("\"{n}\"")).collect();
                return Err(RequestError::UnknownModel {
                    name: name.to_owned(),
                    known: if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(", ")
                    },
                });
            }
        };
        let serving = pipeline.release().generation.to_string();
        match version {
            Some(version) if !version.is_empty() && version != serving => {
                Err(RequestError::UnknownVersion {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    serving,
                })
            }
            _ => Ok(CallTarget {
                name: name.to_owned(),
                version: serving,
                callable,
            }),
        }
    }

    /// The version of all that can be called now.
    pub(crate) fn version(&self) -> Option<String> {
        let pipeline = self.client.pipeline();
        pipeline.map(|pipeline| pipeline.release().generation.to_string())
    }

    /// The names that can be called now, each with its version.
    pub(crate) fn index(&self) -> Vec<(String, String)> {
        let Some(pipeline) = self.client.pipeline() else {
            return Vec::new();
        };
        let version = pipeline.release().generation.to_string();
        let names = self.names(&pipeline);
        names.map(|n| (n.to_owned(), version.clone())).collect()
    }

    fn offers(&self, model: &str) -> bool {
        self.models
            .as_ref()
            .is_none_or(|names| names.contains(model))
    }

    fn names<'a>(&'a self, pipeline: &'a Arc<Pipeline>) -> impl Iterator<Item = &'a str> {
        let models = pipeline.models().keys().map(String::as_str);
        let offered = models.filter(|name| self.offers(name));
        let release = pipeline.release().name.as_str();
        let taken = pipeline.models().contains_key(release) && self.offers(release);
        offered.chain((self.pipeline && !taken).then_some(release))
    }
}

impl CallTarget {
    /// The protocol's platform, `PROJECT_FORMAT`.
    pub(crate) fn platform(&self) -> &'static str {
        match &self.callable {
            Callable::Pipeline => "hotshoe_pipeline",
            Callable::Model(model) => match model.active().backend() {
                Backend::Tract => "tract_onnx",
                Backend::Ort => "onnxruntime_onnx",
            },
        }
    }

    /// What runs it, as a configuration names it.
    pub(crate) fn backend(&self) -> &'static str {
        match &self.callable {
            Callable::Pipeline => "hotshoe",
            Callable::Model(model) => match model.active().backend() {
                Backend::Tract => "tract",
                Backend::Ort => "onnxruntime",
            },
        }
    }

    pub(crate) fn inputs(&self) -> Vec<TensorDescription> {
        match &self.callable {
            Callable::Pipeline => vec![text(SAMPLE)],
            Callable::Model(model) => model.inputs().iter().map(describe).collect(),
        }
    }

    pub(crate) fn outputs(&self) -> Vec<TensorDescription> {
        match &self.callable {
            Callable::Pipeline => vec![text(INSIGHT), text(ACTIONS)],
            Callable::Model(model) => model.outputs().iter().map(describe).collect(),
        }
    }
}

fn text(name: &str) -> TensorDescription {
    TensorDescription {
        name: name.to_owned(),
        datatype: datatype::BYTES,
        // One sample, so that clients make one by default; the sample's input also takes `[N]`.
        shape: vec![1],
    }
}

/// A size in the protocol's form: -1 is any size.
pub(crate) fn size(size: &Option<usize>) -> i64 {
    size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
}

fn describe(info: &TensorInfo) -> TensorDescription {
    TensorDescription {
        name: info.name.clone(),
        datatype: datatype::name(info.element_type),
        shape: info.shape.iter().map(size).collect(),
    }
}
