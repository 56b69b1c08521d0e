//! Generates the C header and source from a project's WIT files, for each build.
use crate::lang::world::Interfaces;
use crate::{BuildError, Project};
use std::fs;
use std::path::Path;
use wit_bindgen_c::{Enabled, Opts};
use wit_bindgen_core::Files;

/// The generated source.
pub(super) const FILE: &str = "wit.c";
/// The generated header, beside it.
pub(super) const HEADER: &str = "wit.h";
/// The world's name, the prefix of the header and of string and list types: `wit_string_t`.
const WORLD: &str = "wit";
/// A stub of the symbol that keeps the object with the world's types alive. Here the types are embedded into the linked module instead,
/// which works with any linker.
const KEEPS_TYPES: &str = "void __component_type_object_force_link_wit(void) {}\n";

/// Writes header and source into `folder`.
pub(super) fn generate(project: &Project, folder: &Path) -> Result<Interfaces, BuildError> {
    let wit = project.wit()?;
    let failed = |message: String| BuildError::Bindings {
        folder: wit.clone(),
        message,
    };
    let mut interfaces = Interfaces::read(&wit, project.world, WORLD).map_err(failed)?;
    let options = Opts {
        rename: short_names(&interfaces),
        no_object_file: true,
        // The handle of the sample lives as long as the call.
        autodrop_borrows: Enabled::Yes,
        ..Opts::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut interfaces.resolve, interfaces.world, &mut files)
        .map_err(|error| failed(format!("{error:#}")))?;
    fs::create_dir_all(folder).map_err(BuildError::io(folder))?;
    for (name, bytes) in files.iter() {
        let path = folder.join(name);
        let mut bytes = bytes.to_vec();
        if name == FILE {
            bytes.extend(KEEPS_TYPES.as_bytes());
        }
        fs::write(&path, bytes).map_err(BuildError::io(&path))?;
    }
    Ok(interfaces)
}

/// The prefixes of generated names, instead of package, interface and version: `vision` for `hotshoe:pipeline/vision@0.1.0`, `nn_tensor` for
/// that of `wasi:nn`.
fn short_names(interfaces: &Interfaces) -> Vec<(String, String)> {
    let Some(world) = interfaces.resolve.worlds.get(interfaces.world) else {
        return Vec::new();
    };
    let keys = world.imports.keys().chain(world.exports.keys());
    let names = keys.map(|key| interfaces.resolve.name_world_key(key));
    names
        .filter_map(|name| Some((name.clone(), short_name(&name)?)))
        .collect()
}

fn short_name(interface: &str) -> Option<String> {
    let (package, rest) = interface.split_once('/')?;
    let name = rest.split('@').next()?.replace('-', "_");
    match package {
        "hotshoe:pipeline" => Some(name),
        "wasi:nn" => Some(format!("nn_{name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Language;
    use hotshoe_trust::World;

    #[test]
    fn names_are_short_where_they_are_ours_or_of_wasi_nn() {
        let short = |name| short_name(name).unwrap_or_default();
        assert_eq!(short("hotshoe:pipeline/vision@0.1.0"), "vision");
        assert_eq!(short("wasi:nn/tensor@0.2.0-rc-2024-10-28"), "nn_tensor");
        assert_eq!(short("somebody:other/thing@1.0.0"), "");
    }

    #[test]
    fn each_world_has_a_header_with_its_own_function() {
        let folder = tempfile::tempdir().unwrap();
        for (world, function) in [
            (World::Preprocessor, "bool exports_preprocess_prepare("),
            (World::Postprocessor, "bool exports_postprocess_interpret("),
            (World::Policy, "bool exports_decide_decide("),
            (World::Stage, "bool exports_process_process("),
        ] {
            let project = Project {
                folder: folder.path().to_owned(),
                name: "mine".to_owned(),
                world,
                language: Language::C,
                target: crate::RustTarget::default(),
                release: folder.path().to_owned(),
                debug: false,
            };
            let bindings = folder.path().join("bindings");
            generate(&project, &bindings).unwrap();
            let header = fs::read_to_string(bindings.join(HEADER)).unwrap();
            assert!(header.contains(function), "{world}");
            assert!(header.contains("bool nn_graph_load_by_name("), "{world}");
            assert!(header.contains("bool vision_resize("), "{world}");
        }
    }
}
