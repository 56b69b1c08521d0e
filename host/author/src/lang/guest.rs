//! The world of one build, for bundlers that make a component import all of its world: only the interfaces that the sources use.
//!
//! Language runtimes need WASI even if a component does not, so their bundlers can replace all imports of `wasi` by stubs, including
//! `wasi:nn`. During bundling, that package therefore has another name of the same length; the component gets the real name back.
mod exports;
mod result_type;
mod source_digest;

pub(super) use exports::without_export;
pub(super) use source_digest::SourceDigest;

use crate::{BuildError, Project};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use wit_parser::{InterfaceId, PackageId, Resolve, WorldItem};

/// The world's name. It must differ from the author's modules.
pub(super) const WORLD: &str = "hotshoe-guest";
/// A second world that imports everything, for the types in editors.
pub(super) const WHOLE_WORLD: &str = "hotshoe-all";
/// The package `wasi:nn`, and its temporary name of the same length.
const NN: (&str, &str) = ("wasi:nn", "w4si:nn");

/// An interface that sources may import.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    /// The package, without its version: `hotshoe:pipeline`.
    pub(super) package: String,
    /// The name, such as `vision`.
    pub(super) name: String,
    /// The full, possibly temporary name: `hotshoe:pipeline/vision@0.1.0`.
    pub(super) id: String,
    /// Its id among the WIT files.
    pub(super) found: InterfaceId,
}

/// The function that the world exports.
#[derive(Debug, Clone)]
pub(super) struct Exported {
    /// The full name of its interface.
    id: String,
    /// Its interface: `preprocess`.
    pub(super) interface: String,
    /// Its name: `prepare`.
    pub(super) function: String,
    /// The names of its parameters: `sample, outputs`.
    pub(super) parameters: String,
    /// Itself, and its interface's id, among the WIT files.
    found: wit_parser::Function,
    found_in: InterfaceId,
}

/// The WIT files of a project, with the grants of its release.
pub(super) struct Guest {
    pub(super) resolve: Resolve,
    pub(super) interfaces: Vec<Interface>,
    pub(super) exported: Exported,
    /// Whether the component gets the real WASI; otherwise stubs that trap.
    pub(super) wasi: bool,
    /// Whether its output can go to the log.
    pub(super) log: bool,
    /// Whether it may ask the host for the time.
    pub(super) clock: bool,
    /// The text of all WIT files, to detect changes.
    pub(super) text: String,
    /// The folder of WIT files of this build.
    folder: PathBuf,
}

impl Guest {
    /// Reads the project's WIT files and release. `change` adapts the exported interfaces for a bundler.
    pub(super) fn read(project: &Project, change: fn(&str) -> String) -> Result<Self, BuildError> {
        let wit = project.wit()?;
        let folder = project.scratch()?.join("wit");
        let failed = |message: String| BuildError::Bindings {
            folder: wit.clone(),
            message,
        };
        let text = copy_wit(&wit, &folder.join("deps"), change)?;
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_dir(folder.join("deps").join(PIPELINE))
            .map_err(|error| failed(format!("{error:#}")))?;
        for entry in entries(&folder.join("deps"))? {
            if entry.file_name().is_some_and(|name| name != PIPELINE) {
                resolve
                    .push_dir(&entry)
                    .map_err(|error| failed(format!("{error:#}")))?;
            }
        }
        let exported =
            exported(&resolve, package, &project.world.to_string()).ok_or_else(|| {
                failed(format!(
                    "there is no world {} that exports a function",
                    project.world
                ))
            })?;
        let grants = grants(project);
        Ok(Self {
            interfaces: interfaces(&resolve),
            resolve,
            exported,
            wasi: grants.contains("wasi"),
            log: grants.contains("log"),
            clock: grants.contains("clock"),
            text,
            folder,
        })
    }

    /// The exported function, with its interface.
    pub(super) const fn exported_function(&self) -> (InterfaceId, &wit_parser::Function) {
        (self.exported.found_in, &self.exported.found)
    }

    /// The type that the exported function returns, as JSON for the guard of the SDK; `field` names a record's field as the language does.
    pub(super) fn result_type(&self, field: fn(&str) -> String) -> Value {
        result_type::of(&self.resolve, &self.exported.found, field)
    }

    /// Writes the world that imports these interfaces, and returns its folder.
    pub(super) fn write(&self, uses: &BTreeSet<String>) -> Result<PathBuf, BuildError> {
        let world = |name: &str, is_in: &dyn Fn(&Interface) -> bool| {
            let imports = self.interfaces.iter().filter(|interface| is_in(interface));
            let lines: String = imports
                .map(|interface| format!("  import {};\n", interface.id))
                .collect();
            format!(
                "\nworld {name} {{\n{lines}  export {};\n}}\n",
                self.exported.id
            )
        };
        let mut text = "package hotshoe:component;\n".to_owned();
        text.push_str(&world(WORLD, &|interface| uses.contains(&interface.id)));
        text.push_str(&world(WHOLE_WORLD, &|_| true));
        let path = self.folder.join("guest.wit");
        write_changed(&path, text.as_bytes())?;
        Ok(self.folder.clone())
    }

