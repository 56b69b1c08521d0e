//! Where a pipeline begins and ends.

use crate::release::Step;

/// What the first step of a pipeline takes.
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

/// What the last step that is no policy leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineOutput {
    /// The tensors that a preprocessor made.
    Tensors,
    /// The tensors that a model made.
    Outputs,
    /// An insight.
    Insight,
}

impl PipelineInput {
    /// Of a pipeline of these steps.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        match steps.into_iter().next() {
            Some(Step::Infer { .. }) => Self::Tensors,
            Some(Step::Postprocess { .. }) => Self::Outputs,
            Some(Step::Policy { .. }) => Self::Insight,
            Some(Step::Preprocess { .. } | Step::Stage { .. }) | None => Self::Sample,
        }
    }
}

impl PipelineOutput {
    /// Of a pipeline of these steps.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let is_policy = |step: &&Step| matches!(step, Step::Policy { .. });
        match steps.into_iter().filter(|step| !is_policy(step)).last() {
            Some(Step::Preprocess { .. }) => Self::Tensors,
            Some(Step::Infer { .. }) => Self::Outputs,
            Some(_) | None => Self::Insight,
        }
    }
}
