//! The source files of a project and their compiler options.
use crate::BuildError;
use std::fs;
use std::path::{Path, PathBuf};

/// The options of C sources. Older compilers only warn of an undeclared function, and then the linker fails.
const C: [&str; 2] = ["-std=c17", "-Werror=implicit-function-declaration"];
/// The options of C++ sources. Not every host supports exceptions.
const CPP: [&str; 3] = ["-std=c++20", "-fno-exceptions", "-fno-rtti"];
const WARNINGS: [&str; 2] = ["-Wall", "-Wextra"];

/// The language of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    C,
    Cpp,
}

/// One file to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The path, as it appears in the compiler's messages.
    pub(super) path: PathBuf,
    pub(super) dialect: Dialect,
    /// Whether to show warnings; not for generated files.
    warn: bool,
}

impl Source {
    pub(super) fn of_c(path: PathBuf) -> Self {
        Self {
            path,
            dialect: Dialect::C,
            warn: true,
        }
    }

    pub(super) fn of_cpp(path: PathBuf) -> Self {
        Self {
            path,
            dialect: Dialect::Cpp,
            warn: true,
        }
    }

    /// A C source that was generated.
    pub(super) fn silent(path: PathBuf) -> Self {
        Self {
            path,
            dialect: Dialect::C,
            warn: false,
        }
    }

    pub(super) fn options(&self) -> Vec<&'static str> {
        let mut options = match self.dialect {
            Dialect::C => C.to_vec(),
            Dialect::Cpp => CPP.to_vec(),
        };
        if self.warn {
            options.extend(WARNINGS);
        } else {
            options.push("-w");
        }
        options
    }
}

/// The sources in a project's folder and in its `src`, as paths below the folder, sorted.
pub(super) fn find(folder: &Path) -> Result<Vec<Source>, BuildError> {
    let mut found = Vec::new();
    for below in ["", "src"] {
        let place = folder.join(below);
        if !place.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&place).map_err(BuildError::io(&place))? {
            let name = entry.map_err(BuildError::io(&place))?.file_name();
            let path = Path::new(below).join(name);
            found.extend(source(path));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if found.is_empty() {
        return Err(BuildError::Sources {
            what: format!("{} contains no C or C++ source", folder.display()),
            advice: "put .c, .cc, .cpp or .cxx files there or into src/".to_owned(),
        });
    }
    Ok(found)
}

fn source(path: PathBuf) -> Option<Source> {
    match path.extension()?.to_str()? {
        "c" => Some(Source::of_c(path)),
        "cc" | "cpp" | "cxx" => Some(Source::of_cpp(path)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn sources_are_found_in_the_folder_and_in_src_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "policy.cpp",
            "policy.hpp",
            "src/rules.c",
            "hotshoe-sdk/c/hotshoe.c",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = find(folder.path()).unwrap();
        let expected = [
            Source::of_cpp("policy.cpp".into()),
            Source::of_c("src/rules.c".into()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_without_sources_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = find(folder.path()).unwrap_err();
        assert!(matches!(error, BuildError::Sources { .. }), "{error}");
    }
}
