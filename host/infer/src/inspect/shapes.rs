//! Shapes and values of intermediate tensors, inferred by tract from the shapes of the inputs.

use std::collections::{BTreeMap, HashMap};

use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{
    InferenceFact, InferenceModelExt, IntoTValue, OutletId, TractError, TractResult,
};
use tract_onnx::tract_hir::infer::{Factoid, InferenceModel};
use tract_onnx::tract_hir::internal::DimLike;

use super::{Dimension, InputShapes, Port};
use crate::Tensor;
use crate::guard::guard;
use crate::tract::partial_framework;

/// The input shapes for an inspection.
#[derive(Debug, Default)]
pub(crate) struct ResolvedShapes {
    /// Known shapes by input.
    pub(crate) shapes: InputShapes,
    /// Inputs whose open outermost dimension was assumed to be 1.
    pub(crate) assumed: Vec<String>,
    /// Inputs with other open dimensions, which cannot be guessed.
    pub(crate) open: Vec<String>,
}

/// Combines the shapes of the file with the given ones. An open outermost dimension is usually a batch, so 1 is assumed.
pub(crate) fn resolve(inputs: &[Port], given: &InputShapes) -> ResolvedShapes {
    let mut resolved = ResolvedShapes::default();
    for input in inputs {
        let name = input.name.clone();
        if let Some(shape) = given.get(&name) {
            resolved.shapes.insert(name, shape.clone());
            continue;
        }
        let Some(stated) = &input.shape else {
            resolved.open.push(name);
            continue;
        };
        let sizes: Vec<usize> = stated
            .iter()
            .enumerate()
            .map_while(|(position, dimension)| match dimension {
                Dimension::Fixed(size) => Some(*size),
                Dimension::Open(_) => (position == 0).then_some(1),
            })
            .collect();
        if sizes.len() < stated.len() {
            resolved.open.push(name);
            continue;
        }
        if matches!(stated.first(), Some(Dimension::Open(_))) {
            resolved.assumed.push(name.clone());
        }
        resolved.shapes.insert(name, sizes);
    }
    resolved
}

/// Known shapes and values of intermediate tensors.
pub(crate) struct Facts {
    inferred: Option<(InferenceModel, HashMap<String, OutletId>)>,
    /// Weights, if tract cannot read the file.
    weights: BTreeMap<String, Vec<usize>>,
}

impl Facts {
    /// Infers shapes and values from the shapes of the inputs. What tract cannot infer, or would misread, is unknown.
    pub(crate) fn infer(model: &ModelProto, graph: &GraphProto, shapes: &InputShapes) -> Self {
        let weights = graph.initializer.iter().map(|weight| {
            let sizes = weight.dims.iter().map(|&size| usize::try_from(size));
            let sizes = sizes.map(Result::unwrap_or_default).collect();
            (weight.name.clone(), sizes)
        });
        let inferred = guard(|| analyse(model, graph, shapes));
        Self {
            inferred: match inferred {
                Ok(Ok(inferred)) => Some(inferred),
                Ok(Err(error)) => {
                    tracing::debug!("shapes cannot be inferred: {error:#}");
                    None
                }
                Err(panic) => {
                    tracing::debug!("shapes cannot be inferred: {panic}");
                    None
                }
            },
            weights: weights.collect(),
        }
    }

    /// The shape of a tensor of the outermost graph.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let known = self.fact(name).and_then(|fact| {
            let dimensions = fact.shape.concretize()?;
            let sizes = dimensions.iter().map(|size| size.to_usize().ok());
            sizes.collect::<Option<Vec<_>>>()
        });
        known.or_else(|| self.weights.get(name).cloned())
    }

    /// The value of a tensor, if it does not depend on the values of the inputs.
    pub(crate) fn value(&self, name: &str) -> Option<Tensor> {
        let value = self.fact(name)?.value.concretize()?;
        Tensor::from_raw(value.into_tvalue()).ok()
    }

    fn fact(&self, name: &str) -> Option<&InferenceFact> {
        let (model, outlets) = self.inferred.as_ref()?;
        model.outlet_fact(*outlets.get(name)?).ok()
    }
}

fn analyse(
    model: &ModelProto,
    graph: &GraphProto,
    shapes: &InputShapes,
) -> TractResult<(InferenceModel, HashMap<String, OutletId>)> {
    let framework =
        partial_framework(model, graph).map_err(|refusal| TractError::msg(refusal.reason()))?;
    let parsed = framework
        .with_ignore_output_shapes(true)
        .parse(model, None)?;
    let (mut graph, outlets) = (parsed.model, parsed.outlets_by_name);
    for (name, shape) in shapes {
        if let Some(&outlet) = outlets.get(name) {
            let mut fact = InferenceFact::shape(shape);
            fact.datum_type = graph.outlet_fact(outlet)?.datum_type;
            graph.set_outlet_fact(outlet, fact)?;
        }
    }
    // The error is that of the first node; the results of the others are in the graph.
    if let Err(error) = graph.analyse(true) {
        tracing::debug!("not all shapes can be inferred: {error:#}");
    }
    Ok((graph, outlets))
}
