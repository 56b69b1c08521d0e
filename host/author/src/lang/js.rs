//! JavaScript and TypeScript: esbuild bundles the author's files, the SDK and npm packages into one module; `componentize-qjs` combines it with
//! the engine QuickJS into a component, with the module already started in its memory.
mod borrowed;
mod types;

use super::guest::{self, Guest, WORLD};
use crate::tools::{Node, NpmLock};
use crate::{BuildError, Language, Project, Tools};
use hotshoe_devkit::{Progress, process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUNDLER: NpmLock = NpmLock {
    name: "componentize-qjs",
    what: "the JavaScript component bundler (componentize-qjs, esbuild)",
    package: include_str!("js/package.json"),
    lock: include_str!("js/package-lock.json"),
    size: 18_000_000,
};
const TYPESCRIPT: NpmLock = NpmLock {
    name: "typescript",
    what: "the TypeScript type checker",
    package: include_str!("js/typescript/package.json"),
    lock: include_str!("js/typescript/package-lock.json"),
    size: 10_000_000,
};
const ADVICE: &str = "install Node.js 20 or later with npm (Debian: nodejs npm)";
/// The candidates for the author's file.
const MODULES: [&str; 4] = [
    "component.ts",
    "component.js",
    "src/component.ts",
    "src/component.js",
];
/// The file of the SDK that refuses integers which are not exact.
const INTEGERS: &str = "integers.js";
/// An export that the tool adds for itself.
const EXTRA_EXPORT: &str = "init";
/// The file that gives the exported function the type of its world.
const SIGNATURE: &str = "signature.ts";
const BUNDLE: &str = include_str!("js/bundle.mjs");
const COMPONENTIZE: &str = include_str!("js/componentize.mjs");

pub(crate) fn build(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let build = Build::new(project, tools)?;
    types::write(&build.guest, &build.scratch)?;
    if project.language == Language::TypeScript && project.folder.join("tsconfig.json").is_file() {
        let task = progress.spinner(&format!("checking the types of {}", project.name));
        build.check_types(&tools.npm(&TYPESCRIPT)?)?;
        task.done("no errors");
    }
    let task = progress.spinner(&format!("building {} with componentize-qjs", project.name));
    build.write_entry()?;
    let used = build.bundle(progress)?;
    let wit = build.guest.write(&used)?;
    let component = match build.sources(&used)?.component(&build.output()) {
        Ok(component) => component,
        Err(pending) => {
            let component = build.componentize(&wit)?;
            pending.complete()?;
            component
        }
    };
    let component =
        borrowed::restore_borrow(Guest::finish(component)).map_err(|error| BuildError::Encode {
            message: error.to_string(),
        })?;
    let component = guest::without_export(component, EXTRA_EXPORT);
    task.done(&format!("{} bytes", component.len()));
    Ok(component)
}

struct Build<'a> {
    project: &'a Project,
    guest: Guest,
    node: Node,
    /// The folder with `node_modules`.
    packages: PathBuf,
    /// The author's file, and the SDK.
    module: PathBuf,
    sdk: PathBuf,
    scratch: PathBuf,
}

impl<'a> Build<'a> {
    fn new(project: &'a Project, tools: &Tools) -> Result<Self, BuildError> {
        let mut module = MODULES.iter().map(|name| project.folder.join(name));
        let Some(module) = module.find(|path| path.is_file()) else {
            return Err(BuildError::Sources {
                what: format!("{} has no component.js or component.ts", project.folder.display()),
                advice: "that file exports the function that the host calls; `hotshoe new` creates an example".to_owned(),
            });
        };
        Ok(Self {
            project,
            guest: Guest::read(project, borrowed::with_owned_sample)?,
            node: tools.node()?,
            packages: tools.npm(&BUNDLER)?,
            module: absolute(&module),
            sdk: absolute(&project.sdk()?),
            scratch: project.scratch()?.join("js"),
        })
    }

    /// Writes the module that the host calls, which wraps the author's function.
    fn write_entry(&self) -> Result<(), BuildError> {
        let sdk = |file: &str| quoted(&self.sdk.join(file));
        let (log, line) = if self.guest.log {
            ("import { log } from \"hotshoe/log\";\n", "log")
        } else {
            ("", "() => {}")
        };
        let (time, clock) = if self.guest.wasi {
            (
                "",
                ", { now: () => Date.now(), monotonic: () => performance.now() }",
            )
        } else if self.guest.clock {
            (
                "import { monotonic, now } from \"hotshoe/clock\";\n",
                ", { now, monotonic }",
            )
        } else {
            ("", "")
        };
        // A project's own copy of the SDK may be older.
        let exact = if self.sdk.join(INTEGERS).is_file() {
            format!(
                "import {{ Tensor }} from \"hotshoe/tensors\";\nimport {{ exactIntegers }} from {};\nexactIntegers(Tensor);\n",
                sdk(INTEGERS)
            )
        } else {
            String::new()
        };
        let setup = format!(
            "// Generated by `hotshoe build`: the globals, installed before the author's module starts.\nimport {{ installGlobals }} from {};\n{log}{time}{exact}installGlobals({line}{clock});\n",
            sdk("globals.js")
        );
        let exported = &self.guest.exported;
        let function = types::camel(&exported.function);
        let entry = format!(
            "// Generated by `hotshoe build`: the exports that the host calls.\nimport \"./setup.js\";\nimport {{ guarded }} from {};\nimport * as component from {};\n\nexport const {} = {{ {function}: guarded(component, \"{function}\", \"{}\", {}) }};\n",
            sdk("guard.js"),
            quoted(&self.module),
            types::camel(&exported.interface),
            exported.parameters,
            self.guest.result_type(types::camel),
        );
        guest::write_changed(&self.scratch.join("setup.js"), setup.as_bytes())?;
        guest::write_changed(&self.scratch.join("entry.js"), entry.as_bytes())?;
        Ok(())
    }

