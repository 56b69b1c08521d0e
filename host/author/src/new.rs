//! Creates a project from the templates of a language and a world.
mod into;

pub use into::{Added, new_in_release};

use crate::Language;
use crate::embedded::{self, SDK, WIT};
use crate::project::vendored_sdk;
use hotshoe_trust::World;
use hotshoe_trust::toml_file::TomlError;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The most characters of a project's name, which is also the name of the component and the release.
const MAX_NAME_LEN: usize = 64;
/// A template with this name is appended to the project's `.gitignore`.
const IGNORE: &str = "gitignore";
/// The extension of some templates, which hides them from tools that look for the file name.
const TEMPLATE: &str = ".template";

/// Why a project could not be created.
#[derive(Debug, Error)]
pub enum NewError {
    /// The name is not valid.
    #[error(
        "`{0}` is not a valid name for a component: use 1 to {MAX_NAME_LEN} lower-case letters, digits and single hyphens, starting with a letter, such as `count-people`"
    )]
    Name(String),
    /// The name is used by a dependency of the project.
    #[error("`{0}` is used by a part of the SDK; choose another name")]
    Reserved(String),
    /// The folder is not empty.
    #[error("{0} is not empty; give another folder with --dir, or empty it")]
    NotEmpty(PathBuf),
    /// The release that it is added to is not valid.
    #[error("cannot add the component to {path}")]
    Release {
        /// The `release.toml`.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<TomlError>,
    },
    /// The release that it is added to has a component of that name.
    #[error("{path} already has {what}; rename it, or choose another name")]
    Taken {
        /// The table.
        what: String,
        /// The `release.toml`.
        path: PathBuf,
    },
    /// There is no template.
    #[error("there is no template for the world {world} in {language}")]
    NoTemplate {
        /// The language.
        language: Language,
        /// The world.
        world: World,
    },
    /// An embedded template is damaged.
    #[error("the template {path} cannot be used")]
    Template {
        /// The path below `sdk/templates`.
        path: String,
        /// Why.
        #[source]
        source: toml::de::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl NewError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Name(_) | Self::Reserved(_) => "bad_name",
            Self::NotEmpty(_) => "not_empty",
            Self::Release { source, .. } => source.name(),
            Self::Taken { .. } => "name_taken",
            Self::NoTemplate { .. } | Self::Template { .. } => "no_template",
            Self::Io { .. } => "io",
        }
    }
}

/// Additional needs of components in a language: its `needs.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Needs {
    grants: Vec<String>,
    memory_mib: Option<u32>,
    deadline_ms: Option<u32>,
    instances: Option<u32>,
}

/// Creates a project and returns its files, as paths below `folder`, sorted.
///
/// # Errors
/// [`NewError`]; nothing is written, except with [`NewError::Io`].
pub fn new_project(
    name: &str,
    language: Language,
    world: World,
    folder: &Path,
) -> Result<Vec<PathBuf>, NewError> {
    check_name(name)?;
    check_empty(folder)?;
    let placeholders = Placeholders::new(name, language, world)?;
    let templates = format!("templates/{}", language.word());
    let own = embedded::files(&SDK, &format!("{templates}/{world}"));
    if own.is_empty() {
        return Err(NewError::NoTemplate { language, world });
    }
    let mut writer = ProjectWriter {
        folder,
        files: Vec::new(),
        ignored: ".hotshoe/\nbuild/\n# Secret keys, and what pack makes.\n*.key\n/release/\n"
            .to_owned(),
    };
    for file in embedded::files(&WIT, "") {
        writer.write(&Path::new("wit").join(file.path), file.contents)?;
    }
    for file in embedded::files(&SDK, language.sdk()) {
        writer.write(&vendored_sdk(language).join(file.path), file.contents)?;
    }
    let shared = embedded::files(&SDK, &format!("templates/common/{world}"));
    let languages = embedded::files(&SDK, &format!("{templates}/common"));
    for file in shared.into_iter().chain(languages).chain(own) {
        writer.template(file, &placeholders)?;
    }
    let ignored = std::mem::take(&mut writer.ignored);
    writer.write(Path::new(".gitignore"), ignored.as_bytes())?;
    let mut files = writer.files;
    files.sort();
    files.dedup();
    Ok(files)
}

fn check_name(name: &str) -> Result<(), NewError> {
    let parts_are_plain = name.split('-').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    });
    let letter_first = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !parts_are_plain || !letter_first || name.len() > MAX_NAME_LEN {
        return Err(NewError::Name(name.chars().take(MAX_NAME_LEN).collect()));
    }
    if ["hotshoe-sdk", "wit-bindgen", "core", "std", "test"].contains(&name) {
        return Err(NewError::Reserved(name.to_owned()));
    }
    Ok(())
}

