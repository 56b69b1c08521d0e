//! The complete set-up, under one lock.
use crate::extras::Extra;
use crate::fixtures::{self, FixtureError};
use crate::guests::{self, GuestError};
use crate::progress::Progress;
use crate::runtime::{Fetched, Runtime};
use crate::toolchain::{Toolchain, ToolchainChoice, ToolchainError};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the set-up failed.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// The folder is not a checkout of Hotshoe.
    #[error("{0} is not a checkout of Hotshoe: it has no wit/ and guests/ folder")]
    NotACheckout(PathBuf),
    /// The lock against concurrent set-ups could not be taken.
    #[error("cannot lock {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A model or a picture is missing and could not be downloaded.
    #[error("cannot download the models and pictures")]
    Fixtures(#[from] FixtureError),
    /// What comes with an installed program could not be copied.
    #[error("cannot read or write {path}")]
    Copy {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// There is no compiler for WebAssembly.
    #[error("cannot get a Rust toolchain for WebAssembly")]
    Toolchain(#[from] ToolchainError),
    /// A component could not be built.
    #[error("cannot build the components")]
    Guests(#[from] GuestError),
}

/// The paths of a set-up checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The root of the checkout.
    pub root: PathBuf,
    /// The folder of encoded components, `NAME.wasm`.
    pub guests: PathBuf,
    /// The folder of ONNX models, `NAME.onnx`.
    pub models: PathBuf,
    /// The folder of pictures.
    pub pictures: PathBuf,
    /// The folder of `models` and `pictures`.
    pub fixtures: PathBuf,
    /// The names of the components, sorted.
    pub components: Vec<String>,
}

impl Environment {
    pub(crate) fn new(root: &Path, components: Vec<String>) -> Self {
        let fixtures = fixtures::folder(root);
        Self {
            root: root.to_owned(),
            guests: guests::folder(root),
            models: fixtures.join("models"),
            pictures: fixtures.join("pictures"),
            fixtures,
            components,
        }
    }

    /// The path of an encoded component, whether or not it exists.
    pub fn component(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    /// The path of a model (`detect`, `classify-angle`, `recognise`).
    pub fn model(&self, name: &str) -> PathBuf {
        self.models.join(format!("{name}.onnx"))
    }

    /// The path of a picture, by file name (`page.png`).
    pub fn picture(&self, file_name: &str) -> PathBuf {
        self.pictures.join(file_name)
    }
}

/// The folder of compilers and other tools of a checkout.
pub fn tools(root: &Path) -> PathBuf {
    root.join("target").join("tools")
}

/// Searches `start` and its ancestors for the root of a checkout.
pub fn find_root(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|folder| is_checkout(folder))
        .map(Path::to_owned)
}

fn is_checkout(folder: &Path) -> bool {
    folder.join("wit").is_dir()
        && folder.join("guests").is_dir()
        && folder.join("Cargo.toml").is_file()
}

/// Downloads, installs and builds whatever is missing under `root/target`.
///
/// Several processes may call this at once: one works, the others wait for it.
pub fn set_up(root: &Path, progress: &Progress) -> Result<Environment, SetUpError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    if !is_checkout(&root) {
        return Err(SetUpError::NotACheckout(root));
    }
    if let Some(environment) = ready(&root)? {
        return Ok(environment);
    }
    let _lock = lock(&root, progress)?;
    // Another process may have done the work while this one waited.
    if let Some(environment) = ready(&root)? {
        return Ok(environment);
    }
    fixtures::fetch(&root, progress)?;
    let choice = ToolchainChoice::from_environment()?;
    let toolchain = Toolchain::find_or_install(&tools(&root), choice, progress)?;
    let components = guests::build(&root, choice, &toolchain, progress)?;
    Ok(Environment::new(&root, components))
}

/// Downloads ONNX Runtime's library into the fixtures of a set-up folder, unless it is there. `None` for a system that has none.
///
/// # Errors
/// [`SetUpError`]: the lock, the download or a file.
pub fn fetch_runtime(root: &Path, progress: &Progress) -> Result<Option<Fetched>, SetUpError> {
    let Some(runtime) = Runtime::processor_here().and_then(Runtime::of) else {
        return Ok(None);
    };
    let _lock = lock(root, progress)?;
    let fetched = runtime.fetch(&fixtures::folder(root), progress);
    let fetched = fetched.map_err(|source| FixtureError::Wheel {
        files: "ONNX Runtime".to_owned(),
        source,
    })?;
    Ok(Some(fetched))
}

/// What needs the network and no compiler: models, pictures, the toolchain for WebAssembly, and ONNX Runtime, without which all runs too.
pub fn fetch_all(root: &Path, progress: &Progress) -> Result<(), SetUpError> {
    if !is_checkout(root) {
        return Err(SetUpError::NotACheckout(root.to_owned()));
    }
    let lock = lock(root, progress)?;
    fixtures::fetch(root, progress)?;
    Toolchain::find_or_install(&tools(root), ToolchainChoice::from_environment()?, progress)?;
    drop(lock);
    fetch_runtime(root, progress).map(drop)
}

/// Downloads an extra that [`set_up`] does not include, unless it exists. Returns its file or folder.
pub fn fetch(root: &Path, extra: Extra, progress: &Progress) -> Result<PathBuf, SetUpError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    if !is_checkout(&root) {
        return Err(SetUpError::NotACheckout(root));
    }
    if let Some(path) = extra.found(&root) {
        return Ok(path);
    }
    let _lock = lock(&root, progress)?;
    Ok(extra.fetch(&root, progress)?)
}

/// The environment, if everything exists and is unchanged. Needs no lock, because files appear complete, by a rename.
fn ready(root: &Path) -> Result<Option<Environment>, SetUpError> {
    let choice = ToolchainChoice::from_environment()?;
    if !fixtures::missing(root).is_empty() {
        return Ok(None);
    }
    let components = guests::current(root, choice)?;
    Ok(components.map(|components| Environment::new(root, components)))
}

/// Takes the lock, which is released when the file is dropped, or when the process dies.
pub(crate) fn lock(root: &Path, progress: &Progress) -> Result<File, SetUpError> {
    let path = root.join("target").join("set-up.lock");
    let failed = |source| SetUpError::Lock {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(root.join("target")).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.say("waiting for another process that sets up this checkout");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_root_is_found_from_deep_inside() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("host/cli/src");
        for name in ["wit", "guests", "host/cli/src"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        assert_eq!(find_root(&deep), None);
        std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        assert_eq!(find_root(&deep).as_deref(), Some(folder.path()));
    }

    #[test]
    fn a_folder_that_is_not_a_checkout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = set_up(folder.path(), &Progress::silent()).unwrap_err();
        assert!(matches!(error, SetUpError::NotACheckout(_)), "{error}");
    }
}
