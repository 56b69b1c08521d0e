/// Why the host ends the call of a component, if the interface has no error for it, or the component must not continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallEnd {
    /// The component's deadline passed while the host ran a model for it.
    #[error("its deadline passed in a run of model `{model}`")]
    ModelDeadline { model: String },
    /// The component's deadline passed in an operation of the host.
    #[error("its deadline passed in {operation}")]
    NativeDeadline { operation: &'static str },
    /// A folder that the component has cannot be opened.
    #[error("its folder `{path}` cannot be opened: {reason}")]
    Folder { path: String, reason: String },
    /// The component created a tensor beyond its budget, in a call that has no error.
    #[error("it asked for too many tensors: {0}")]
    Tensors(crate::limits::OverBudget),
}
