//! The set-up of an installed program, such as by `pip install`: the components and the application of the demo come with it.
use crate::environment::{Environment, SetUpError, lock};
use crate::files;
use crate::fixtures;
use crate::guests;
use crate::progress::Progress;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of what comes with this program: `share/hotshoe` beside the folder of the program. `None` for a program that was only built.
pub fn share() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let share = program.parent()?.parent()?.join("share/hotshoe");
    share.join("components").is_dir().then_some(share)
}

/// The folder of a user's files that can be made again: `$XDG_CACHE_HOME/hotshoe`, or `~/.cache/hotshoe`.
pub fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|it| !it.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|it| it.is_absolute());
    let home = || Some(PathBuf::from(set("HOME")?).join(".cache"));
    Some(cache.or_else(home)?.join("hotshoe"))
}

/// Sets up `root` like a checkout, without a compiler: copies the components and the application from `share`, and downloads the models and
/// pictures that are missing.
pub fn installed(
    share: &Path,
    root: &Path,
    progress: &Progress,
) -> Result<Environment, SetUpError> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let _lock = lock(&root, progress)?;
    copy(&share.join("components"), &guests::folder(&root))?;
    copy(&share.join("examples"), &root.join("examples"))?;
    fixtures::fetch(&root, progress)?;
    let mut components = Vec::new();
    for file in entries(&share.join("components"))? {
        if let Some(name) = file.file_stem().and_then(|it| it.to_str()) {
            components.push(name.to_owned());
        }
    }
    Ok(Environment::new(&root, components))
}

/// Copies a folder and everything below it. Another version may have been there.
fn copy(from: &Path, to: &Path) -> Result<(), SetUpError> {
    for path in entries(from)? {
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            let bytes = fs::read(&path).map_err(at(&path))?;
            files::write_whole(&to, &bytes).map_err(at(&to))?;
        }
    }
    Ok(())
}

/// The entries of a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SetUpError> {
    let read = fs::read_dir(folder).map_err(at(folder))?;
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<io::Result<Vec<PathBuf>>>()
        .map_err(at(folder))?;
    paths.sort();
    Ok(paths)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SetUpError + '_ {
    move |source| SetUpError::Copy {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_comes_with_a_program_is_copied_over_an_older_version() {
        let folder = tempfile::tempdir().unwrap();
        let (share, root) = (folder.path().join("share"), folder.path().join("root"));
        fs::create_dir_all(share.join("examples/label-reader/expected")).unwrap();
        let file = "examples/label-reader/expected/page.json";
        fs::write(share.join(file), "new").unwrap();
        fs::create_dir_all(root.join("examples/label-reader/expected")).unwrap();
        fs::write(root.join(file), "an older one").unwrap();
        copy(&share.join("examples"), &root.join("examples")).unwrap();
        assert_eq!(fs::read_to_string(root.join(file)).unwrap(), "new");
        let missing = copy(&share.join("components"), &root).unwrap_err();
        assert!(matches!(missing, SetUpError::Copy { .. }), "{missing}");
    }
}
