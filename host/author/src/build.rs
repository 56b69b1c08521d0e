//! Builds the components of a `release.toml` that have sources: compile, check, strip and write.
use crate::check::{self, CheckError, Surface};
use crate::manifest::Manifest;
use crate::producers::add_producers;
use crate::strip::strip;
use crate::{BuildError, DetectError, Language, Project, RustTarget, Tools, lang};
use hotshoe_devkit::Progress;
use hotshoe_trust::World;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The output folder of a component without a `release.toml`.
const OUTPUT: &str = "build";

/// Why a component was not built.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// Its language is unknown.
    #[error("cannot detect the language of {component}")]
    Detect {
        /// Its name.
        component: String,
        /// Why.
        #[source]
        source: DetectError,
    },
    /// Its folder does not exist.
    #[error("{manifest}: the source of {component}, {folder}, is not a folder")]
    NoFolder {
        /// The `release.toml`.
        manifest: PathBuf,
        /// Its name.
        component: String,
        /// The folder.
        folder: PathBuf,
    },
    /// `--target` is for Rust.
    #[error("{component} is written in {}; --target is only for Rust", language.title())]
    Target {
        /// Its name.
        component: String,
        /// Its language.
        language: Language,
    },
    /// It does not compile.
    #[error("cannot build {component}")]
    Build {
        /// Its name.
        component: String,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// It compiles, but does not pass the checks.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// It could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl ComponentError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Detect { .. } => "unknown_language",
            Self::NoFolder { .. } => "no_source",
            Self::Target { .. } => "no_target",
            Self::Build { source, .. } => source.name(),
            Self::Check(error) => error.name(),
            Self::Write { .. } => "io",
        }
    }
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its name.
    pub name: String,
    /// Its world.
    pub world: World,
    /// Its language.
    pub language: Language,
    /// Its file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes that stripping removed.
    pub stripped: u64,
    /// Its imports, exports and needed grants.
    pub surface: Surface,
}

/// One component to build.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Its sources.
    pub project: Project,
    /// The output file.
    pub file: PathBuf,
    /// The release with its grants, if there is one.
    pub manifest: Option<&'a Manifest>,
}

/// The jobs for the components of a `release.toml` that have a `source`.
pub fn jobs(
    manifest: &Manifest,
    target: Option<RustTarget>,
) -> Result<Vec<Job<'_>>, ComponentError> {
    let release = folder_of(&manifest.path);
    let mut jobs = Vec::new();
    for (name, component) in &manifest.release.components {
        let Some(source) = &component.source else {
            continue;
        };
        let folder = release.join(source);
        if !folder.is_dir() {
            return Err(ComponentError::NoFolder {
                manifest: manifest.path.clone(),
                component: name.clone(),
                folder,
            });
        }
        jobs.push(Job {
            project: project(name, folder, component.world, target, &release)?,
            file: release.join(&component.file),
            manifest: Some(manifest),
        });
    }
    Ok(jobs)
}

/// The job for a folder of sources without a `release.toml`, whose output is `build/NAME.wasm`.
pub fn job_of_folder(
    folder: &Path,
    world: World,
    target: Option<RustTarget>,
) -> Result<Job<'static>, ComponentError> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = absolute
        .file_name()
        .map_or_else(|| "component".into(), |name| name.to_string_lossy());
    let file = absolute.join(OUTPUT).join(format!("{name}.wasm"));
    Ok(Job {
        project: project(&name, absolute.clone(), world, target, &absolute)?,
        file,
        manifest: None,
    })
}

fn folder_of(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn project(
    name: &str,
    folder: PathBuf,
    world: World,
    target: Option<RustTarget>,
    release: &Path,
) -> Result<Project, ComponentError> {
    let language = Language::detect(&folder).map_err(|source| ComponentError::Detect {
        component: name.to_owned(),
        source,
    })?;
    if target.is_some() && language != Language::Rust {
        return Err(ComponentError::Target {
            component: name.to_owned(),
            language,
        });
    }
    Ok(Project {
        folder,
        name: name.to_owned(),
        world,
        language,
        target: target.unwrap_or_default(),
        release: release.to_owned(),
        debug: false,
    })
}

/// Compiles, checks, strips and writes a component, with metadata about its producers. Writes nothing if a check fails.
pub fn build(job: &Job<'_>, tools: &Tools, progress: &Progress) -> Result<Built, ComponentError> {
    let project = &job.project;
    let failed = |source| ComponentError::Build {
        component: project.name.clone(),
        source,
    };
    let made = lang::compile(project, tools, progress).map_err(failed)?;
    let surface = fit(job, &made)?;
    // The check has read the component, so stripping can read it too.
    let small = strip(&made, project.debug).unwrap_or_else(|_| made.clone());
    let bytes = add_producers(&small, project.language).map_err(failed)?;
    write(&job.file, &bytes)?;
    Ok(Built {
        name: project.name.clone(),
        world: project.world,
        language: project.language,
        file: job.file.clone(),
        bytes: bytes.len() as u64,
        stripped: made.len().saturating_sub(small.len()) as u64,
        surface,
    })
}

/// Checks a component against its world and the grants of its release.
fn fit(job: &Job<'_>, component: &[u8]) -> Result<Surface, CheckError> {
    let name = &job.project.name;
    let (surface, mut problems) = check::check(component, job.project.world);
    let mut advice = None;
    if let Some((manifest, spec)) = job
        .manifest
        .and_then(|manifest| Some((manifest, manifest.release.components.get(name)?)))
        && let Some((missing, line)) = check::not_granted(name, &surface, &spec.grants)
    {
        advice = Some(manifest.place_of_grants(name, &line));
        problems.extend(missing);
    }
    if problems.is_empty() {
        return Ok(surface);
    }
    Err(CheckError {
        component: name.clone(),
        problems,
        advice,
    })
}

/// Writes to a temporary file, then renames, so that watchers never see a partial file. Does not touch an equal file.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ComponentError> {
    let failed = |source| ComponentError::Write {
        path: path.to_owned(),
        source,
    };
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    io::Write::write_all(&mut file, bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
