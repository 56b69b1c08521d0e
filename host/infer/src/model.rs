//! A loaded model.

use std::collections::BTreeMap;
use std::time::Instant;

use hotshoe_trust::Digest;
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{Framework, InferenceModel, TVec};

use crate::guard::guard;
use crate::plans::{Plan, PlanError, Plans, Shapes};
use crate::{LoadError, Options, RunError, Stats, Tensor, TensorInfo, describe};

/// A model that is ready to run. Threads may run it at the same time; each run uses the calling thread alone.
#[derive(Debug)]
pub struct Model {
    digest: Digest,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    metadata: BTreeMap<String, String>,
    graph: InferenceModel,
    plans: Plans,
    max_tensor_bytes: usize,
}

impl Model {
    pub(crate) fn load(digest: Digest, bytes: &[u8], options: &Options) -> Result<Self, LoadError> {
        if bytes.is_empty() {
            return Err(LoadError::Empty);
        }
        if bytes.len() > options.max_model_bytes {
            return Err(LoadError::TooLarge {
                bytes: bytes.len(),
                limit: options.max_model_bytes,
            });
        }
        let panicked = |message| LoadError::Panicked { message };
        guard(|| Self::parse(digest, bytes, options)).map_err(panicked)?
    }

    fn parse(digest: Digest, bytes: &[u8], options: &Options) -> Result<Self, LoadError> {
        let start = Instant::now();
        let file =
            ModelProto::decode(bytes).map_err(|e| LoadError::Malformed { source: e.into() })?;
        let graph = file.graph.as_ref().ok_or_else(|| LoadError::Malformed {
            source: "it has no graph".into(),
        })?;
        // Shapes noted between the layers are those of one export; here they follow from the inputs.
        let backend = tract_onnx::onnx().with_ignore_value_info(true);
        let missing = describe::unsupported_operators(graph, &backend);
        if !missing.is_empty() {
            return Err(LoadError::Operators {
                operators: missing.into_iter().collect(),
            });
        }
        let (inputs, outputs) = (describe::inputs(graph)?, describe::outputs(graph)?);
        if outputs.is_empty() {
            return Err(LoadError::Malformed {
                source: "it has no output".into(),
            });
        }
        let metadata = describe::metadata(&file);
        let graph = backend
            .model_for_proto_model(&file)
            .map_err(|e| LoadError::Malformed { source: e.into() })?;
        tracing::debug!(%digest, bytes = bytes.len(), elapsed = ?start.elapsed(), "model loaded");
        let plans = Plans::new(options.plans, options.max_tensor_bytes);
        Ok(Self {
            digest,
            inputs,
            outputs,
            metadata,
            graph,
            plans,
            max_tensor_bytes: options.max_tensor_bytes,
        })
    }

    /// Of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// In the order of the file.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// In the order of the file.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// An entry of the file's own metadata (ONNX `metadata_props`).
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// How the compiled plans were used.
    pub fn stats(&self) -> Stats {
        self.plans.stats()
    }

    /// Compiles the plan for inputs of these shapes, so that the first run with them is as fast as the next.
    ///
    /// # Errors
    /// As [`Model::run`] for tensors of these shapes.
    pub fn prepare(&self, shapes: &[(&str, &[usize])]) -> Result<(), RunError> {
        let ordered = self.in_order(shapes.iter().copied())?;
        self.check_shapes(ordered.iter().copied())?;
        self.plan(ordered.into_iter().map(<[usize]>::to_vec).collect())
            .map(drop)
    }

    /// Compiles the plans that another model has run with, so that this one can take its place at once. Inputs go by their
    /// names; shapes that this model does not take are passed over. Returns how many plans are ready.
    pub fn prepare_like(&self, other: &Self) -> usize {
        let all = other.plans.shapes();
        all.iter()
            .filter(|shapes| {
                let inputs = other.inputs.iter().zip(shapes.iter());
                let named: Vec<(&str, &[usize])> = inputs
                    .map(|(info, shape)| (info.name.as_str(), shape.as_slice()))
                    .collect();
                self.prepare(&named).is_ok()
            })
            .count()
    }

