//! Python: `componentize-py` from PyPI combines CPython, the author's modules and the SDK into one component, with all modules already imported
//! in its memory.
mod requirements;

use super::guest::{self, Guest, WHOLE_WORLD, WORLD};
use crate::tools::{Wheel, WheelFile};
use crate::{BuildError, Project, Tools};
use hotshoe_devkit::wheel::BuiltFor;
use hotshoe_devkit::{Progress, process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMPONENTIZE: Wheel = Wheel {
    name: "componentize-py",
    version: "0.25.1",
    what: "the Python component bundler",
    files: &[
        WheelFile {
            os: "linux",
            arch: "x86_64",
            built_for: Some(BuiltFor {
                python: "3.11",
                abi: "abi3",
                platform: "manylinux_2_28_x86_64",
            }),
            size: 17_122_694,
            sha256: "8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f",
        },
        WheelFile {
            os: "linux",
            arch: "aarch64",
            built_for: Some(BuiltFor {
                python: "3.11",
                abi: "abi3",
                platform: "manylinux_2_28_aarch64",
            }),
            size: 17_143_402,
            sha256: "7b6a87c520358166843af0daa86d2312d7af4cbcbbf1e598951085cf7f2991ca",
        },
    ],
};
const ADVICE: &str = "install Python 3 with pip (Debian: python3 python3-pip)";
/// The author's module.
const MODULE: &str = "component.py";
/// The folder of third-party modules below the project: `pip install --target vendor NAME`.
const VENDORED: &str = "vendor";
/// An environment without packages: the bundler would take those of the author's own Python, which no file of the project names.
const NO_PACKAGES: &str = "no-packages";
/// The module that the host calls, generated for each build.
const ENTRY: &str = "hotshoe_entry";
/// The prefix of bindings in Python.
const IMPORTS: &str = "wit_world.imports.";
/// An export that the tool adds for itself.
const EXTRA_EXPORT: &str = "exports";
/// The interfaces that the SDK always imports. They need no grant.
const ALWAYS: [&str; 3] = ["types", "samples", "tensors"];
/// Lists what the author's modules import.
const SCAN: &str = include_str!("python/scan.py");
/// Runs the tool and shortens its errors.
const RUN: &str = include_str!("python/run.py");

pub(crate) fn build(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let build = Build::new(project, tools)?;
    let task = progress.spinner(&format!(
        "building {} with componentize-py {}",
        project.name, COMPONENTIZE.version
    ));
    let used = build.scan(progress)?;
    let wit = build.guest.write(&used)?;
    let entry = build.write_entry(&used)?;
    let component = match build.sources(&used, &entry)?.component(&build.output()) {
        Ok(component) => component,
        Err(pending) => {
            build.write_stubs(&wit)?;
            let component = build.componentize(&wit)?;
            pending.complete()?;
            component
        }
    };
    let component = guest::without_export(Guest::finish(component), EXTRA_EXPORT);
    task.done(&format!("{} bytes", component.len()));
    Ok(component)
}

struct Build<'a> {
    project: &'a Project,
    guest: Guest,
    python: PathBuf,
    /// The unpacked wheel.
    tool: PathBuf,
    /// The author's module, and the SDK.
    module: PathBuf,
    sdk: PathBuf,
    /// What `requirements.txt` names.
    packages: Option<PathBuf>,
    scratch: PathBuf,
}

impl<'a> Build<'a> {
    fn new(project: &'a Project, tools: &Tools) -> Result<Self, BuildError> {
        let module = [
            project.folder.join(MODULE),
            project.folder.join("src").join(MODULE),
        ];
        let Some(module) = module.into_iter().find(|path| path.is_file()) else {
            return Err(BuildError::Sources {
                what: format!("{} has no {MODULE}", project.folder.display()),
                advice: "that file contains the function that the host calls; `hotshoe new` creates an example".to_owned(),
            });
        };
        let scratch = project.scratch()?.join("python");
        let python = tools.python()?;
        Ok(Self {
            project,
            guest: Guest::read(project, str::to_owned)?,
            tool: tools.wheel(&COMPONENTIZE)?,
            module,
            sdk: project.sdk()?,
            packages: requirements::packages(&project.folder, &scratch, &python)?,
            python,
            scratch,
        })
    }

