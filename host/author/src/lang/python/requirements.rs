//! The packages that a `requirements.txt` names, fetched by pip into the build folder.
use super::{ADVICE, guest};
use crate::BuildError;
use hotshoe_devkit::{CommandError, process};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The file with the packages, beside the project's sources.
const FILE: &str = "requirements.txt";
/// The Python inside of a component.
const PYTHON: &str = "3.14";
/// What a folder of packages is named, before the digest of its requirements.
const PREFIX: &str = "packages-";
/// Options that name other files, whose change would not be seen.
const OTHER_FILES: [&str; 6] = [
    "-r",
    "--requirement",
    "-c",
    "--constraint",
    "-e",
    "--editable",
];
/// How authors get the digests.
const HASHES: &str = "`uv pip compile --generate-hashes` or `pip-compile --generate-hashes` writes the file with them";

/// The folder of the packages that the project's `requirements.txt` names, if it has one. It is named by the content of the file, so that a changed
/// file gives other packages, and the same file gives the same.
pub(super) fn packages(
    project: &Path,
    scratch: &Path,
    python: &Path,
) -> Result<Option<PathBuf>, BuildError> {
    let file = project.join(FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::io(&file)(error)),
    };
    if let Some(line) = text.lines().find(|line| names_other_file(line)) {
        return Err(BuildError::Sources {
            what: format!("{} has the line `{}`", file.display(), line.trim()),
            advice: "write all packages into the one file, with versions and hashes".to_owned(),
        });
    }
    let key: String = hex::encode(Sha256::digest(&text))
        .chars()
        .take(16)
        .collect();
    let name = format!("{PREFIX}{key}");
    let folder = scratch.join(&name);
    if !folder.is_dir() {
        // Also what an interrupted build left.
        remove_all(scratch)?;
        let unfinished = scratch.join(format!("{name}.part"));
        fs::create_dir_all(&unfinished).map_err(BuildError::io(&unfinished))?;
        install(&file, project, python, &unfinished)?;
        fs::rename(&unfinished, &folder).map_err(BuildError::io(&folder))?;
    }
    Ok(Some(folder))
}

fn names_other_file(line: &str) -> bool {
    let word = line.trim().split([' ', '\t', '=']).next();
    word.is_some_and(|word| OTHER_FILES.contains(&word))
}

/// Removes the packages of other requirements.
fn remove_all(scratch: &Path) -> Result<(), BuildError> {
    if !scratch.is_dir() {
        return Ok(());
    }
    for path in guest::entries(scratch)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) {
            fs::remove_dir_all(&path).map_err(BuildError::io(&path))?;
        }
    }
    Ok(())
}

/// Unpacks wheels in pure Python alone: nothing is compiled, and no code of a package runs.
fn install(file: &Path, project: &Path, python: &Path, to: &Path) -> Result<(), BuildError> {
    let mut command = process::clean(python);
    command
        .current_dir(project)
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-compile", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:"])
        .args(["--platform", "any", "--implementation", "py"])
        .args(["--abi", "none", "--python-version", PYTHON])
        .arg("--target")
        .arg(to)
        .arg("--requirement")
        .arg(file)
        // The packages go into a folder, so the rule against installing outside a virtual environment does not apply.
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_USER", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    process::run(&mut command, ADVICE, |_| {})
        .map(drop)
        .map_err(|error| refused(file, error))
}

/// Clearer errors for the failures of pip that authors meet.
fn refused(file: &Path, error: CommandError) -> BuildError {
    let sources = |what: String, advice: &str| BuildError::Sources {
        what,
        advice: advice.to_owned(),
    };
    let file = file.display();
    let said = match &error {
        CommandError::Failed { said, .. } => said.as_str(),
        CommandError::Missing { .. } | CommandError::Start { .. } => "",
    };
    if said.contains("No module named pip") {
        return sources(format!("{file} needs pip"), ADVICE);
    }
    if said.contains("Hashes are required") {
        let what = format!("{file} has packages without `--hash`");
        return sources(what, HASHES);
    }
    if let Some(package) = impure(said) {
        return sources(
            format!(
                "`{package}` of {file} has no wheel in pure Python: its compiled parts cannot run in a component, or there is no such version"
            ),
            "use a package in pure Python; for pictures and models, call the host's `vision` and `infer`",
        );
    }
    BuildError::compile(format!("fetch the packages of {file}"))(error)
}

/// The package that pip has no suitable wheel for.
fn impure(said: &str) -> Option<&str> {
    const NONE: &str = "No matching distribution found for ";
    const OTHER: &str = " is not a supported wheel";
    said.lines().find_map(|line| {
        let found = line.split_once(NONE).map(|(_, package)| package);
        found.or_else(|| {
            let (before, _) = line.split_once(OTHER)?;
            before.rsplit(' ').next()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_without_a_pure_wheel_is_named() {
        let said = "ERROR: Could not find a version that satisfies the requirement numpy==2.1.0 (from versions: none)\n\
                    ERROR: No matching distribution found for numpy==2.1.0";
        assert_eq!(impure(said), Some("numpy==2.1.0"));
        let said = "ERROR: quick-1.0-cp311-cp311-linux_x86_64.whl is not a supported wheel on this platform.";
        assert_eq!(impure(said), Some("quick-1.0-cp311-cp311-linux_x86_64.whl"));
        assert_eq!(impure("ERROR: no network"), None);
    }

    #[test]
    fn a_line_that_names_another_file_is_found() {
        for line in ["-r base.txt", "--requirement=base.txt", "  -e .", "-c\tx"] {
            assert!(names_other_file(line), "{line}");
        }
        for line in [
            "requests==2.32.0 \\",
            "--index-url https://a.example",
            "# -r",
            "",
        ] {
            assert!(!names_other_file(line), "{line}");
        }
    }
}
