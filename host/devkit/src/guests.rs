//! The components that ship with Hotshoe: compiled by cargo, encoded and checked, unless nothing has changed.
use crate::files;
use crate::process::{self, CommandError};
use crate::progress::{Progress, Task};
use crate::toolchain::{Toolchain, ToolchainChoice};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

mod encode;

/// The version of the build and encoding steps, so that components from older steps are rebuilt.
const RECIPE: u32 = 1;
/// The folders of all sources.
const SOURCES: [&str; 7] = [
    "guests",
    "sdk/rust",
    "wit",
    "examples/label-reader",
    "examples/privacy-camera",
    "examples/voice-activity",
    "examples/wasi-nn-classic",
];
const STATE: &str = "built.json";

/// Why the components could not be built.
#[derive(Debug, Error)]
pub enum GuestError {
    /// The sources could not be read, or a component not written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// Cargo failed.
    #[error("cargo could not build the workspace guests/")]
    Build(#[source] CommandError),
    /// Cargo built no component.
    #[error("the workspace guests/ contains no crate of type cdylib")]
    Nothing,
    /// Cargo's output cannot be encoded as a component.
    #[error("{component} cannot be encoded as a component: {message}")]
    Encode {
        /// The component.
        component: String,
        /// Why, outermost first.
        message: String,
    },
    /// A component of Hotshoe imports WASI other than `wasi:nn`.
    #[error(
        "{component} imports {import}; the components that ship with Hotshoe may import no WASI except wasi:nn"
    )]
    ImportsWasi {
        /// The component.
        component: String,
        /// The import.
        import: String,
    },
}

/// The record of a finished build.
#[derive(Debug, Serialize, Deserialize)]
struct BuildRecord {
    /// The digest of the sources and the recipe.
    fingerprint: String,
    /// The toolchain that was used, for people.
    toolchain: String,
    components: BTreeMap<String, ComponentRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ComponentRecord {
    size: u64,
    sha256: String,
    imports: Vec<String>,
}

/// The folder of encoded components of a checkout.
pub fn folder(root: &Path) -> PathBuf {
    root.join("target").join("guests")
}

/// The names of the components, if all exist and are built from the current sources.
pub fn current(root: &Path, choice: ToolchainChoice) -> Result<Option<Vec<String>>, GuestError> {
    let folder = folder(root);
    let Some(build_record) = fs::read(folder.join(STATE))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<BuildRecord>(&bytes).ok())
    else {
        return Ok(None);
    };
    let whole = build_record.fingerprint == fingerprint(root, choice)?
        && build_record.components.iter().all(|(name, record)| {
            files::holds(&folder.join(file_name(name)), record.size, &record.sha256)
        });
    Ok(whole.then(|| build_record.components.into_keys().collect()))
}

/// Builds and encodes the components. Returns their names, sorted.
pub fn build(
    root: &Path,
    choice: ToolchainChoice,
    toolchain: &Toolchain,
    progress: &Progress,
) -> Result<Vec<String>, GuestError> {
    if let Some(names) = current(root, choice)? {
        return Ok(names);
    }
    let task = progress.spinner("building the components for WebAssembly");
    let fingerprint = fingerprint(root, choice)?;
    let modules = compile(root, toolchain, &task)?;
    if modules.is_empty() {
        return Err(GuestError::Nothing);
    }
    let folder = folder(root);
    let mut components = BTreeMap::new();
    for (name, module) in modules {
        task.detail(&name);
        let (bytes, imports) = encode::component(&name, &fs::read(&module).map_err(at(&module))?)?;
        let path = folder.join(file_name(&name));
        let record = ComponentRecord {
            size: bytes.len() as u64,
            sha256: files::sha256(&bytes),
            imports,
        };
        if !files::holds(&path, record.size, &record.sha256) {
            files::write_whole(&path, &bytes).map_err(at(&path))?;
        }
        components.insert(name, record);
    }
    remove_others(&folder, &components)?;
    let names: Vec<String> = components.keys().cloned().collect();
    let build_record = BuildRecord {
        fingerprint,
        toolchain: toolchain.name().to_owned(),
        components,
    };
    let path = folder.join(STATE);
    let bytes = serde_json::to_vec_pretty(&build_record).unwrap_or_default();
    files::write_whole(&path, &bytes).map_err(at(&path))?;
    task.done(&format!("{} in {}", names.len(), folder.display()));
    Ok(names)
}

/// Runs cargo. Returns each component's name with its module.
fn compile(
    root: &Path,
    toolchain: &Toolchain,
    task: &Task,
) -> Result<BTreeMap<String, PathBuf>, GuestError> {
    let cargo = |offline: bool| {
        let mut command = toolchain.cargo();
        command
            .args([
                "--message-format",
                "json-render-diagnostics",
                "--manifest-path",
            ])
            .arg(root.join("guests").join("Cargo.toml"))
            .arg("--target-dir")
            .arg(root.join("target").join("guests-build"))
            // Cargo reads its configuration from the folder it runs in.
            .current_dir(root.join("guests"));
        if root.join("guests").join("Cargo.lock").is_file() {
            command.arg("--locked");
        }
        if offline {
            command.arg("--offline");
        }
        process::run(&mut command, "install Rust with rustup", |line| {
            task.detail(line.trim())
        })
    };
    let messages = match cargo(false) {
        Err(CommandError::Failed { said, .. }) if needs_network(&said) => cargo(true),
        other => other,
    };
    Ok(modules_in(&messages.map_err(GuestError::Build)?))
}

