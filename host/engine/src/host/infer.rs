use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{ErrorKind, RunError, Tensor};
use wasmtime::component::Resource;

use super::{HeldTensor, NamedModel, State, error};
use crate::bindings::hotshoe::pipeline::infer;
use crate::bindings::hotshoe::pipeline::tensors::NamedTensor;
use crate::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use crate::fault::chain;
use crate::vector;

impl infer::Host for State {}

impl infer::HostModel for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<NamedModel>, Error>> {
        let Some(model) = self.services.models.get(&name) else {
            let known: Vec<&str> = self.services.models.keys().map(String::as_str).collect();
            return Ok(Err(error(
                ErrorCode::NotFound,
                format_args!(
                    "no model `{name}` for this component; the release names: {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ),
            )));
        };
        let model = NamedModel {
            name,
            model: Arc::clone(model),
        };
        Ok(Ok(self.table.push(model)?))
    }

    fn inputs(&mut self, model: Resource<NamedModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        Ok(infos(self.table.get(&model)?.model.inputs()))
    }

    fn outputs(&mut self, model: Resource<NamedModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        Ok(infos(self.table.get(&model)?.model.outputs()))
    }

    fn metadata(
        &mut self,
        model: Resource<NamedModel>,
        key: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self
            .table
            .get(&model)?
            .model
            .metadata(&key)
            .map(ToOwned::to_owned))
    }

    fn run(
        &mut self,
        model: Resource<NamedModel>,
        inputs: Vec<(String, Resource<HeldTensor>)>,
    ) -> wasmtime::Result<Result<Vec<NamedTensor>, Error>> {
        let inputs: Vec<(String, Tensor)> = inputs
            .into_iter()
            .map(|(name, tensor)| Ok((name, Tensor::clone(self.table.get(&tensor)?))))
            .collect::<wasmtime::Result<_>>()?;
        let named: Vec<(&str, &Tensor)> = inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let named_model = self.table.get(&model)?;
        let started = Instant::now();
        let outputs = named_model.model.run(&named);
        let elapsed = started.elapsed();
        vector::tidy();
        add_time(&mut self.model_times, &named_model.name, elapsed);
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(cause) => return Ok(Err(error(code(&cause), chain(&cause)))),
        };
        let mut given = Vec::with_capacity(outputs.len());
        for (name, tensor) in outputs {
            match self.hold_tensor(tensor)? {
                Ok(tensor) => given.push(NamedTensor { name, tensor }),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(given))
    }

    fn drop(&mut self, model: Resource<NamedModel>) -> wasmtime::Result<()> {
        self.table.delete(model)?;
        Ok(())
    }
}

fn add_time(times: &mut Vec<(String, Duration)>, model: &str, elapsed: Duration) {
    match times.iter_mut().find(|(name, _)| name == model) {
        Some((_, total)) => *total += elapsed,
        None => times.push((model.to_owned(), elapsed)),
    }
}

fn infos(infos: &[hotshoe_infer::TensorInfo]) -> Vec<infer::TensorInfo> {
    infos
        .iter()
        .map(|info| infer::TensorInfo {
            name: info.name.clone(),
            element_type: info.element_type.into(),
            shape: info
                .shape
                .iter()
                .map(|dimension| dimension.and_then(|d| u32::try_from(d).ok()))
                .collect(),
        })
        .collect()
}

fn code(error: &RunError) -> ErrorCode {
    match error.kind() {
        ErrorKind::InvalidInput => ErrorCode::InvalidInput,
        ErrorKind::Unsupported => ErrorCode::Unsupported,
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::LimitExceeded => ErrorCode::LimitExceeded,
        ErrorKind::Internal => ErrorCode::Internal,
    }
}
