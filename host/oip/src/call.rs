//! Answers one inference request. It blocks, so it runs on blocking threads.

use std::borrow::Cow;
use std::time::Instant;

use hotshoe_infer::{NamedModel, Tensor};
use hotshoe_link::Incoming;

use crate::catalogue::{ACTIONS, CallTarget, Callable, Catalogue, INSIGHT, SAMPLE};
use crate::error::{RequestError, TensorFault};
use crate::request::{Data, InferRequest, InferResponse, Output, RequestedOutput};

/// The source of samples from this protocol; `oip/SOURCE` if the request names a source.
const SOURCE: &str = "oip";

/// Answers one request before `deadline`, or before the request's own timeout if that is earlier.
pub(crate) fn infer(
    catalogue: &Catalogue,
    target: &CallTarget,
    request: InferRequest,
    deadline: Instant,
) -> Result<InferResponse, RequestError> {
    check_outputs(target, &request.outputs)?;
    let asked = request.parameters.timeout;
    let deadline = asked
        .and_then(|timeout| Instant::now().checked_add(timeout))
        .map_or(deadline, |asked| asked.min(deadline));
    match &target.callable {
        Callable::Model(model) => run(target, model, request, deadline),
        Callable::Pipeline => call(catalogue, target, request, deadline),
    }
}

fn check_outputs(target: &CallTarget, requested: &[RequestedOutput]) -> Result<(), RequestError> {
    if requested.is_empty() {
        return Ok(());
    }
    let outputs = target.outputs();
    let unknown = requested
        .iter()
        .find(|requested| outputs.iter().all(|output| output.name != requested.name));
    unknown.map_or(Ok(()), |requested| {
        let names: Vec<_> = outputs.iter().map(|o| format!("\"{}\"", o.name)).collect();
        Err(RequestError::UnknownOutput {
            name: requested.name.clone(),
            known: names.join(", "),
        })
    })
}

fn run(
    target: &CallTarget,
    model: &NamedModel,
    request: InferRequest,
    deadline: Instant,
) -> Result<InferResponse, RequestError> {
    let mut tensors = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let name = input.name;
        match input.data {
            // This copy to aligned memory is the only one; the request's bytes are freed here.
            Data::Elements {
                element_type,
                shape,
                bytes,
            } => match Tensor::from_bytes(element_type, &shape, &bytes) {
                Ok(tensor) => tensors.push((name, tensor)),
                Err(source) => return Err(RequestError::Tensor { name, source }),
            },
            Data::Sample(_) => {
                let source = TensorFault::Sample;
                return Err(RequestError::Input { name, source });
            }
        }
    }
    let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = model.run_by(&inputs, Some(deadline))?;
    let outputs = outputs.into_iter().map(|(n, t)| (n, Output::Tensor(t)));
    Ok(InferResponse {
        model: target.name.clone(),
        version: target.version.clone(),
        id: request.id,
        outputs: select(outputs.collect(), &request.outputs),
    })
}

fn call(
    catalogue: &Catalogue,
    target: &CallTarget,
    request: InferRequest,
    deadline: Instant,
) -> Result<InferResponse, RequestError> {
    let [input] = request.inputs.as_slice() else {
        return Err(RequestError::NoSample);
    };
    let Data::Sample(sample) = &input.data else {
        return Err(RequestError::NoSample);
    };
    if input.name != SAMPLE {
        return Err(RequestError::NoSample);
    }
    let id = Some(request.id.as_bytes()).filter(|id| !id.is_empty());
    let source = request.parameters.source;
    let incoming = Incoming {
        source: source.map_or_else(|| SOURCE.to_owned(), |name| format!("{SOURCE}/{name}")),
        id: id.map(Cow::Borrowed),
        content_type: request.parameters.content_type,
        timestamp_us: None,
        payload: Cow::Borrowed(sample),
    };
    let called = catalogue.client().call(incoming, deadline)?;
    let text = |json: &serde_json::value::RawValue| Output::Text(json.get().to_owned());
    let outputs = vec![
        (INSIGHT.to_owned(), text(&called.insight)),
        (ACTIONS.to_owned(), text(&called.actions)),
    ];
    Ok(InferResponse {
        model: target.name.clone(),
        // After a swap, the version is that of the release that processed the sample.
        version: called.release.generation.to_string(),
        id: called.id,
        outputs: select(outputs, &request.outputs),
    })
}

/// The requested outputs, in the requested order; all outputs if none are requested.
fn select(outputs: Vec<(String, Output)>, requested: &[RequestedOutput]) -> Vec<(String, Output)> {
    if requested.is_empty() {
        return outputs;
    }
    let mut outputs = outputs;
    let mut selected = Vec::with_capacity(requested.len());
    for requested in requested {
        if let Some(position) = outputs.iter().position(|(name, _)| *name == requested.name) {
            selected.push(outputs.swap_remove(position));
        }
    }
    selected
}
