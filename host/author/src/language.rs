//! The languages of components, and their detection in a folder.
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A language with templates and builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Compiled by cargo.
    Rust,
    /// Compiled by clang, or by zig's.
    C,
    /// Compiled by clang, or by zig's.
    Cpp,
    /// Bundled with its interpreter.
    Python,
    /// Bundled with its engine.
    #[serde(rename = "js")]
    JavaScript,
    /// Compiled to JavaScript first.
    #[serde(rename = "ts")]
    TypeScript,
    /// Compiled by the standard Go compiler.
    Go,
}

impl Language {
    /// All languages, in the order of help texts.
    pub const ALL: [Self; 7] = [
        Self::Rust,
        Self::C,
        Self::Cpp,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
        Self::Go,
    ];

    /// The name on the command line, which is also the folder below `sdk/templates`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Python => "python",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Go => "go",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Go => "Go",
        }
    }

    /// The language with this name on the command line.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.word() == word)
    }

    /// The folder below `sdk`, and below `hotshoe-sdk` of a project.
    pub const fn sdk(self) -> &'static str {
        match self {
            Self::Cpp => "c",
            Self::TypeScript => "js",
            other => other.word(),
        }
    }

    /// Detects the language of a folder of sources.
    ///
    /// # Errors
    /// [`DetectError`]: there are no sources, or sources in several languages.
    pub fn detect(folder: &Path) -> Result<Self, DetectError> {
        let names = names(folder)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        // A file of the language's own tools is unambiguous.
        if has("Cargo.toml") {
            return Ok(Self::Rust);
        }
        if has("go.mod") {
            return Ok(Self::Go);
        }
        if has("tsconfig.json") {
            return Ok(Self::TypeScript);
        }
        let mut found: Vec<Self> = names.iter().filter_map(|name| of_source(name)).collect();
        found.sort();
        found.dedup();
        // C and C++ together are a C++ program.
        if found.contains(&Self::Cpp) {
            found.retain(|language| *language != Self::C);
        }
        // A JavaScript project may have type declarations, and a TypeScript project scripts.
        if found.contains(&Self::TypeScript) {
            found.retain(|language| *language != Self::JavaScript);
        }
        match found.as_slice() {
            [language] => Ok(*language),
            [] => Err(DetectError::Nothing(folder.to_owned())),
            several => Err(DetectError::Several {
                folder: folder.to_owned(),
                languages: several
                    .iter()
                    .map(|it| it.word())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why the language of a folder is unknown.
#[derive(Debug, Error)]
pub enum DetectError {
    /// The folder cannot be read.
    #[error("cannot read {folder}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// There are no sources.
    #[error(
        "{0} contains no source of a component: no Cargo.toml, go.mod or tsconfig.json, and no .c, .cpp, .py, .js or .ts file, there or in src/"
    )]
    Nothing(PathBuf),
    /// There are sources in several languages.
    #[error(
        "{folder} contains sources in several languages ({languages}); give each component its own folder"
    )]
    Several {
        /// The folder.
        folder: PathBuf,
        /// The languages.
        languages: String,
    },
}

/// The language of a source file, by its name.
fn of_source(name: &str) -> Option<Language> {
    // Type declarations and configuration files are not sources.
    if name.ends_with(".d.ts") || name.contains(".config.") {
        return None;
    }
    match Path::new(name).extension()?.to_str()? {
        "c" => Some(Language::C),
        "cc" | "cpp" | "cxx" => Some(Language::Cpp),
        "py" => Some(Language::Python),
        "js" | "mjs" => Some(Language::JavaScript),
        "ts" | "mts" => Some(Language::TypeScript),
        "go" => Some(Language::Go),
        _ => None,
    }
}

/// The names of the files in a folder and in its `src`.
fn names(folder: &Path) -> Result<Vec<String>, DetectError> {
    let read = |folder: &Path| -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    };
    let failed = |source| DetectError::Io {
        folder: folder.to_owned(),
        source,
    };
    let mut all = read(folder).map_err(failed)?;
    match read(&folder.join("src")) {
        Ok(names) => all.extend(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn detected(files: &[&str]) -> Result<Language, DetectError> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Language::detect(folder.path())
    }

    #[test]
    fn the_language_of_a_folder_is_detected() {
        for (files, language) in [
            (&["Cargo.toml", "helper.py"][..], Language::Rust),
            (&["go.mod", "main.go"], Language::Go),
            (&["policy.c", "rules.c"], Language::C),
            (&["src/policy.cpp", "src/rules.c"], Language::Cpp),
            (&["app.py"], Language::Python),
            (
                &["package.json", "policy.js", "policy.d.ts"],
                Language::JavaScript,
            ),
            (&["policy.ts", "tsconfig.json"], Language::TypeScript),
        ] {
            assert_eq!(detected(files).unwrap(), language, "{files:?}");
        }
    }

    #[test]
    fn no_language_and_several_are_errors() {
        let text = detected(&["README.md"]).unwrap_err().to_string();
        assert!(text.contains("no source of a component"), "{text}");
        let text = detected(&["a.py", "b.c"]).unwrap_err().to_string();
        assert!(text.contains("c, python"), "{text}");
        let gone = Language::detect(Path::new("no-such-folder"));
        assert!(matches!(gone, Err(DetectError::Io { .. })));
    }

    #[test]
    fn every_word_names_its_language() {
        for language in Language::ALL {
            assert_eq!(Language::of(language.word()), Some(language));
        }
        assert_eq!(Language::of("cobol"), None);
    }
}
