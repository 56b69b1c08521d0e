use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::Shell;

/// Print the completions of a shell
///
/// Prints a script that completes the commands and options of this program. It changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: for bash, once
  hotshoe completions bash > ~/.local/share/bash-completion/completions/hotshoe

Example: for fish, once
  hotshoe completions fish > ~/.config/fish/completions/hotshoe.fish

Exit codes: 0 printed, 1 standard output failed, 2 wrong usage.")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut program: clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    // The library panics if it cannot write, so that it writes to memory.
    clap_complete::generate(args.shell, &mut program, "hotshoe", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
