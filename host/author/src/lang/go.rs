//! Go: the standard compiler produces a WASI 0.1 module, which the adapter turns into a component.
mod bindings;
mod compiler;
mod text;

use crate::{BuildError, Project, Tools};
use bindings::Target;
use compiler::Compiler;
use hotshoe_devkit::{CommandError, Progress};
use std::fs;
use std::path::Path;

/// The Go module with the SDK and the bindings, as sources import it.
const MODULE: &str = "hotshoe";
/// The package of that module that is compiled, which calls the author's.
const MAIN: &str = "hotshoe/component";
/// The linker flags: no symbols, no debug information, and `runtime.sbrk` may be called from outside Go's runtime (see `sdk/go/abi`).
const LINKER: &str = "-ldflags=-s -w -checklinkname=0";

pub(crate) fn build(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let compiler = Compiler::find(tools, progress)?;
    let scratch = project.scratch()?;
    let task = progress.spinner(&format!("compiling {}", project.name));
    let target = Target::of(project)?;

    // The author's go.mod is for editors; the build uses a copy with the actual folder of the module.
    let manifest = scratch.join("go.mod");
    copy(&project.folder.join("go.mod"), &manifest)?;
    let sums = project.folder.join("go.sum");
    if sums.is_file() {
        copy(&sums, &scratch.join("go.sum"))?;
    }
    let module = scratch.join("go");
    compiler.require(&manifest, MODULE, &module)?;
    let author = compiler.module_name(&manifest)?;

    write_module(project, &target, &author, &module)?;
    let core = scratch.join("core.wasm");
    let mut command = compiler.command();
    command
        .current_dir(&project.folder)
        .args(["build", "-buildmode=c-shared", "-trimpath", LINKER])
        .arg(format!("-modfile={}", manifest.display()))
        .arg("-o")
        .arg(&core)
        .arg(MAIN);
    compiler
        .run(&mut command, |line| task.detail(line))
        .map_err(|error| explain(error, project, &target))?;
    let core = fs::read(&core).map_err(BuildError::io(&core))?;
    let component = target.encode(core)?;
    task.done(&format!("{:.1} MB", component.len() as f64 / 1e6));
    Ok(component)
}

/// Go's error; if the function of the world is missing, its signature.
fn explain(error: CommandError, project: &Project, target: &Target) -> BuildError {
    let (name, signature) = target.function();
    let undefined = format!("undefined: author.{name}");
    match error {
        CommandError::Failed { said, .. } if said.contains(&undefined) => BuildError::Sources {
            what: format!("the Go package of {} has no function {name}", project.name),
            advice: format!("the world {} requires `{signature}`", project.world),
        },
        other => BuildError::compile(format!("compile {}", project.name))(other),
    }
}

/// Writes the module: the SDK, the bindings of the project's WIT files, and the call of the author's package.
fn write_module(
    project: &Project,
    target: &Target,
    author: &str,
    module: &Path,
) -> Result<(), BuildError> {
    let sdk = project.sdk()?;
    copy_all(&sdk, module)?;
    for file in target.bindings()? {
        write(&module.join(file.path), &file.text)?;
    }
    let glue = sdk.join("glue").join(format!("{}.go.in", target.export()));
    let text = fs::read_to_string(&glue).map_err(BuildError::io(&glue))?;
    let path = module.join(format!("export_{}", target.export()));
    write(&path.join("glue.go"), &text.replace("AUTHOR", author))
}

fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    let bytes = fs::read(from).map_err(BuildError::io(from))?;
    fs::write(to, bytes).map_err(BuildError::io(to))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), BuildError> {
    for entry in fs::read_dir(from).map_err(BuildError::io(from))? {
        let entry = entry.map_err(BuildError::io(from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            let text = fs::read_to_string(entry.path()).map_err(BuildError::io(&entry.path()))?;
            write(&target, &text)?;
        }
    }
    Ok(())
}

/// Writes a file of the module, unless it is equal.
fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    if fs::read(path).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(BuildError::io(folder))?;
    }
    fs::write(path, text).map_err(BuildError::io(path))
}