/// Whether cargo failed only because it could not reach a registry.
pub fn needs_network(said: &str) -> bool {
    [
        "failed to download",
        "download of",
        "failed to query",
        "Unable to update",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// The WebAssembly modules in cargo's messages, one JSON object per line.
pub fn modules_in(messages: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        #[serde(default)]
        target: Option<Target>,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        crate_types: Vec<String>,
    }
    let is_cdylib = |target: Target| target.crate_types.iter().any(|kind| kind == "cdylib");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| {
            message
                .target
                .is_some_and(is_cdylib)
                .then_some(message.filenames)
        })
        .flatten()
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.replace('_', "-");
            Some((name, path))
        })
        .collect()
}

/// Removes components without a crate, so that they are not packed by mistake.
fn remove_others(
    folder: &Path,
    components: &BTreeMap<String, ComponentRecord>,
) -> Result<(), GuestError> {
    for entry in fs::read_dir(folder).map_err(at(folder))?.flatten() {
        let path = entry.path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let is_component = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        if is_component && !components.contains_key(name) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn file_name(component: &str) -> String {
    format!("{component}.wasm")
}

/// A digest of the paths and bytes of all sources, the recipe and the toolchain choice.
fn fingerprint(root: &Path, choice: ToolchainChoice) -> Result<String, GuestError> {
    let mut paths = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut paths)?;
    }
    paths.sort();
    let mut hasher = Sha256::new();
    // Forcing Debian's compiler needs a new build; the other two choices give the same result.
    hasher.update(format!("{RECIPE} {}\n", choice == ToolchainChoice::Debian));
    for path in paths {
        let bytes = fs::read(&path).map_err(at(&path))?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        hasher.update(format!("{} {}\n", name.display(), bytes.len()));
        hasher.update(&bytes);
    }
    Ok(hex::encode(hasher.finalize()))
}

/// All files below a folder except build output, Python's caches and hidden files. A missing folder has none.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), GuestError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(at(folder))?;
        let name = entry.file_name();
        if name == "target" || name == "__pycache__" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            collect(&path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> GuestError {
    let path = path.to_owned();
    move |source| GuestError::Io { path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_modules_of_cdylibs_are_components() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","target":{"crate_types":["cdylib"]},"filenames":["/t/release/policy_label.wasm","/t/release/policy_label.d"]}
{"reason":"compiler-artifact","target":{"crate_types":["bin"]},"filenames":["/t/release/tool.wasm"]}
{"reason":"build-finished","success":true}
"#;
        let modules = modules_in(messages);
        assert_eq!(modules.len(), 1);
        assert_eq!(
            modules.get("policy-label").unwrap(),
            Path::new("/t/release/policy_label.wasm")
        );
    }

    #[test]
    fn the_fingerprint_follows_every_byte_and_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let now = || fingerprint(root.path(), ToolchainChoice::Auto).unwrap();
        fs::create_dir_all(at("guests/a/target")).unwrap();
        fs::write(at("guests/a/lib.rs"), "one").unwrap();
        let first = now();
        fs::write(at("guests/a/target/output"), "not a source").unwrap();
        assert_eq!(now(), first);
        fs::write(at("guests/a/lib.rs"), "two").unwrap();
        let second = now();
        assert_ne!(second, first);
        fs::rename(at("guests/a/lib.rs"), at("guests/a/main.rs")).unwrap();
        assert_ne!(now(), second);
        fs::rename(at("guests/a/main.rs"), at("guests/a/lib.rs")).unwrap();
        assert_eq!(now(), second);
        assert_ne!(
            fingerprint(root.path(), ToolchainChoice::Debian).unwrap(),
            second
        );
    }

    #[test]
    fn a_modified_component_is_not_current() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(current(root.path(), ToolchainChoice::Auto).unwrap(), None);
        let record = ComponentRecord {
            size: 3,
            sha256: files::sha256(b"abc"),
            imports: Vec::new(),
        };
        let build_record = BuildRecord {
            fingerprint: fingerprint(root.path(), ToolchainChoice::Auto).unwrap(),
            toolchain: "rustup".to_owned(),
            components: BTreeMap::from([("policy".to_owned(), record)]),
        };
        let folder = folder(root.path());
        files::write_whole(
            &folder.join(STATE),
            &serde_json::to_vec(&build_record).unwrap(),
        )
        .unwrap();
        fs::write(folder.join("policy.wasm"), b"abc").unwrap();
        assert_eq!(
            current(root.path(), ToolchainChoice::Auto).unwrap(),
            Some(vec!["policy".to_owned()])
        );
        fs::write(folder.join("policy.wasm"), b"abd").unwrap();
        assert_eq!(current(root.path(), ToolchainChoice::Auto).unwrap(), None);
    }
}