    /// Restores the name of `wasi:nn`.
    pub(super) fn finish(mut component: Vec<u8>) -> Vec<u8> {
        let (own, at_work) = (NN.0.as_bytes(), NN.1.as_bytes());
        let mut at = 0;
        while let Some(rest) = component.get_mut(at..at + at_work.len()) {
            if rest == at_work {
                rest.copy_from_slice(own);
            }
            at += 1;
        }
        component
    }
}

/// The file of the interfaces that are exported.
const EXPORTS: &str = "worlds.wit";
/// The folder of `hotshoe:pipeline` among the dependencies.
const PIPELINE: &str = "hotshoe-pipeline";

/// Copies a project's WIT files to `deps/hotshoe-pipeline`, `deps/wasi-nn` and so on, and returns all their text.
fn copy_wit(from: &Path, deps: &Path, change: fn(&str) -> String) -> Result<String, BuildError> {
    let mut all = String::new();
    let mut packages = vec![(from.to_owned(), deps.join(PIPELINE))];
    let theirs = from.join("deps");
    if theirs.is_dir() {
        for package in entries(&theirs)? {
            if let Some(name) = package.file_name() {
                let to = deps.join(name);
                packages.push((package, to));
            }
        }
    }
    for (from, to) in packages {
        fs::create_dir_all(&to).map_err(BuildError::io(&to))?;
        for file in entries(&from)? {
            let Some(name) = file
                .file_name()
                .filter(|_| file.extension().is_some_and(|it| it == "wit"))
            else {
                continue;
            };
            let text = fs::read_to_string(&file).map_err(BuildError::io(&file))?;
            let mut text = text.replace(NN.0, NN.1);
            if name == EXPORTS {
                text = change(&text);
            }
            write_changed(&to.join(name), text.as_bytes())?;
            all.push_str(&text);
        }
    }
    Ok(all)
}

/// Whether a line of one of our scripts is a warning for the author.
pub(super) fn is_warning(line: &str) -> bool {
    line.starts_with("warning: ")
}

/// Writes a file unless it is equal. Returns whether it was written.
pub(super) fn write_changed(path: &Path, bytes: &[u8]) -> Result<bool, BuildError> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(BuildError::io(parent))?;
    }
    fs::write(path, bytes).map_err(BuildError::io(path))?;
    Ok(true)
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        paths.sort();
        Ok(paths)
    };
    read().map_err(BuildError::io(folder))
}

fn interfaces(resolve: &Resolve) -> Vec<Interface> {
    let exported: BTreeSet<InterfaceId> = resolve
        .worlds
        .iter()
        .flat_map(|(_, world)| world.exports.values())
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => Some(*id),
            WorldItem::Function(_) | WorldItem::Type { .. } => None,
        })
        .collect();
    let packages = resolve.packages.iter().map(|(_, package)| package);
    packages
        .flat_map(|package| {
            let imported = package
                .interfaces
                .iter()
                .filter(|(_, id)| !exported.contains(id));
            imported.map(|(name, id)| Interface {
                package: format!("{}:{}", package.name.namespace, package.name.name),
                name: name.clone(),
                id: package.name.interface_id(name),
                found: *id,
            })
        })
        .collect()
}

fn exported(resolve: &Resolve, package: PackageId, world: &str) -> Option<Exported> {
    let package = resolve.packages.get(package)?;
    let world = *package.worlds.get(world)?;
    let item = resolve.worlds.get(world)?.exports.values().next()?;
    let WorldItem::Interface { id, .. } = item else {
        return None;
    };
    let interface = resolve.interfaces.get(*id)?;
    let function = interface.functions.values().next()?;
    let parameters: Vec<&str> = function.params.iter().map(|it| it.name.as_str()).collect();
    let name = interface.name.clone()?;
    Some(Exported {
        id: package.name.interface_id(&name),
        interface: name,
        function: function.name.clone(),
        parameters: parameters.join(", "),
        found: function.clone(),
        found_in: *id,
    })
}

/// The grants of the component; empty without a readable release, which is reported elsewhere.
fn grants(project: &Project) -> BTreeSet<String> {
    let text = fs::read_to_string(project.release.join("release.toml")).unwrap_or_default();
    let release: toml::Table = toml::from_str(&text).unwrap_or_default();
    let component = release
        .get("components")
        .and_then(|components| components.get(&project.name));
    let grants = component.and_then(|it| it.get("grants"));
    let names = grants.and_then(toml::Value::as_array).into_iter().flatten();
    names
        .filter_map(toml::Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_wasi_nn_is_restored() {
        let found = Guest::finish(b"a w4si:nn/graph w4si:n w4si:nn".to_vec());
        assert_eq!(found, b"a wasi:nn/graph w4si:n wasi:nn");
    }
}
