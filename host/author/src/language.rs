//! The languages that components are written in, and which one a folder holds.
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A language that `hotshoe` has templates for and can build.
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
    /// Made JavaScript first.
    #[serde(rename = "ts")]
    TypeScript,
    /// Compiled by the ordinary Go compiler.
    Go,
}

impl Language {
    /// All, in the order in which help texts name them.
    pub const ALL: [Self; 7] = [
        Self::Rust,
        Self::C,
        Self::Cpp,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
        Self::Go,
    ];

    /// The word for it on the command line, which is also its folder below `sdk/templates`.
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

    /// Its name, as people write it.
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

    /// The language of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.word() == word)
    }

    /// Its folder below `sdk`, and below `hotshoe-sdk` of a project.
    pub const fn sdk(self) -> &'static str {
        match self {
            Self::Cpp => "c",
            Self::TypeScript => "js",
            other => other.word(),
        }
    }

    /// Finds out what a folder of sources is written in.
    ///
    /// # Errors
    /// [`DetectError`] where nothing, or more than one thing, can be meant.
    pub fn detect(folder: &Path) -> Result<Self, DetectError> {
        let names = names(folder)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        // A file that a language's own tools ask for says it for certain.
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
        // C beside C++ is a C++ program.
        if found.contains(&Self::Cpp) {
            found.retain(|language| *language != Self::C);
        }
        // A checked JavaScript project brings types, and a TypeScript one scripts.
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

/// Why the language of a folder is not known.
#[derive(Debug, Error)]
pub enum DetectError {
    /// It cannot be read.
    #[error("cannot read {folder}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No source is there.
    #[error(
        "{0} holds no source of a component: no Cargo.toml, go.mod or tsconfig.json, and neither there nor in src/ a file .c, .cpp, .py, .js or .ts"
    )]
    Nothing(PathBuf),
    /// Sources of several languages are there.
    #[error(
        "{folder} holds sources in several languages ({languages}); give each component a folder of its own"
    )]
    Several {
        /// The folder.
        folder: PathBuf,
        /// Their words.
        languages: String,
    },
}

/// The language of a source file, by its name.
fn of_source(name: &str) -> Option<Language> {
    // Types alone, and the tools' own settings, are no program.
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
    fn a_folder_shows_its_language() {
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
    fn nothing_and_several_are_told() {
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
