//! C and C++: bindings by wit-bindgen's generator for C, objects by clang, a module by its linker, and a component of that.
//!
//! The C library is linked for what computes: memory, text, numbers. Where nothing reads a file or prints, the component imports nothing of WASI.
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

/// The SDK's files, in its folder, that belong to every component.
const SDK_OF_C: &str = "hotshoe.c";
/// The SDK's files, in its folder, that belong to every component in C++ as well.
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
    // Absolute, since the compiler is started in the project's folder.
    let sdk = project.sdk()?;
    let sdk = std::path::absolute(&sdk).map_err(BuildError::io(&sdk))?;
    let build = Build {
        project,
        compiler: &compiler,
        bindings: &bindings,
        sdk: &sdk,
        objects: made_empty(scratch.join("objects"))?,
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
        // What the compiler warns of is for the author, also where all went well.
        objects.push(build.compile(source, |line| progress.say(line))?);
    }
    let module = build.link(&objects)?;
    let component = encode_as(module, &interfaces)?;
    task.done(&format!("{} bytes", component.len()));
    Ok(component)
}

/// What all steps of one build share.
struct Build<'a> {
    project: &'a Project,
    compiler: &'a Compiler,
    bindings: &'a Path,
    sdk: &'a Path,
    objects: PathBuf,
}

impl Build<'_> {
    /// Makes one object; each line of a warning goes to `warn`.
    fn compile(&self, source: &Source, warn: impl FnMut(&str)) -> Result<PathBuf, BuildError> {
        let name = source.path.file_name().unwrap_or(source.path.as_os_str());
        // Two sources may have one name, in two folders.
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

    /// Makes a module of all objects, and reads it.
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

    /// In plain words where a whole world is missing, else as the linker said it.
    fn unlinked(&self, error: CommandError) -> BuildError {
        let missing = match &error {
            CommandError::Failed { said, .. } => missing_export(said),
            _ => None,
        };
        match missing {
            Some(function) => BuildError::Sources {
                what: format!(
                    "no source defines `{function}`, which the world {} asks for",
                    self.project.world
                ),
                way_out: format!(
                    "write it as {} declares it; in C++, a macro of hotshoe/world.hpp does",
                    self.bindings.join(bindings::HEADER).display()
                ),
            },
            None => BuildError::compile(format!("link {}", self.project.name))(error),
        }
    }
}

/// In what a linker says, before the name of a function that nothing defines.
const UNDEFINED: &str = "undefined symbol: ";
/// Begins the names of the functions that the bindings ask the component for.
const EXPORTS: &str = "exports_";

/// The function of the world that no source has, if that is what the linker misses.
fn missing_export(said: &str) -> Option<&str> {
    let names = said.lines().filter_map(|line| line.split_once(UNDEFINED));
    names
        .map(|(_, name)| name.trim())
        .find(|name| name.starts_with(EXPORTS))
}

/// A folder without what an earlier build left in it.
fn made_empty(folder: PathBuf) -> Result<PathBuf, BuildError> {
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
    fn a_missing_world_is_told_from_other_missing_functions() {
        let other = "wasm-ld: error: policy.o: undefined symbol: folow_rules";
        assert_eq!(missing_export(other), None);
        let world = format!(
            "{other}\nwasm-ld: error: 0-wit.c.o: undefined symbol: exports_decide_decide\n"
        );
        assert_eq!(missing_export(&world), Some("exports_decide_decide"));
        assert_eq!(missing_export(""), None);
    }
}
