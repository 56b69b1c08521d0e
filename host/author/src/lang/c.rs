//! C and C++: wit-bindgen generates the bindings, clang compiles and links a module, which is encoded as a component.
//!
//! The C library is linked for memory, strings and numbers. A component that neither reads files nor prints imports no WASI.
mod bindings;
mod compiler;
mod sources;

use super::encode::encode_as;
use crate::{BuildError, Language, Project, Tools};
use compiler::Compiler;
use hotshoe_devkit::{CommandError, Progress};
use sources::{Dialect, Source};
use std::fs;
use std::path::{Path, PathBuf};

/// The SDK's source for every component.
const SDK_OF_C: &str = "hotshoe.c";
/// The SDK's additional source for C++.
const SDK_OF_CPP: &str = "hotshoe.cpp";

pub(crate) fn build(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let own = sources::find(&project.folder)?;
    let scratch = project.scratch()?;
    let compiler = compiler::find(project.language, tools, &scratch, progress)?;
    let task = progress.spinner(&format!("compiling {} with {compiler}", project.name));
    let bindings = scratch.join("bindings");
    let interfaces = bindings::generate(project, &bindings)?;
    // Absolute, because the compiler runs in the project's folder.
    let sdk = project.sdk()?;
    let sdk = std::path::absolute(&sdk).map_err(BuildError::io(&sdk))?;
    let build = Build {
        project,
        compiler: &compiler,
        bindings: &bindings,
        sdk: &sdk,
        objects: emptied(scratch.join("objects"))?,
    };
    let mut objects = vec![
        build.compile(&Source::silent(bindings.join(bindings::FILE)), |_| {})?,
        build.compile(&Source::of_c(sdk.join(SDK_OF_C)), |_| {})?,
    ];
    if project.language == Language::Cpp {
        objects.push(build.compile(&Source::of_cpp(sdk.join(SDK_OF_CPP)), |_| {})?);
    }
    for source in &own {
        task.detail(&source.path.display().to_string());
        // Show the compiler's warnings, also after success.
        objects.push(build.compile(source, |line| progress.say(line))?);
    }
    let module = build.link(&objects)?;
    let component = encode_as(module, &interfaces)?;
    task.done(&format!("{} bytes", component.len()));
    Ok(component)
}

/// The state that all steps of a build share.
struct Build<'a> {
    project: &'a Project,
    compiler: &'a Compiler,
    bindings: &'a Path,
    sdk: &'a Path,
    objects: PathBuf,
}

impl Build<'_> {
    /// Compiles one object; each line of a warning goes to `warn`.
    fn compile(&self, source: &Source, warn: impl FnMut(&str)) -> Result<PathBuf, BuildError> {
        let name = source.path.file_name().unwrap_or(source.path.as_os_str());
        // Two sources in different folders may have the same name.
        let number = fs::read_dir(&self.objects).map_or(0, Iterator::count);
        let object = self
            .objects
            .join(format!("{number}-{}.o", name.to_string_lossy()));
        let mut command = self.compiler.command(source.dialect == Dialect::Cpp);
        command
            .current_dir(&self.project.folder)
            .args(["-c", "-O2", "-ferror-limit=8"])
            .args(source.options());
        for folder in ["include", "src", "."] {
            if self.project.folder.join(folder).is_dir() {
                command.arg("-I").arg(folder);
            }
        }
        command.arg("-I").arg(self.bindings);
        command.arg("-I").arg(self.sdk);
        command.arg("-o").arg(&object).arg(&source.path);
        self.compiler
            .run(&mut command, warn)
            .map_err(BuildError::compile(format!(
                "compile {}",
                source.path.display()
            )))?;
        Ok(object)
    }

    /// Links all objects to a module, and reads it.
    fn link(&self, objects: &[PathBuf]) -> Result<Vec<u8>, BuildError> {
        let module = self.objects.join("module.wasm");
        let cpp = self.project.language == Language::Cpp;
        let mut command = self.compiler.command(cpp);
        command
            .current_dir(&self.project.folder)
            .args(["-O2", "-mexec-model=reactor", "-Wl,--strip-debug"])
            .args(self.compiler.stack_options())
            .args(objects)
            .arg("-lm")
            .arg("-o")
            .arg(&module);
        self.compiler
            .run(&mut command, |_| {})
            .map_err(|error| self.unlinked(error))?;
        fs::read(&module).map_err(BuildError::io(&module))
    }

    /// Explains the error if the world's function is missing; otherwise it is the linker's own.
    fn unlinked(&self, error: CommandError) -> BuildError {
        let missing = match &error {
            CommandError::Failed { said, .. } => missing_export(said),
            _ => None,
        };
        match missing {
            Some(function) => BuildError::Sources {
                what: format!(
                    "no source defines `{function}`, which the world {} requires",
                    self.project.world
                ),
                advice: format!(
                    "define it as declared in {}; in C++, use the macro of hotshoe/world.hpp",
                    self.bindings.join(bindings::HEADER).display()
                ),
            },
            None => BuildError::compile(format!("link {}", self.project.name))(error),
        }
    }
}

/// The text before the name of an undefined function in a linker's message.
const UNDEFINED: &str = "undefined symbol: ";
/// The prefix of the functions that the bindings require of the component.
const EXPORTS: &str = "exports_";

/// The undefined function of the world, if that is the linker's error.
fn missing_export(said: &str) -> Option<&str> {
    let names = said.lines().filter_map(|line| line.split_once(UNDEFINED));
    names
        .map(|(_, name)| name.trim())
        .find(|name| name.starts_with(EXPORTS))
}

/// Creates or empties a folder.
fn emptied(folder: PathBuf) -> Result<PathBuf, BuildError> {
    let clear = |folder: &Path| {
        if folder.is_dir() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)
    };
    clear(&folder).map_err(BuildError::io(&folder))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_export_is_distinguished_from_other_undefined_functions() {
        let other = "wasm-ld: error: policy.o: undefined symbol: folow_rules";
        assert_eq!(missing_export(other), None);
        let world = format!(
            "{other}\nwasm-ld: error: 0-wit.c.o: undefined symbol: exports_decide_decide\n"
        );
        assert_eq!(missing_export(&world), Some("exports_decide_decide"));
        assert_eq!(missing_export(""), None);
    }
}
