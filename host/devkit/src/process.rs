//! Runs other programs with a clean environment, reads their output by line, and quotes it in errors.
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use thiserror::Error;

/// The number of a failed program's last lines in an error.
const QUOTED_LINES: usize = 40;

/// Why another program failed.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It is not installed.
    #[error("`{program}` was not found; {advice}")]
    Missing {
        /// The program.
        program: String,
        /// What to do.
        advice: String,
    },
    /// It could not be started, or its output could not be read.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{program}` failed ({status}) with this output:\n{said}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its standard error, or of its standard output.
        said: String,
    },
}

/// Runs a program to its end and returns its standard output. Each line of its standard error goes to `on_line`.
///
/// `advice` completes the sentence "`program` was not found; ...".
pub fn run(
    command: &mut Command,
    advice: &str,
    mut on_line: impl FnMut(&str),
) -> Result<String, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            CommandError::Missing {
                program: program.clone(),
                advice: advice.to_owned(),
            }
        } else {
            CommandError::Start {
                program: program.clone(),
                source,
            }
        }
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let mut stdout = child.stdout.take();
    // Read both pipes concurrently, so that neither fills and blocks the program.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = stdout.as_mut() {
            pipe.read_to_end(&mut bytes)?;
        }
        io::Result::Ok(bytes)
    });
    let mut last = VecDeque::with_capacity(QUOTED_LINES);
    if let Some(pipe) = child.stderr.take() {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            on_line(&line);
            if last.len() == QUOTED_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child.wait().map_err(start)?;
    let output = match reader.join() {
        Ok(bytes) => bytes.map_err(start)?,
        Err(_) => Vec::new(),
    };
    if !status.success() {
        let mut said = last.into_iter().collect::<Vec<_>>().join("\n");
        // Some compilers write errors to standard output.
        if said.trim().is_empty() {
            let text = String::from_utf8_lossy(&output);
            let lines: Vec<_> = text.lines().collect();
            let from = lines.len().saturating_sub(QUOTED_LINES);
            said = lines.get(from..).unwrap_or_default().join("\n");
        }
        return Err(CommandError::Failed {
            program,
            status,
            said,
        });
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// A command without the environment variables of an outer `cargo run` or `cargo test`, which would affect an inner build.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_build) {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether a variable belongs to one build, and not to the user's Cargo settings (home, network, registries).
fn belongs_to_outer_build(name: &str) -> bool {
    const USER_PREFIXES: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const BUILD_PREFIXES: [&str; 6] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    let begins = |prefix: &&str| name.starts_with(prefix);
    BUILD_PREFIXES.iter().any(begins) && !USER_PREFIXES.iter().any(begins)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn only_the_outer_builds_variables_are_removed() {
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_PKG_NAME",
            "MAKEFLAGS",
        ] {
            assert!(belongs_to_outer_build(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "RUSTUP_TOOLCHAIN",
            "PATH",
            "CARGO_HTTP_PROXY",
            "HOME",
        ] {
            assert!(!belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn output_and_error_lines_are_both_read() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo one >&2; echo two >&2"]);
        let output = run(&mut command, "", |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(output, "out\n");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_failure_quotes_the_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing >&2; exit 3"]);
        match run(&mut command, "", |_| {}).unwrap_err() {
            CommandError::Failed { said, status, .. } => {
                assert_eq!(said, "no such thing");
                assert_eq!(status.code(), Some(3));
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_missing_program_has_advice() {
        let mut command = Command::new("hotshoe-no-such-program");
        let error = run(&mut command, "install it", |_| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`hotshoe-no-such-program` was not found; install it"
        );
    }
}
