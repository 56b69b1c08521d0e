//! What builds take from the package managers of Python and JavaScript.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{build, new, refusal};

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
