/// Why the host ends a component's call, where its interface leaves no room for an error, or where the component is to run no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallEnd {
    /// The component's deadline passed while the host ran a model for it.
    #[error("its deadline passed in a run of model `{model}`")]
    ModelDeadline { model: String },
    /// The component's deadline passed in an operation that the host does for it.
    #[error("its deadline passed in {operation}")]
    NativeDeadline { operation: &'static str },
    /// A folder that the component has cannot be opened.
    #[error("its folder `{path}` cannot be opened: {reason}")]
    Folder { path: String, reason: String },
    /// The component made a tensor that there is no room for, by a call that cannot fail.
    #[error("it asked for too many tensors: {0}")]
    Tensors(crate::limits::OverBudget),
}
