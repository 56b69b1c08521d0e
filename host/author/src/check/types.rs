//! Compares the types of a component's interface with those of the WIT files. Names and versions are already checked.
use super::{Problem, Surface};
use crate::embedded::{self, WIT};
use std::collections::BTreeMap;
use std::fmt::Write;
use wit_component::DecodedWasm;
use wit_parser::{InterfaceId, PackageId, Resolve, SourceMap, WorldId, WorldItem};

/// The folder of `wasi:nn` below the WIT files.
const DEPENDENCIES: &str = "deps/";

/// The differences; empty if there are none.
pub(super) fn problems(component: &[u8], surface: &Surface, export: &str) -> Vec<Problem> {
    match compare(component, surface, export) {
        Ok(problems) => problems,
        Err(error) => vec![Problem::Types(format!("{error:#}"))],
    }
}

fn compare(
    component: &[u8],
    surface: &Surface,
    export: &str,
) -> Result<Vec<Problem>, Box<dyn std::error::Error + Send + Sync>> {
    let mut resolve = ours()?;
    let DecodedWasm::Component(theirs, world) = wit_component::decode(component)? else {
        return Ok(vec![Problem::CoreModule]);
    };
    let unknown = unknown_functions(&resolve, &theirs, world);
    if !unknown.is_empty() {
        return Ok(unknown);
    }
    // Hotshoe's packages are ours; WASI's come from the component, because the host supports all of them.
    resolve.merge(theirs)?;
    let package = resolve.push_source("check.wit", &world_text(surface, export))?;
    let world = resolve.select_world(&[package], Some("component"))?;
    wit_component::targets(&resolve, world, component)?;
    Ok(Vec::new())
}

/// A world with the component's imports and the one export.
fn world_text(surface: &Surface, export: &str) -> String {
    let mut text = "package hotshoe:check;\nworld component {\n".to_owned();
    for import in &surface.imports {
        // Writing to a string does not fail.
        let _ = writeln!(text, "import {import};");
    }
    let _ = writeln!(text, "export {export};\n}}");
    text
}

/// The packages of the WIT files.
fn ours() -> Result<Resolve, Box<dyn std::error::Error + Send + Sync>> {
    let mut packages: BTreeMap<&str, SourceMap> = BTreeMap::new();
    for file in embedded::files(&WIT, "") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let text = std::str::from_utf8(file.contents)?;
        packages
            .entry(folder)
            .or_default()
            .push_str(file.path, text);
    }
    let mut resolve = Resolve::default();
    // Dependencies come first.
    let (dependencies, own): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .partition(|(folder, _)| folder.starts_with(DEPENDENCIES));
    for (_, sources) in dependencies.into_iter().chain(own) {
        let group = sources.parse().map_err(|(_, error)| error)?;
        let _: PackageId = resolve.push_group(group)?;
    }
    Ok(resolve)
}

/// Imported functions that our interfaces do not have.
fn unknown_functions(ours: &Resolve, theirs: &Resolve, world: WorldId) -> Vec<Problem> {
    let own: BTreeMap<String, InterfaceId> = ours
        .interfaces
        .iter()
        .filter_map(|(id, _)| Some((ours.id_of(id)?, id)))
        .collect();
    let Some(world) = theirs.worlds.get(world) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for item in world.imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let (Some(name), Some(theirs)) = (theirs.id_of(*id), theirs.interfaces.get(*id)) else {
            continue;
        };
        let Some(own) = own.get(&name).and_then(|id| ours.interfaces.get(*id)) else {
            continue;
        };
        for function in theirs.functions.keys() {
            if !own.functions.contains_key(function) {
                problems.push(Problem::UnknownFunction {
                    interface: name.clone(),
                    function: function.clone(),
                });
            }
        }
    }
    problems
}