fn check_empty(folder: &Path) -> Result<(), NewError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(NewError::NotEmpty(folder.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(folder)(error)),
    }
}

/// The values of the placeholders in templates.
struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    fn new(name: &str, language: Language, world: World) -> Result<Self, NewError> {
        let templates = format!("templates/{}", language.word());
        let path = format!("{templates}/needs.toml");
        let needs: Needs = match SDK.get_file(&path) {
            Some(file) => toml::from_str(file.contents_utf8().unwrap_or_default())
                .map_err(|source| NewError::Template { path, source })?,
            None => Needs::default(),
        };
        let notes = SDK
            .get_file(format!("{templates}/readme.md"))
            .and_then(include_dir::File::contents_utf8)
            .unwrap_or_default();
        let grants: String = needs
            .grants
            .iter()
            .map(|grant| format!(", \"{grant}\""))
            .collect();
        let limits: Vec<String> = [
            ("memory-mib", needs.memory_mib),
            ("deadline-ms", needs.deadline_ms),
            ("instances", needs.instances),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", value?)))
        .collect();
        let limits = if limits.is_empty() {
            String::new()
        } else {
            format!("\nlimits = {{ {} }}", limits.join(", "))
        };
        Ok(Self(vec![
            ("{{language-notes}}", notes.to_owned()),
            ("{{name}}", name.to_owned()),
            ("{{name_}}", name.replace('-', "_")),
            ("{{world}}", world.to_string()),
            ("{{lang}}", language.word().to_owned()),
            ("{{language}}", language.title().to_owned()),
            ("{{grants}}", grants),
            ("{{limits}}", limits),
        ]))
    }

    /// Replaces placeholders. Notes come first, because they contain placeholders too.
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (word, with)| {
            text.replace(word, with)
        })
    }
}

/// Writes the files of a project.
struct ProjectWriter<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
    ignored: String,
}

impl ProjectWriter<'_> {
    fn template(
        &mut self,
        file: embedded::File,
        placeholders: &Placeholders,
    ) -> Result<(), NewError> {
        let filled = std::str::from_utf8(file.contents).map(|text| placeholders.fill(text));
        if file.path == IGNORE {
            self.ignored.push_str(&filled.unwrap_or_default());
            return Ok(());
        }
        let path = placeholders.fill(file.path.strip_suffix(TEMPLATE).unwrap_or(file.path));
        // Binary files (pictures, models) have no placeholders.
        let bytes = filled.map_or_else(|_| file.contents.to_vec(), String::into_bytes);
        self.write(Path::new(&path), &bytes)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), NewError> {
        let place = self.folder.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::write(&place, bytes).map_err(at(&place))?;
        self.files.push(path.to_owned());
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> NewError {
    let path = path.to_owned();
    move |source| NewError::Io { path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const WORLDS: [World; 4] = [
        World::Preprocessor,
        World::Postprocessor,
        World::Policy,
        World::Stage,
    ];

    #[test]
    fn every_template_fills_all_placeholders_and_has_a_valid_release() {
        for language in Language::ALL {
            for world in WORLDS {
                let folder = tempfile::tempdir().unwrap();
                let files = new_project("my-part", language, world, folder.path()).unwrap();
                for file in &files {
                    if file.starts_with("hotshoe-sdk") || file.starts_with("wit") {
                        continue;
                    }
                    let bytes = fs::read(folder.path().join(file)).unwrap();
                    let text = String::from_utf8_lossy(&bytes);
                    for word in ["{{name", "{{lang", "{{world", "{{grants", "{{limits"] {
                        assert!(
                            !text.contains(word),
                            "{language} {}: {word}",
                            file.display()
                        );
                    }
                }
                let text = fs::read_to_string(folder.path().join("release.toml")).unwrap();
                let release = hotshoe_trust::release_toml::ReleaseToml::parse(&text).unwrap();
                let component = release.components.get("my-part").unwrap();
                assert_eq!(component.world, world);
                assert_eq!(component.source.as_deref(), Some("."));
                assert_eq!(Language::detect(folder.path()).unwrap(), language);
                for file in release.files().filter(|file| file.table != "components") {
                    assert!(files.contains(&PathBuf::from(file.file)), "{}", file.file);
                }
            }
        }
    }

    #[test]
    fn a_folder_in_use_and_a_bad_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let new = |name: &str| new_project(name, Language::Rust, World::Policy, folder.path());
        for name in [
            "",
            "Policy",
            "my--policy",
            "-a",
            "a-",
            "1a",
            "a_b",
            "a/b",
            "ä",
        ] {
            assert!(matches!(new(name), Err(NewError::Name(_))), "{name}");
        }
        assert!(matches!(new("hotshoe-sdk"), Err(NewError::Reserved(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("notes"), "mine").unwrap();
        assert!(matches!(new("my-policy"), Err(NewError::NotEmpty(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
