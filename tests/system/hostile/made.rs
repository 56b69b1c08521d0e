//! Components that are written by hand, as text.

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::support::{Workspace, environment};

/// The stage that misbehaves as the payload's first byte says.
pub(crate) const STAGE: &str = include_str!("stage.wat");

/// A core module of the world `stage` as a component.
pub(crate) fn component(text: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(environment().root.join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("stage")).unwrap();
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap()
        .encode()
        .unwrap()
}

/// Writes a component into the workspace.
pub(crate) fn file(workspace: &Workspace, name: &str, bytes: &[u8]) -> PathBuf {
    let path = workspace.path(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A light release's text with this file in the place of its stage.
pub(crate) fn instead(light: &str, file: &Path) -> String {
    let measure = environment().root.join("target/guests/measure.wasm");
    light
        .replace(&measure.display().to_string(), &file.display().to_string())
        .replace("world = \"stage\"", "world = \"stage\"\ngrants = [\"log\"]")
}

/// A release of one stage, with these lines in its table.
pub(crate) fn recipe(workspace: &Workspace, component: &[u8], lines: &str) -> String {
    let file = file(workspace, "stage.wasm", component);
    format!(
        "name = \"hostile-stage\"
generation = 1
expires-in = \"365d\"
hotshoe = \">=0.1\"

[components.stage]
file = \"{}\"
world = \"stage\"
grants = [\"log\"]
{lines}

[[pipeline]]
stage = \"stage\"
",
        file.display()
    )
}
