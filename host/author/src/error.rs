//! Errors of builds.
use crate::{Language, ToolError};
use hotshoe_devkit::CommandError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the sources could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A tool of the language is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A compiler or bundler failed, or did not run.
    #[error("cannot {what}")]
    Compile {
        /// The action: `compile policy.c`.
        what: String,
        /// The error of the program.
        #[source]
        source: CommandError,
    },
    /// The sources are incomplete.
    #[error("{what}; {advice}")]
    Sources {
        /// What is missing or wrong.
        what: String,
        /// What to do.
        advice: String,
    },
    /// The bindings could not be generated from the WIT files.
    #[error("cannot generate bindings from the WIT files in {folder}: {message}")]
    Bindings {
        /// The folder of WIT files.
        folder: PathBuf,
        /// Why, outermost first.
        message: String,
    },
    /// The compiler's output cannot be encoded as a component.
    #[error("cannot encode the compiler's output as a component: {message}")]
    Encode {
        /// Why, outermost first.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// This program was built without support for the language.
    #[error("this build of hotshoe cannot compile {0}")]
    NotBuiltIn(Language),
}

impl BuildError {
    /// For `map_err`: an I/O error at this path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// For `map_err`: an error of a compiler.
    pub fn compile(what: impl Into<String>) -> impl FnOnce(CommandError) -> Self {
        let what = what.into();
        move |source| Self::Compile { what, source }
    }

    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tool(error) => error.name(),
            Self::Compile { .. } => "does_not_compile",
            Self::Sources { .. } => "incomplete_sources",
            Self::Bindings { .. } => "no_bindings",
            Self::Encode { .. } => "not_encodable",
            Self::Io { .. } => "io",
            Self::NotBuiltIn(_) => "language_not_built_in",
        }
    }
}
