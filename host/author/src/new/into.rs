//! Adds a component to a release that is already there.
use super::{NewError, Placeholders, at, check_empty, check_name, new_project};
use crate::Language;
use crate::embedded::SDK;
use crate::manifest::FILE;
use hotshoe_trust::World;
use hotshoe_trust::release_toml::ReleaseToml;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The tables of a release.toml whose entries name files.
const WITH_FILES: [&str; 3] = ["components", "data", "models"];

/// What was added to a release.
#[derive(Debug)]
pub struct Added {
    /// The files, as paths below the release's folder, sorted.
    pub files: Vec<PathBuf>,
    /// Tables that the release already had, which the component uses too, such as `[data.rules]`.
    pub shared: Vec<String>,
}

/// Creates a project in a folder `name` of a release's folder, and adds its component, data files and models to the release.toml there. A policy also
/// becomes the last step of the pipeline; for another world the author decides where its step stands.
///
/// # Errors
/// [`NewError`]; nothing is written, except with [`NewError::Io`].
pub fn new_in_release(
    name: &str,
    language: Language,
    world: World,
    release: &Path,
) -> Result<Added, NewError> {
    check_name(name)?;
    let manifest = release.join(FILE);
    let text = fs::read_to_string(&manifest).map_err(at(&manifest))?;
    let invalid = |source| NewError::Release {
        path: manifest.clone(),
        source: Box::new(source),
    };
    let present = ReleaseToml::parse(&text).map_err(invalid)?;
    if present.components.contains_key(name) {
        return Err(NewError::Taken {
            what: format!("[components.{name}]"),
            path: manifest,
        });
    }
    let folder = release.join(name);
    check_empty(&folder)?;
    let mut added = tables(name, language, world)?;
    let mut shared = Vec::new();
    leave_out(&mut added, "data", &mut shared, |name| {
        present.data.contains_key(name)
    });
    leave_out(&mut added, "models", &mut shared, |name| {
        present.models.contains_key(name)
    });
    let mut whole = text.trim_end().to_owned();
    whole.push_str("\n\n# Added by `hotshoe new --into`.\n");
    whole.push_str(&added.to_string());
    ReleaseToml::parse(&whole).map_err(invalid)?;
    let files = new_project(name, language, world, &folder)?;
    let own = folder.join(FILE);
    fs::remove_file(&own).map_err(at(&own))?;
    fs::write(&manifest, whole).map_err(at(&manifest))?;
    let files = files.into_iter().filter(|file| file != Path::new(FILE));
    Ok(Added {
        files: files.map(|file| Path::new(name).join(file)).collect(),
        shared,
    })
}

/// Removes the entries of a table that the release has. The template's code names them, so they cannot have another name.
fn leave_out(
    added: &mut Table,
    table: &str,
    shared: &mut Vec<String>,
    is_present: impl Fn(&str) -> bool,
) {
    let Some(entries) = added.get_mut(table).and_then(Value::as_table_mut) else {
        return;
    };
    entries.retain(|name, _| {
        let present = is_present(name);
        if present {
            shared.push(format!("[{table}.{name}]"));
        }
        !present
    });
    if entries.is_empty() {
        added.remove(table);
    }
}

/// The tables of the template's release.toml that belong to the component, with files relative to the release's folder.
fn tables(name: &str, language: Language, world: World) -> Result<Table, NewError> {
    let path = format!("templates/common/{world}/{FILE}");
    let template = SDK
        .get_file(&path)
        .and_then(include_dir::File::contents_utf8)
        .ok_or(NewError::NoTemplate { language, world })?;
    let filled = Placeholders::new(name, language, world)?.fill(template);
    let mut all: Table =
        toml::from_str(&filled).map_err(|source| NewError::Template { path, source })?;
    all.retain(|key, _| WITH_FILES.contains(&key) || (key == "pipeline" && world == World::Policy));
    for entries in WITH_FILES {
        let entries = all.get_mut(entries).and_then(Value::as_table_mut);
        for entry in entries.into_iter().flat_map(|entries| entries.iter_mut()) {
            prefix(entry.1, name);
        }
    }
    Ok(all)
}

/// Makes the paths of an entry relative to the release's folder.
fn prefix(entry: &mut Value, name: &str) {
    for key in ["file", "source"] {
        if let Some(Value::String(path)) = entry.get_mut(key) {
            *path = if path == "." {
                name.to_owned()
            } else {
                format!("{name}/{path}")
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn first(folder: &Path) -> String {
        new_project("first", Language::C, World::Stage, folder).unwrap();
        fs::read_to_string(folder.join(FILE)).unwrap()
    }

    #[test]
    fn a_policy_is_added_to_a_release_with_all_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let before = first(folder.path());
        let added =
            new_in_release("count", Language::Python, World::Policy, folder.path()).unwrap();
        assert!(added.shared.is_empty());
        assert!(added.files.contains(&PathBuf::from("count/component.py")));
        assert!(!folder.path().join("count").join(FILE).exists());
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.starts_with(before.trim_end()), "{text}");
        let release = ReleaseToml::parse(&text).unwrap();
        let component = release.components.get("count").unwrap();
        assert_eq!(component.world, World::Policy);
        assert_eq!(component.source.as_deref(), Some("count"));
        assert_eq!(component.file, "count/build/count.wasm");
        assert_eq!(component.limits.instances, 48);
        let named = |file: &str| release.files().any(|it| it.file == file);
        assert!(named("count/rules.txt") && named("labels.txt"));
        assert_eq!(release.pipeline.len(), 2);
        assert!(folder.path().join("count/rules.txt").is_file());
    }

    #[test]
    fn what_the_release_has_is_shared_and_a_component_of_that_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let before = first(folder.path());
        let add = |name| new_in_release(name, Language::C, World::Stage, folder.path());
        let error = add("first").unwrap_err();
        assert_eq!(error.name(), "name_taken");
        assert!(error.to_string().contains("[components.first]"), "{error}");
        let text = || fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text(), before);
        // The template's code reads the data `labels` and runs the model `classifier`.
        let added = add("second").unwrap();
        assert_eq!(added.shared, ["[data.labels]", "[models.classifier]"]);
        let release = ReleaseToml::parse(&text()).unwrap();
        assert_eq!(release.components.len(), 2);
        assert_eq!((release.data.len(), release.models.len()), (1, 1));
    }
}
