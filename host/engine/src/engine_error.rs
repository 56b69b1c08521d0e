/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This process does not have enough addresses or memory for any mode.
    #[error(
        "this process has too little address space or memory for components: {refused}; {remedy}"
    )]
    Memory {
        /// Why each mode does not fit.
        refused: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The ticker thread could not be started.
    #[error("cannot start the thread that watches deadlines")]
    Ticker(#[source] std::io::Error),
    /// The threads that compile could not be started.
    #[error("cannot start the threads that compile components")]
    Compilers(#[source] rayon::ThreadPoolBuildError),
}
