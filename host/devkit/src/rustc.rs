//! The `rustc` on the path.

use crate::process::{self, CommandError};
use std::path::{Path, PathBuf};

/// The standard output of `rustc` with these arguments.
pub(crate) fn output(arguments: &[&str]) -> Result<String, CommandError> {
    let mut command = process::clean("rustc");
    command.args(arguments);
    process::run(&mut command, "install Rust with rustup", |_| {})
}

/// The WebAssembly linker that comes with it.
pub(crate) fn rust_lld() -> Result<PathBuf, CommandError> {
    let folder = output(&["--print", "target-libdir"])?;
    let target = Path::new(folder.trim()).parent().unwrap_or(Path::new(""));
    Ok(target.join("bin").join("rust-lld"))
}
