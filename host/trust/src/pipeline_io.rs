//! Input and output of a pipeline.

use crate::release::Step;

/// The input of the first step of a pipeline that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineInput {
    /// The sample as it is: a preprocessor or a stage.
    Sample,
    /// Named tensors, to a model. The sample is an `.npz`.
    Tensors,
    /// Named tensors, to a postprocessor. The sample is an `.npz`.
    Outputs,
    /// An insight, to a policy. The sample is JSON.
    Insight,
}

/// The output of the last step that is not a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineOutput {
    /// The tensors of a preprocessor.
    Tensors,
    /// The tensors of a model.
    Outputs,
    /// An insight.
    Insight,
}

impl PipelineInput {
    /// Derives it from the steps of a pipeline.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let is_filter = |step: &&Step| matches!(step, Step::Filter { .. });
        match steps.into_iter().find(|step| !is_filter(step)) {
            Some(Step::Infer { .. }) => Self::Tensors,
            Some(Step::Postprocess { .. }) => Self::Outputs,
            Some(Step::Policy { .. }) => Self::Insight,
            Some(Step::Filter { .. } | Step::Preprocess { .. } | Step::Stage { .. }) | None => {
                Self::Sample
            }
        }
    }
}

impl PipelineOutput {
    /// Derives it from the steps of a pipeline.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let is_policy = |step: &&Step| matches!(step, Step::Policy { .. });
        match steps.into_iter().filter(|step| !is_policy(step)).last() {
            Some(Step::Preprocess { .. }) => Self::Tensors,
            Some(Step::Infer { .. }) => Self::Outputs,
            Some(_) | None => Self::Insight,
        }
    }
}
