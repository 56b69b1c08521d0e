use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_daemon::deploy::Command;

use crate::fleet::local;
use crate::terminal::Terminal;

/// Accept older generations of a release again, on this device
///
/// A device never goes back below the newest generation that it has confirmed: that is its floor, and it keeps an attacker from
/// bringing back an old release with a known fault. This lowers the floor of one release name by an operator's decision. It can
/// be done on the device itself alone, and it is written to the device's log and history.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: generation 12 turned out to be bad, and 11 is to be published again
  hotshoe trust floor labels 11 --config hotshoe.toml")]
pub struct Args {
    /// The release's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The lowest generation that is accepted from now on
    #[arg(value_name = "GENERATION")]
    generation: u64,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
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
        terminal.note("no daemon runs; it holds from the next start");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what it means, and asks.
fn confirm(name: &str, generation: u64, terminal: &Terminal) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!(
            "this lets older releases of `{name}` back in, from generation {generation} on; give --yes if that is meant"
        );
    }
    terminal.note(format!(
        "Whoever holds an old signed release of `{name}`, from generation {generation} on, can have this device run it again.\n\
         Type yes to go on:"
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
