//! This program: its digest, and the crates that `cargo auditable` wrote into it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use auditable_info::{Limits, audit_info_from_file};
use hotshoe_trust::{Digest, Hasher};
use serde_json::Value;

use super::bom::{Bom, Component, Composition, Dependency, Kind, PROGRAM};

/// Largest program that is read.
const MAX_PROGRAM_BYTES: usize = 1 << 30;
/// Largest list of crates.
const MAX_LIST_BYTES: usize = 8 << 20;

/// Why this program could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SbomError {
    /// Its file could not be found or read.
    #[error("this program's file cannot be read{}", at(path.as_deref()))]
    Program {
        /// The file; `None` if it is not known.
        path: Option<PathBuf>,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// Its list of crates is damaged.
    #[error("the list of crates in this program is damaged; install it again")]
    List(#[source] auditable_info::Error),
}

impl SbomError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Program { .. } => "program_unreadable",
            Self::List(_) => "crates_damaged",
        }
    }
}

fn at(path: Option<&Path>) -> String {
    path.map(|path| format!(": {}", path.display()))
        .unwrap_or_default()
}

/// Adds this program's digest and crates. Returns whether the crates are known.
pub(super) fn add(bom: &mut Bom) -> Result<bool, SbomError> {
    let path =
        std::env::current_exe().map_err(|source| SbomError::Program { path: None, source })?;
    let digest = digest(&path).map_err(|source| SbomError::Program {
        path: Some(path.clone()),
        source,
    })?;
    bom.set_program_digest(digest);
    let limits = Limits {
        input_file_size: MAX_PROGRAM_BYTES,
        decompressed_json_size: MAX_LIST_BYTES,
    };
    let list = match audit_info_from_file(&path, limits) {
        Ok(list) => serde_json::to_value(list).unwrap_or_default(),
        Err(auditable_info::Error::NoAuditData) => {
            compose(bom, "unknown");
            return Ok(false);
        }
        Err(error) => return Err(SbomError::List(error)),
    };
    add_crates(bom, &list);
    compose(bom, "complete");
    Ok(true)
}

fn compose(bom: &mut Bom, aggregate: &'static str) {
    bom.compositions.push(Composition {
        aggregate,
        dependencies: vec![PROGRAM.to_owned()],
    });
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
            return Ok(hasher.finish());
        };
        hasher.update(read);
    }
}

/// Adds the crates of a list of `cargo auditable`, and what each needs. Crates that only the build needs are not in the program.
fn add_crates(bom: &mut Bom, list: &Value) {
    let none = Vec::new();
    let crates = list["packages"].as_array().unwrap_or(&none);
    let is_in = |it: &Value| it["kind"].as_str().is_none_or(|kind| kind == "runtime");
    for it in crates.iter().filter(|it| is_in(it)) {
        let reference = reference(it);
        if reference != PROGRAM {
            bom.components.push(component(it, reference.clone()));
        }
        let needs = it["dependencies"].as_array().unwrap_or(&none);
        let needed = needs
            .iter()
            .filter_map(|at| crates.get(usize::try_from(at.as_u64()?).ok()?))
            .filter(|it| is_in(it));
        bom.dependencies.push(Dependency {
            reference,
            depends_on: needed.map(self::reference).collect(),
        });
    }
}

fn component(package: &Value, reference: String) -> Component {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let (name, version, source) = (text("name"), text("version"), text("source"));
    let purl = (source == "crates.io").then(|| format!("pkg:cargo/{name}@{version}"));
    Component {
        version: Some(version),
        purl,
        ..Component::new(Kind::Library, reference, name)
    }
    .with("hotshoe:source", source)
}

fn reference(package: &Value) -> String {
    if package["root"] == true {
        return PROGRAM.to_owned();
    }
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    format!("cargo:{}@{}", text("name"), text("version"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use hotshoe_trust::Time;
    use serde_json::json;

    #[test]
    fn crates_of_the_build_are_left_out() {
        let list = json!({"packages": [
            {"name": "adler2", "version": "2.0.1", "source": "crates.io"},
            {"name": "cc", "version": "1.2.0", "source": "crates.io", "kind": "build"},
            {"name": "hotshoe", "version": "0.1.0", "source": "local", "root": true, "dependencies": [0, 1, 3]},
            {"name": "hotshoe-base", "version": "0.1.0", "source": "local"},
        ]});
        let mut bom = Bom::new(Time::UNIX_EPOCH);
        add_crates(&mut bom, &list);
        let json = serde_json::to_value(&bom).unwrap();
        let names: Vec<_> = bom.components.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["adler2", "hotshoe-base"]);
        assert_eq!(json["components"][0]["purl"], "pkg:cargo/adler2@2.0.1");
        assert!(json["components"][1].get("purl").is_none());
        assert_eq!(
            json["dependencies"][1],
            json!({"ref": "hotshoe", "dependsOn": ["cargo:adler2@2.0.1", "cargo:hotshoe-base@0.1.0"]})
        );
        assert_eq!(json["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_program_without_a_list_has_a_digest_and_an_unknown_composition() {
        // Cargo's own build of this test has no list.
        let mut bom = Bom::new(Time::UNIX_EPOCH);
        assert!(!add(&mut bom).unwrap());
        let json = serde_json::to_value(&bom).unwrap();
        assert_eq!(json["compositions"][0]["aggregate"], "unknown");
        let digest = &json["metadata"]["component"]["hashes"][0];
        assert_eq!(digest["alg"], "SHA-256");
        assert_eq!(digest["content"].as_str().unwrap().len(), 64);
    }
}
