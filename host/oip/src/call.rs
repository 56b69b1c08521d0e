//! Answers one inference request. It blocks, so it runs on blocking threads.

use std::borrow::Cow;
use std::time::Instant;

use hotshoe_infer::{NamedModel, Tensor};
use hotshoe_link::Incoming;
use serde_json::value::RawValue;

use crate::catalogue::{ACTIONS, CallTarget, Callable, Catalogue, INSIGHT, SAMPLE};
use crate::classify::classify;
use crate::error::{RequestError, TensorFault};
use crate::request::{Data, InferRequest, InferResponse, Output, RequestedOutput};
use crate::stats::Spent;

/// The source of samples from this protocol; `oip/SOURCE` if the request names a source.
const SOURCE: &str = "oip";

/// Answers one request before `deadline`, or before the request's own timeout if that is earlier. Adds to `spent` how long it takes.
pub(crate) fn infer(
    catalogue: &Catalogue,
    target: &CallTarget,
    request: InferRequest,
    deadline: Instant,
    spent: &mut Spent,
) -> Result<InferResponse, RequestError> {
    check_outputs(target, &request.outputs)?;
    let asked = request.parameters.timeout;
    let deadline = asked
        .and_then(|timeout| Instant::now().checked_add(timeout))
        .map_or(deadline, |asked| asked.min(deadline));
    match &target.callable {
        Callable::Model(model) => {
            catalogue.client().check_rest()?;
            run(target, model, request, deadline, spent)
        }
        Callable::Pipeline => call(catalogue, target, request, deadline, spent),
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
    spent: &mut Spent,
) -> Result<InferResponse, RequestError> {
    let begun = Instant::now();
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
            Data::Samples { .. } => {
                let source = TensorFault::Sample;
                return Err(RequestError::Input { name, source });
            }
        }
    }
    let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    spent.input += begun.elapsed();
    let begun = Instant::now();
    let outputs = model.run_by(&inputs, Some(deadline))?;
    spent.infer += begun.elapsed();
    spent.executions += 1;
    let outputs = outputs.into_iter().map(|(n, t)| (n, Output::Tensor(t)));
    Ok(InferResponse {
        model: target.name.clone(),
        version: target.version.clone(),
        id: request.id,
        outputs: select(outputs.collect(), &request.outputs)?,
    })
}

fn call(
    catalogue: &Catalogue,
    target: &CallTarget,
    request: InferRequest,
    deadline: Instant,
    spent: &mut Spent,
) -> Result<InferResponse, RequestError> {
    let Ok([input]) = <[_; 1]>::try_from(request.inputs) else {
        return Err(RequestError::NoSample);
    };
    let Data::Samples { shape, elements } = input.data else {
        return Err(RequestError::NoSample);
    };
    if input.name != SAMPLE {
        return Err(RequestError::NoSample);
    }
    let source = request.parameters.source;
    let source = source.map_or_else(|| SOURCE.to_owned(), |name| format!("{SOURCE}/{name}"));
    let count = elements.len();
    let (mut id, mut version) = (request.id, target.version.clone());
    let (mut insights, mut actions) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    // One after the other, since a full queue may drop its oldest samples, which would be those of this request.
    for (position, sample) in elements.iter().enumerate() {
        let own = sample_id(&id, position, count);
        let incoming = Incoming {
            source: source.clone(),
            id: own.as_deref().map(|own| Cow::Borrowed(own.as_bytes())),
            content_type: request.parameters.content_type.clone(),
            timestamp_us: None,
            payload: Cow::Borrowed(sample),
        };
        let called = catalogue.client().call(incoming, deadline);
        let called = called.map_err(|source| match count {
            1 => RequestError::Call(source),
            _ => RequestError::Sample {
                number: position + 1,
                count,
                source,
            },
        })?;
        insights.push(text(&called.insight));
        actions.push(text(&called.actions));
        // After a swap, the version is that of the release that processed the sample; of several, the last one.
        version = called.release.generation.to_string();
        if count == 1 {
            id = called.id;
        }
        spent.executions += 1;
    }
    spent.infer += begun.elapsed();
    let output = |elements| Output::Bytes {
        shape: shape.clone(),
        elements,
    };
    let outputs = vec![
        (INSIGHT.to_owned(), output(insights)),
        (ACTIONS.to_owned(), output(actions)),
    ];
    Ok(InferResponse {
        model: target.name.clone(),
        version,
        id,
        outputs: select(outputs, &request.outputs)?,
    })
}

fn text(json: &RawValue) -> String {
    json.get().to_owned()
}

/// The id of a sample: that of the request, and of several samples `ID/POSITION`; the daemon makes one if there is none.
fn sample_id(id: &str, position: usize, count: usize) -> Option<String> {
    match (id, count) {
        ("", _) => None,
        (id, 1) => Some(id.to_owned()),
        (id, _) => Some(format!("{id}/{position}")),
    }
}

/// The requested outputs, in the requested order and as classes where that is requested; all outputs if none are requested.
fn select(
    outputs: Vec<(String, Output)>,
    requested: &[RequestedOutput],
) -> Result<Vec<(String, Output)>, RequestError> {
    if requested.is_empty() {
        return Ok(outputs);
    }
    let mut outputs = outputs;
    let mut selected = Vec::with_capacity(requested.len());
    for requested in requested {
        let Some(position) = outputs.iter().position(|(name, _)| *name == requested.name) else {
            continue;
        };
        let (name, output) = outputs.swap_remove(position);
        let output = match requested.classes {
            None => output,
            Some(most) => match classify(&output, most) {
                Ok(classes) => classes,
                Err(source) => return Err(RequestError::Output { name, source }),
            },
        };
        selected.push((name, output));
    }
    Ok(selected)
}
