//! Python, for `hotshoe model optimise --int8`.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Finding, State};

/// Prints Python's version, then the missing packages of `hotshoe model optimise --int8`.
const ASK: &str = "import importlib.util as u, platform
print(platform.python_version(), *[n for n in ('onnxruntime', 'onnx') if u.find_spec(n) is None])";

/// Checks the Python interpreter.
pub(super) fn python() -> Finding {
    const WHAT: &str = "Python";
    let named = env::var_os("HOTSHOE_PYTHON").filter(|it| !it.is_empty());
    let python = named
        .clone()
        .map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let answer = Command::new(&python)
        .args(["-c", ASK])
        .stdin(Stdio::null())
        .output();
    let answer = answer.ok().filter(|output| output.status.success());
    let Some(answer) = answer else {
        let none = "not found; not needed to serve";
        return match named {
            None => Finding::ok(WHAT, none),
            Some(_) => Finding::bad(
                WHAT,
                State::Warn,
                format!("{} does not run", python.display()),
                "correct HOTSHOE_PYTHON; only `hotshoe model optimise --int8` and `hotshoe bench` use it",
            ),
        };
    };
    let text = String::from_utf8_lossy(&answer.stdout);
    let mut words = text.split_whitespace();
    let version = words.next().unwrap_or_default();
    let missing: Vec<&str> = words.collect();
    if missing.is_empty() {
        let found = format!("{version}; only `hotshoe model optimise --int8` uses it");
        return Finding::ok(WHAT, found);
    }
    Finding::bad(
        WHAT,
        State::Warn,
        format!(
            "{version} lacks {}, which `hotshoe model optimise --int8` needs",
            missing.join(" and ")
        ),
        "not needed to serve; for --int8: pip install onnxruntime onnx, or set HOTSHOE_PYTHON to another Python",
    )
}
