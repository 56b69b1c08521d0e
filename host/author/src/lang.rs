//! Compiles sources to a component: one module per language.
mod c;
mod encode;
mod go;
mod guest;
mod js;
mod python;
mod rust;
mod world;

use crate::{BuildError, Language, Project, Tools};
use hotshoe_devkit::Progress;

/// Compiles a project. Returns the component's bytes, neither checked nor stripped.
pub fn compile(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let build = match project.language {
        Language::Rust => rust::build,
        Language::C | Language::Cpp => c::build,
        Language::Python => python::build,
        Language::JavaScript | Language::TypeScript => js::build,
        Language::Go => go::build,
    };
    build(project, tools, progress)
}
