//! Commands that are programs of their own, beside this one: a device needs neither.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use hotshoe_devkit::find_root;
use hotshoe_release::terminal::Terminal;
use thiserror::Error;

/// Run OCR on a scanned page on this machine, from scratch
///
/// Starts the program `hotshoe-demo`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "\
Example:
  hotshoe demo                # or `cargo demo`
  hotshoe demo --help")]
pub(crate) struct DemoArgs {
    /// The arguments of the program
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub arguments: Vec<OsString>,
}

/// Compare Hotshoe's speed with plain Rust and other runtimes
///
/// Starts the program `hotshoe-bench`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "\
Example:
  hotshoe bench pipeline
  hotshoe bench --help")]
pub(crate) struct BenchArgs {
    /// The arguments of the program
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub arguments: Vec<OsString>,
}

/// Why a command that is a program of its own did not start.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// It is neither beside this program nor on the PATH.
    #[error(
        "the program {0} is missing beside hotshoe and on the PATH; in a checkout, build it with `cargo build --bin {0}`"
    )]
    Missing(&'static str),
    /// cargo could not build it.
    #[error("cannot build {program}: cargo ended with {status}")]
    NotBuilt {
        /// The program.
        program: &'static str,
        /// The status of cargo.
        status: ExitStatus,
    },
    /// The system could not start it.
    #[error("cannot start {program}")]
    NotStarted {
        /// The program, or cargo.
        program: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl ProgramError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Missing(_) => "program_missing",
            Self::NotBuilt { .. } => "program_not_built",
            Self::NotStarted { .. } => "program_not_started",
        }
    }
}

/// Replaces this process by a program with these arguments, so that signals and the exit code are its own.
pub(crate) fn run(
    program: &'static str,
    arguments: &[OsString],
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    let own = env::current_exe().map_err(|source| ProgramError::NotStarted {
        program: program.to_owned(),
        source,
    })?;
    let beside = own.with_file_name(program);
    build(program, &beside, terminal)?;
    let path = find(program, beside).ok_or(ProgramError::Missing(program))?;
    let mut command = Command::new(&path);
    // It may stand before the command.
    if terminal.json && !arguments.iter().any(|it| it == "--json") {
        command.arg("--json");
    }
    let source = command.args(arguments).exec();
    let program = path.display().to_string();
    Err(ProgramError::NotStarted { program, source }.into())
}

/// Under cargo in a checkout, brings the program up to date, as cargo has done with this one.
fn build(program: &'static str, beside: &Path, terminal: &Terminal) -> Result<(), ProgramError> {
    let here = env::current_dir().ok();
    let root = here.and_then(|here| find_root(&here));
    let (Some(cargo), Some(root)) = (env::var_os("CARGO"), root) else {
        return Ok(());
    };
    let mut command = Command::new(&cargo);
    command.arg("build").arg("--manifest-path");
    command
        .arg(root.join("Cargo.toml"))
        .args(["--bin", program]);
    if beside.exists() {
        command.arg("--quiet");
    } else {
        terminal.note(format!("{program} is not built yet; cargo builds it now"));
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command
        .status()
        .map_err(|source| ProgramError::NotStarted {
            program: cargo.display().to_string(),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(ProgramError::NotBuilt { program, status })
    }
}

/// The program beside this one, or on the PATH.
fn find(program: &str, beside: PathBuf) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program));
    std::iter::once(beside)
        .chain(on_path)
        .find(|path| path.is_file())
}
