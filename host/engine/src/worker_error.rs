use std::io;
use std::path::PathBuf;

/// Why the process that compiles failed, if neither the component nor a limit is the cause.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended without an answer.
    #[error(
        "the process that compiles ended early ({how}); if the system killed it for lack of memory, free memory and deliver the release again"
    )]
    Ended {
        /// Its exit code, or the signal that ended it.
        how: String,
    },
    /// Its answer is not valid.
    #[error("the process that compiles sent an invalid answer")]
    Answer(#[source] io::Error),
}