    /// Runs one of our scripts with its parameters as JSON.
    fn script(
        &self,
        name: &str,
        text: &str,
        needs: &serde_json::Value,
    ) -> Result<String, BuildError> {
        let path = self.scratch.join(name);
        guest::write_changed(&path, text.as_bytes())?;
        let mut command = self.command();
        command.arg(path).arg(needs.to_string());
        process::run(&mut command, ADVICE, |_| {}).map_err(BuildError::compile(format!(
            "bundle {}",
            self.module.display()
        )))
    }

    fn command(&self) -> Command {
        let mut command = self.node.command();
        command.current_dir(&self.project.folder);
        command.env_remove("NODE_OPTIONS").env_remove("NODE_PATH");
        command
    }

    /// Bundles everything into one module, and returns the interfaces that it imports.
    fn bundle(&self, progress: &Progress) -> Result<BTreeSet<String>, BuildError> {
        let names: BTreeMap<String, &str> = self
            .guest
            .interfaces
            .iter()
            .map(|interface| (types::module(interface), interface.id.as_str()))
            .collect();
        let said = self.script(
            "bundle.mjs",
            BUNDLE,
            &serde_json::json!({
                "packages": self.packages, "entry": self.scratch.join("entry.js"), "sdk": self.sdk,
                "out": self.bundle_file(), "interfaces": names, "folder": self.project.folder,
            }),
        )?;
        let (warnings, used): (Vec<&str>, Vec<&str>) =
            said.lines().partition(|line| guest::is_warning(line));
        warnings.into_iter().for_each(|line| progress.say(line));
        Ok(used.into_iter().map(str::to_owned).collect())
    }

    /// The digest of the component's inputs.
    fn sources(&self, used: &BTreeSet<String>) -> Result<guest::SourceDigest, BuildError> {
        let path = self.bundle_file();
        let bundle = fs::read_to_string(&path).map_err(BuildError::io(&path))?;
        let wasi = if self.guest.wasi { "wasi" } else { "" };
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let texts = [
            BUNDLER.lock,
            COMPONENTIZE,
            &self.guest.text,
            wasi,
            &used.join(" "),
            &bundle,
        ];
        Ok(guest::SourceDigest::of_texts(&texts))
    }

    fn bundle_file(&self) -> PathBuf {
        self.scratch.join("bundle.js")
    }

    fn output(&self) -> PathBuf {
        self.scratch.join("component.wasm")
    }

    /// Starts the bundle, and combines it with the engine into a component.
    fn componentize(&self, wit: &Path) -> Result<Vec<u8>, BuildError> {
        let out = self.output();
        self.script(
            "componentize.mjs",
            COMPONENTIZE,
            &serde_json::json!({
                "packages": self.packages, "bundle": self.bundle_file(), "wit": wit, "world": WORLD,
                "stub": !self.guest.wasi, "out": out,
            }),
        )?;
        fs::read(&out).map_err(BuildError::io(&out))
    }

    /// Checks the author's files, and that the exported function has the type of its world.
    fn check_types(&self, packages: &Path) -> Result<(), BuildError> {
        let signature = types::signature(&self.guest, &self.module.with_extension(""));
        guest::write_changed(&self.scratch.join(SIGNATURE), signature.as_bytes())?;
        // Relative paths of the author's file keep their meaning, and so do its `files`.
        let config = serde_json::json!({
            "extends": absolute(&self.project.folder.join("tsconfig.json")),
            "include": [SIGNATURE, types::FILE, self.sdk.join("globals.d.ts")],
        });
        let path = self.scratch.join("tsconfig.json");
        guest::write_changed(&path, config.to_string().as_bytes())?;
        let mut command = self.command();
        command
            .arg(packages.join("node_modules/typescript/bin/tsc"))
            .args(["--noEmit", "--pretty", "false", "-p"])
            .arg(path);
        match process::run(&mut command, ADVICE, |_| {}) {
            Ok(_) => Ok(()),
            Err(source) => Err(BuildError::Compile {
                what: format!("check the types of {}", self.module.display()),
                source,
            }),
        }
    }
}

/// An absolute path, because scripts run in the project's folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The path as a JavaScript string.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}
