//! The world of a component whose compiler drops unused imports: all imports, and the exports of one of Hotshoe's worlds.
use hotshoe_trust::World;
use std::path::Path;
use wit_parser::{Resolve, WorldId};

/// The package of Hotshoe's own interfaces.
const PACKAGE: (&str, &str) = ("hotshoe", "pipeline");

/// The WIT files of a project, and the world of its component.
pub(super) struct Interfaces {
    pub(super) resolve: Resolve,
    pub(super) world: WorldId,
}

impl Interfaces {
    /// Reads a folder of WIT files and creates the world `name`: one of Hotshoe's with every interface of other packages, such as `wasi:nn`.
    /// The error is for [`BuildError::Bindings`](crate::BuildError::Bindings).
    pub(super) fn read(folder: &Path, world: World, name: &str) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let (own, _) = resolve.push_dir(folder).map_err(text)?;
        let own = resolve
            .packages
            .get(own)
            .map(|package| &package.name)
            .ok_or("the folder has no package")?;
        if (own.namespace.as_str(), own.name.as_str()) != PACKAGE {
            return Err(format!(
                "they belong to the package {own}, not to {}:{}",
                PACKAGE.0, PACKAGE.1
            ));
        }
        let version = own.version.as_ref().map(|version| format!("@{version}"));
        let mut source = format!(
            "package hotshoe:component;\nworld {name} {{\ninclude {}:{}/{world}{};\n",
            PACKAGE.0,
            PACKAGE.1,
            version.unwrap_or_default()
        );
        for (_, package) in resolve.packages.iter() {
            if package.name != *own {
                for name in package.interfaces.keys() {
                    source += &format!("import {};\n", package.name.interface_id(name));
                }
            }
        }
        source += "}\n";
        let package = resolve.push_str("component.wit", &source).map_err(text)?;
        let world = resolve.select_world(&[package], Some(name)).map_err(text)?;
        Ok(Self { resolve, world })
    }
}

/// All causes of an error of the parser.
fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