    /// Runs the model on one tensor for each input; the names and tensors of its outputs, in the order of the file.
    /// The first run with new shapes compiles a plan for them, which takes many times as long as a run.
    ///
    /// # Errors
    /// [`RunError`]: a wrong name, element type or shape, a limit, or a failure of the model itself.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, RunError> {
        let ordered = self.in_order(inputs.iter().copied())?;
        for (info, tensor) in self.inputs.iter().zip(&ordered) {
            let (want, got) = (info.element_type, tensor.element_type());
            if want != got {
                return Err(RunError::WrongType {
                    name: info.name.clone(),
                    want,
                    got,
                });
            }
        }
        self.check_shapes(ordered.iter().map(|tensor| tensor.shape()))?;
        let plan = self.plan(
            ordered
                .iter()
                .map(|tensor| tensor.shape().to_vec())
                .collect(),
        )?;
        let values: TVec<_> = ordered.iter().map(|tensor| tensor.to_raw()).collect();
        let results =
            guard(|| plan.run(values)).map_err(|message| RunError::Panicked { message })?;
        let results = results.map_err(|e| RunError::Failed { source: e.into() })?;
        let named = self.outputs.iter().zip(results).map(|(info, value)| {
            let tensor = Tensor::from_raw(value).map_err(|problem| {
                let message = format!("its output \"{}\" cannot be read: {problem}", info.name);
                RunError::Failed {
                    source: message.into(),
                }
            })?;
            Ok((info.name.clone(), tensor))
        });
        named.collect()
    }

    /// What was given for each input, in the order of the file.
    fn in_order<'a, T: Copy>(
        &self,
        given: impl Iterator<Item = (&'a str, T)>,
    ) -> Result<Vec<T>, RunError> {
        let mut slots: Vec<Option<T>> = vec![None; self.inputs.len()];
        for (name, value) in given {
            let position = self.inputs.iter().position(|info| info.name == name);
            let Some(slot) = position.and_then(|position| slots.get_mut(position)) else {
                let known = self.inputs.iter().map(|info| info.name.clone()).collect();
                return Err(RunError::UnknownInput {
                    name: name.to_owned(),
                    known,
                });
            };
            if slot.replace(value).is_some() {
                return Err(RunError::RepeatedInput {
                    name: name.to_owned(),
                });
            }
        }
        let pairs = slots.into_iter().zip(&self.inputs);
        pairs
            .map(|(slot, info)| {
                slot.ok_or_else(|| RunError::MissingInput {
                    name: info.name.clone(),
                })
            })
            .collect()
    }

    fn check_shapes<'a>(&self, shapes: impl Iterator<Item = &'a [usize]>) -> Result<(), RunError> {
        for (info, shape) in self.inputs.iter().zip(shapes) {
            let fits = info.shape.len() == shape.len()
                && info
                    .shape
                    .iter()
                    .zip(shape)
                    .all(|(want, &got)| want.map_or(got > 0, |want| want == got));
            if !fits {
                let (name, want) = (info.name.clone(), info.shape.clone());
                return Err(RunError::WrongShape {
                    name,
                    want,
                    got: shape.to_vec(),
                });
            }
            let size = info.element_type.size();
            let bytes = shape.iter().fold(size, |product, &dimension| {
                product.saturating_mul(dimension)
            });
            if bytes > self.max_tensor_bytes {
                let what = format!("the input \"{}\"", info.name);
                return Err(RunError::TooLarge {
                    what,
                    bytes,
                    limit: self.max_tensor_bytes,
                });
            }
        }
        Ok(())
    }

    fn plan(&self, shapes: Shapes) -> Result<Plan, RunError> {
        self.plans
            .get(&self.graph, &shapes)
            .map_err(|error| match error {
                PlanError::Refused(source) => RunError::Plan { shapes, source },
                PlanError::Panicked(message) => RunError::Panicked { message },
                PlanError::TooLarge { node, bytes } => {
                    let what = format!("the output of the model's node \"{node}\"");
                    RunError::TooLarge {
                        what,
                        bytes,
                        limit: self.max_tensor_bytes,
                    }
                }
            })
    }
}
