//! One component's sources, and where its build may write.
use crate::embedded::{self, SDK, WIT};
use crate::{BuildError, Language};
use hotshoe_trust::World;
use std::fs;
use std::path::{Path, PathBuf};

/// Below a release's folder, what builds leave: ignored by git, and gone without loss.
const SCRATCH: &str = ".hotshoe";
/// Below a project's folder, its copy of the SDK.
const VENDORED_SDK: &str = "hotshoe-sdk";

/// What Rust compiles for.
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
    /// The world that it is to implement.
    pub world: World,
    /// What it is written in.
    pub language: Language,
    /// For Rust alone.
    pub target: RustTarget,
    /// The folder of the `release.toml`, or `folder` where there is none.
    pub release: PathBuf,
}

impl Project {
    /// A folder for this component's build alone, made if it is missing: `.hotshoe/NAME`.
    pub fn scratch(&self) -> Result<PathBuf, BuildError> {
        made(self.release.join(SCRATCH).join(&self.name))
    }

    /// A folder that all components of the release share, made if it is missing: `.hotshoe`.
    pub fn shared_scratch(&self) -> Result<PathBuf, BuildError> {
        made(self.release.join(SCRATCH))
    }

    /// The folder of WIT files: the project's own `wit`, else a copy of the built-in one in the scratch folder.
    pub fn wit(&self) -> Result<PathBuf, BuildError> {
        let own = self.folder.join("wit");
        if own.is_dir() {
            return Ok(own);
        }
        let copy = self.shared_scratch()?.join("wit");
        embedded::write(&WIT, "", &copy).map_err(BuildError::io(&copy))?;
        Ok(copy)
    }

    /// The folder of the language's SDK: the project's own `hotshoe-sdk/LANG`, else a copy of the built-in one in the scratch folder.
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

fn made(folder: PathBuf) -> Result<PathBuf, BuildError> {
    // Absolute, since compilers are started in other folders.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    Ok(folder)
}

/// Where `hotshoe new` puts the SDK of a language, below the project's folder.
pub(crate) fn vendored_sdk(language: Language) -> PathBuf {
    Path::new(VENDORED_SDK).join(language.sdk())
}
