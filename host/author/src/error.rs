//! Why a component could not be built.
use crate::{Language, ToolError};
use hotshoe_devkit::CommandError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why no component came of the sources.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A tool that the language needs is not there.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A compiler or bundler refused the sources, or did not run.
    #[error("cannot {what}")]
    Compile {
        /// What was being done: `compile policy.c`.
        what: String,
        /// What it said.
        #[source]
        source: CommandError,
    },
    /// The sources lack something that the build needs.
    #[error("{what}; {way_out}")]
    Sources {
        /// What is missing or wrong.
        what: String,
        /// What to do about it.
        way_out: String,
    },
    /// No bindings could be made of the WIT files.
    #[error("cannot make bindings of the WIT files in {folder}: {message}")]
    Bindings {
        /// The folder of WIT files.
        folder: PathBuf,
        /// Why, outermost first.
        message: String,
    },
    /// What the compiler made cannot be encoded as a component.
    #[error("what the compiler made cannot be made a component: {message}")]
    Encode {
        /// Why, outermost first.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This program was built without that language.
    #[error("this build of hotshoe cannot compile {0}")]
    NotBuiltIn(Language),
}

impl BuildError {
    /// For `map_err`: an error of the system at this path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// For `map_err`: what a compiler said.
    pub fn compile(what: impl Into<String>) -> impl FnOnce(CommandError) -> Self {
        let what = what.into();
        move |source| Self::Compile { what, source }
    }

    /// A stable word for scripts.
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
