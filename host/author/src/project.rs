//! The sources of a component, and the folders of its build.
use crate::embedded::{self, SDK, WIT};
use crate::{BuildError, Language};
use hotshoe_trust::World;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of build output below a release's folder; ignored by git, and safe to delete.
const SCRATCH: &str = ".hotshoe";
/// The copy of the SDK below a project's folder.
const VENDORED_SDK: &str = "hotshoe-sdk";

/// The target of Rust.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RustTarget {
    /// `wasm32-unknown-unknown`: a component without WASI.
    #[default]
    Unknown,
    /// `wasm32-wasip2`: Rust's standard library imports WASI 0.2.
    Wasip2,
}

/// The sources of one component.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder of its sources.
    pub folder: PathBuf,
    /// The component's name in the release.
    pub name: String,
    /// The world that it implements.
    pub world: World,
    /// Its language.
    pub language: Language,
    /// The target; only for Rust.
    pub target: RustTarget,
    /// The folder of the `release.toml`, or `folder` if there is none.
    pub release: PathBuf,
    /// Whether the component keeps the names of its functions, for the messages of traps.
    pub debug: bool,
}

impl Project {
    /// The build folder of this component, created if missing: `.hotshoe/NAME`.
    pub fn scratch(&self) -> Result<PathBuf, BuildError> {
        created(self.release.join(SCRATCH).join(&self.name))
    }

    /// The build folder that all components of the release share, created if missing: `.hotshoe`.
    pub fn shared_scratch(&self) -> Result<PathBuf, BuildError> {
        created(self.release.join(SCRATCH))
    }

    /// The folder of WIT files: the project's own `wit`, otherwise a copy of the embedded one in the scratch folder.
    pub fn wit(&self) -> Result<PathBuf, BuildError> {
        let own = self.folder.join("wit");
        if own.is_dir() {
            return Ok(own);
        }
        let copy = self.shared_scratch()?.join("wit");
        embedded::write(&WIT, "", &copy).map_err(BuildError::io(&copy))?;
        Ok(copy)
    }

    /// The folder of the language's SDK: the project's own `hotshoe-sdk/LANG`, otherwise a copy of the embedded one in the scratch folder.
    pub fn sdk(&self) -> Result<PathBuf, BuildError> {
        let language = self.language.sdk();
        let own = self.folder.join(VENDORED_SDK).join(language);
        if own.is_dir() {
            return Ok(own);
        }
        let copy = self.shared_scratch()?.join(VENDORED_SDK).join(language);
        embedded::write(&SDK, language, &copy).map_err(BuildError::io(&copy))?;
        Ok(copy)
    }
}

fn created(folder: PathBuf) -> Result<PathBuf, BuildError> {
    // Absolute, because compilers run in other folders.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    Ok(folder)
}

/// The folder of a language's SDK below a new project's folder.
pub(crate) fn vendored_sdk(language: Language) -> PathBuf {
    Path::new(VENDORED_SDK).join(language.sdk())
}