    /// The folders of modules, in search order.
    fn folders(&self) -> Vec<PathBuf> {
        let own = self.module.parent().map(Path::to_owned);
        let vendored = Some(self.project.folder.join(VENDORED)).filter(|folder| folder.is_dir());
        [
            Some(self.scratch.clone()),
            own,
            Some(self.sdk.clone()),
            vendored,
            self.packages.clone(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A command for one of our scripts, which is written into the scratch folder so that the author can read it.
    fn script(&self, name: &str, text: &str) -> Result<Command, BuildError> {
        let path = self.scratch.join(name);
        guest::write_changed(&path, text.as_bytes())?;
        let mut command = process::clean(&self.python);
        command
            .current_dir(&self.project.folder)
            // Isolated from the user's packages and environments.
            .args(["-I", "-B"])
            .arg(path);
        Ok(command)
    }

    /// The interfaces that the author's modules import, directly or through the SDK.
    fn scan(&self, progress: &Progress) -> Result<BTreeSet<String>, BuildError> {
        let mut command = self.script("scan.py", SCAN)?;
        command.arg(&self.module);
        for folder in self.folders().into_iter().skip(1) {
            command.arg(folder);
        }
        let said = process::run(&mut command, ADVICE, |_| {}).map_err(BuildError::compile(
            format!("read {}", self.module.display()),
        ))?;
        said.lines()
            .filter(|line| guest::is_warning(line))
            .for_each(|line| progress.say(line));
        let mut names: BTreeSet<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix(IMPORTS))
            .collect();
        names.extend(ALWAYS);
        if self.guest.log {
            // `print` goes there.
            names.insert("log");
        }
        let used = self.guest.interfaces.iter();
        Ok(used
            .filter(|interface| names.contains(module_name(&interface.name).as_str()))
            .map(|interface| interface.id.clone())
            .collect())
    }

    /// Writes the module that the host calls, which wraps the author's function. Returns its text.
    fn write_entry(&self, used: &BTreeSet<String>) -> Result<String, BuildError> {
        let exported = &self.guest.exported;
        let console = if used.iter().any(|id| id.contains("/log@")) {
            "console.print_to_log()\n"
        } else if self.guest.wasi {
            ""
        } else {
            "console.print_nowhere()\n"
        };
        let function = module_name(&exported.function);
        let result = self.guest.result_type(module_name);
        let result = literal(&result);
        let text = format!(
            "# Generated by `hotshoe build`: the exports that the host calls.\nimport component\nfrom hotshoe import console, guard\n\n{console}guard.RESULT = {result}\n\n\nclass {}:\n    {function} = guard.guarded(component, \"{function}\", \"{}\")\n",
            class_name(&exported.interface),
            exported.parameters.replace('-', "_"),
        );
        guest::write_changed(&self.scratch.join(format!("{ENTRY}.py")), text.as_bytes())?;
        Ok(text)
    }

    /// The digest of the component's inputs.
    fn sources(
        &self,
        used: &BTreeSet<String>,
        entry: &str,
    ) -> Result<guest::SourceDigest, BuildError> {
        let wasi = if self.guest.wasi { "wasi" } else { "" };
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let mut sources = guest::SourceDigest::of_texts(&[
            COMPONENTIZE.version,
            RUN,
            entry,
            &self.guest.text,
            wasi,
            &used.join(" "),
        ]);
        for folder in self.folders().into_iter().skip(1) {
            sources = sources.and_folder(&folder, &self.project.folder)?;
        }
        Ok(sources)
    }

    fn output(&self) -> PathBuf {
        self.scratch.join("component.wasm")
    }

    /// Imports the author's module, and combines it with Python into a component.
    fn componentize(&self, wit: &Path) -> Result<Vec<u8>, BuildError> {
        let output = self.output();
        let mut command = self.tool(wit, WORLD)?;
        command.arg("componentize");
        if !self.guest.wasi {
            command.arg("--stub-wasi");
        }
        for folder in self.folders() {
            command.arg("-p").arg(folder);
        }
        command.arg(ENTRY).arg("-o").arg(&output);
        process::run(&mut command, ADVICE, |_| {}).map_err(BuildError::compile(format!(
            "start {}",
            self.module.display()
        )))?;
        fs::read(&output).map_err(BuildError::io(&output))
    }

    /// A command for `componentize-py` with a world of this folder.
    fn tool(&self, wit: &Path, world: &str) -> Result<Command, BuildError> {
        let mut command = self.script("run.py", RUN)?;
        let none = self.scratch.join(NO_PACKAGES);
        let packages = none.join("lib/site-packages");
        fs::create_dir_all(&packages).map_err(BuildError::io(&packages))?;
        command.env("VIRTUAL_ENV", none);
        command.arg(&self.tool).arg("-q");
        command.arg("-d").arg(wit).args(["-w", world]);
        Ok(command)
    }

    /// Writes modules for editors and type checkers, with all interfaces, types and documentation, if the WIT has changed.
    fn write_stubs(&self, wit: &Path) -> Result<(), BuildError> {
        let stubs = self.scratch.join("stubs");
        let made_of = self.scratch.join("stubs.wit");
        if stubs.is_dir() && fs::read_to_string(&made_of).is_ok_and(|text| text == self.guest.text)
        {
            return Ok(());
        }
        let mut command = self.tool(wit, WHOLE_WORLD)?;
        command.arg("bindings").arg(&stubs);
        process::run(&mut command, ADVICE, |_| {}).map_err(BuildError::compile(
            "make modules of the WIT files for editors",
        ))?;
        guest::write_changed(&made_of, self.guest.text.as_bytes())?;
        Ok(())
    }
}

/// The Python form of a WIT name: `min_score` for `min-score`.
fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The Python class of an exported interface: `Preprocess` for `preprocess`.
/// A JSON value as a literal of Python.
fn literal(value: &Value) -> String {
    let all = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!("[{}]", all(&mut items.iter().map(literal))),
        Value::Object(fields) => {
            let mut fields = fields
                .iter()
                .map(|(name, value)| format!("{name:?}: {}", literal(value)));
            format!("{{{}}}", all(&mut fields))
        }
        Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn class_name(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::literal;

    #[test]
    fn a_type_is_written_as_python_writes_it() {
        let kind = json!([{ "handle": true }, ["none", null], "s32", false, 1]);
        assert_eq!(
            literal(&kind),
            r#"[{"handle": True}, ["none", None], "s32", False, 1]"#
        );
    }
}
