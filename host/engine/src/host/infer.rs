use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_infer::{ErrorKind, NamedModel, RunError, Tensor};
use wasmtime::component::Resource;

use super::bindings::hotshoe::pipeline::infer;
use super::bindings::hotshoe::pipeline::tensors::NamedTensor;
use super::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use super::{CountedTensor, OpenModel, State, Tensors, error};
use crate::call_end::CallEnd;
use crate::vector;

impl State {
    /// Runs a model for the component, until the component's deadline at the latest. A run that misses it ends the call.
    pub(super) fn run_model(
        &mut self,
        model: &NamedModel,
        inputs: &[(&str, &Tensor)],
    ) -> wasmtime::Result<Result<Tensors, RunError>> {
        let started = Instant::now();
        let outputs = model.run_as(&self.variants, inputs, Some(self.deadline));
        let elapsed = started.elapsed();
        vector::tidy();
        add_time(&mut self.model_times, model.name(), elapsed);
        match outputs {
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                let model = model.name().to_owned();
                Err(CallEnd::ModelDeadline { model }.into())
            }
            outputs => Ok(outputs),
        }
    }
}

impl infer::Host for State {}

impl infer::HostModel for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<OpenModel>, Error>> {
        let model = match self.services.model(&name) {
            Ok(model) => OpenModel(Arc::clone(model)),
            Err(message) => return Ok(Err(error(ErrorCode::NotFound, message))),
        };
        Ok(Ok(self.table.push(model)?))
    }

    fn inputs(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        Ok(infos(self.table.get(&model)?.0.inputs()))
    }

    fn outputs(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        Ok(infos(self.table.get(&model)?.0.outputs()))
    }

    fn metadata(
        &mut self,
        model: Resource<OpenModel>,
        key: String,
    ) -> wasmtime::Result<Option<String>> {
        let model = &self.table.get(&model)?.0;
        Ok(model.metadata(&key).map(ToOwned::to_owned))
    }

    fn run(
        &mut self,
        model: Resource<OpenModel>,
        inputs: Vec<(String, Resource<CountedTensor>)>,
    ) -> wasmtime::Result<Result<Vec<NamedTensor>, Error>> {
        let inputs: Vec<(String, Tensor)> = inputs
            .into_iter()
            .map(|(name, tensor)| Ok((name, Tensor::clone(self.table.get(&tensor)?))))
            .collect::<wasmtime::Result<_>>()?;
        let named: Vec<(&str, &Tensor)> = inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let model = Arc::clone(&self.table.get(&model)?.0);
        match self.run_model(&model, &named)? {
            Ok(outputs) => self.hold_tensors(outputs),
            Err(cause) => Ok(Err(error(code(&cause), chain(&cause)))),
        }
    }

    fn drop(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<()> {
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
        ErrorKind::Internal | ErrorKind::DeadlineExceeded => ErrorCode::Internal,
    }
}
