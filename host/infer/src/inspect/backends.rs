//! Backend support of a file, and the first unsupported operator.

use std::collections::BTreeSet;
use std::error::Error;

use hotshoe_trust::Digest;
use serde::Serialize;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::shapes::ResolvedShapes;
use crate::guard::guard;
use crate::onnx::{node_name, operator};
use crate::tract::framework;
use crate::{Backend, BackendChoice, ModelOptions, Models, Options, OrtOptions};

/// Whether a backend can run a model.
#[derive(Debug, Clone, Serialize)]
pub struct Fit {
    /// The backend.
    pub backend: Backend,
    /// Whether it loads the model and, if the shapes of all inputs are known, plans a run with them.
    pub runs: bool,
    /// Whether a run was planned, which requires all shapes.
    pub planned: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first unsupported operator, if one is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The name of that operator's node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Fit {
    fn refused(backend: Backend, reason: String, node: Option<&NodeProto>) -> Self {
        Self {
            backend,
            runs: false,
            planned: false,
            reason: Some(reason),
            operator: node.map(operator),
            node: node.map(|node| node_name(node).to_owned()),
        }
    }
}

/// A model to check.
pub(super) struct Candidate<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) model: &'a ModelProto,
    pub(super) graph: &'a GraphProto,
    pub(super) external_files: &'a BTreeSet<String>,
    pub(super) resolved: &'a ResolvedShapes,
}

pub(super) fn fits(candidate: &Candidate<'_>, ort: &OrtOptions) -> Vec<Fit> {
    [Backend::Tract, Backend::Ort]
        .into_iter()
        .map(|backend| fit(backend, candidate, ort))
        .collect()
}

fn fit(backend: Backend, candidate: &Candidate<'_>, ort: &OrtOptions) -> Fit {
    if !candidate.external_files.is_empty() {
        let files: Vec<&str> = candidate
            .external_files
            .iter()
            .map(String::as_str)
            .collect();
        let reason = format!(
            "it keeps weights in {}, but a release has one file per model; `hotshoe pack` joins them, and so does `onnx.save(onnx.load(\"model.onnx\"), \"whole.onnx\")` in Python",
            files.join(", ")
        );
        return Fit::refused(backend, reason, None);
    }
    if backend == Backend::Tract
        && let Some((node, reason)) = unreadable_by_tract(candidate)
    {
        return Fit::refused(backend, reason, node);
    }
    match try_out(backend, candidate, ort) {
        Ok(planned) => Fit {
            backend,
            runs: true,
            planned,
            reason: None,
            operator: None,
            node: None,
        },
        Err(reason) => {
            let node = blamed(candidate.graph, &reason);
            Fit::refused(backend, reason, node)
        }
    }
}

/// The choice of only this backend.
pub(super) fn choice(backend: Backend) -> BackendChoice {
    match backend {
        Backend::Tract => BackendChoice::Tract,
        Backend::Ort => BackendChoice::Ort,
    }
}

/// Loads the model, and plans a run if all shapes are known. Returns whether it did.
fn try_out(backend: Backend, candidate: &Candidate<'_>, ort: &OrtOptions) -> Result<bool, String> {
    let models = Models::new(Options {
        ort: ort.clone(),
        ..Options::default()
    });
    let options = ModelOptions {
        backend: choice(backend),
        ..ModelOptions::default()
    };
    let (bytes, resolved) = (candidate.bytes, candidate.resolved);
    let model = models
        .load(Digest::of(bytes), bytes, &options)
        .map_err(|error| causes(&error))?;
    if !resolved.open.is_empty() {
        return Ok(false);
    }
    let shapes: Vec<(&str, &[usize])> = resolved
        .shapes
        .iter()
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect();
    model.prepare(&shapes).map_err(|error| causes(&error))?;
    Ok(true)
}

/// Why tract would misread the file, and the first affected node, if there is one.
fn unreadable_by_tract<'a>(candidate: &Candidate<'a>) -> Option<(Option<&'a NodeProto>, String)> {
    let (model, graph) = (candidate.model, candidate.graph);
    let backend = match framework(model, graph) {
        Ok(backend) => backend,
        Err(refusal) => return Some((refusal.node, refusal.reason())),
    };
    let own = model
        .opset_import
        .iter()
        .find(|import| import.domain.is_empty() || import.domain == "ai.onnx");
    let context = ParsingContext {
        onnx_operator_set_version: own.map_or(0, |import| import.version),
        framework: &backend,
        model,
        parent_graphs: vec![graph],
        model_dir: None,
        template: Default::default(),
    };
    graph.node.iter().find_map(|node| {
        let build = backend.op_register.0.get(&node.op_type)?;
        let reason = match guard(|| build(&context, node)) {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => format!("tract panicked while it read it: {panic}"),
        };
        Some((Some(node), reason))
    })
}

/// The node in a backend's message: by its name in quotes, or by its operator in ONNX Runtime's format.
fn blamed<'a>(graph: &'a GraphProto, message: &str) -> Option<&'a NodeProto> {
    let named = |node: &&NodeProto| {
        let name = node_name(node);
        !name.is_empty()
            && [
                format!("\"{name}\""),
                format!("'{name}'"),
                format!("({name})"),
            ]
            .iter()
            .any(|quoted| message.contains(quoted.as_str()))
    };
    let of_operator = |node: &&NodeProto| {
        [format!("{}(", node.op_type), format!(":{}", node.op_type)]
            .iter()
            .any(|operator| message.contains(operator.as_str()))
    };
    let mut nodes = graph.node.iter();
    nodes
        .clone()
        .find(named)
        .or_else(|| nodes.find(of_operator))
}

/// An error with all its causes, each once.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
