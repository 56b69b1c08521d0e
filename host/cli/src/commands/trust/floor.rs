use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_daemon::command::Command;

use crate::fleet::local;
use hotshoe_release::terminal::Terminal;

/// Accept older generations of a release again, on this device
///
/// A device refuses generations below its floor, the newest one that it has confirmed, so that an attacker cannot bring back an old
/// release with a known fault. This command lowers the floor of one release name. It works only on the device itself, and is written to
/// the device's log and history.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: generation 12 is bad, and 11 will be published again
  hotshoe trust floor labels 11 --config hotshoe.toml")]
pub(super) struct Args {
    /// The release's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The lowest generation that is accepted from now on
    #[arg(value_name = "GENERATION")]
    generation: u64,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let Args {
        name, generation, ..
    } = args;
    if !args.yes {
        confirm(name, *generation, terminal)?;
    }
    let command = Command::TrustFloor {
        name: name.clone(),
        generation: *generation,
    };
    let answer = local::ask(args.config.as_ref(), &command)?;
    if terminal.json {
        terminal.json(&answer.value)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(terminal.warning(&format!(
        "this device accepts `{name}` from generation {generation} on"
    )))?;
    if !answer.running {
        terminal.note("no daemon runs; it applies from the next start");
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains the effect, and asks for confirmation.
fn confirm(name: &str, generation: u64, terminal: &Terminal) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!(
            "this allows older releases of `{name}` again, from generation {generation} on; give --yes to confirm"
        );
    }
    terminal.note(format!(
        "Anyone with an old signed release of `{name}`, from generation {generation} on, can make this device run it again.\n\
         Type yes to continue:"
    ));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}
