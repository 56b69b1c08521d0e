use crate::fleet::local;
use anyhow::Context;
use hotshoe_daemon::command::Command;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_store::{Event, Phase};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show the release history of this device
///
/// Lists the last 100 changes of the device's ledger, oldest first: the releases that were staged, tried, confirmed, refused or rolled
/// back, and why. It works with and without a running daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe history --config hotshoe.toml
  hotshoe history --json | jq '.[] | select(.phase == \"rolled-back\")'")]
pub(crate) struct Args {
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let answer = local::ask(args.config.as_ref(), &Command::History)?.value;
    if terminal.json {
        terminal.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let events: Vec<Event> =
        serde_json::from_value(answer).context("the device's answer is not a history")?;
    if events.is_empty() {
        terminal.print("nothing has happened on this device yet")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = events.iter().map(|event| {
        vec![
            // Whole seconds are enough for people.
            format!("{:.0}", event.at),
            event.name.clone(),
            event.generation.to_string(),
            coloured(event.phase, terminal),
            event
                .cause
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        ]
    });
    terminal.print(terminal.table(&["when", "release", "generation", "phase", "cause"], rows))?;
    Ok(ExitCode::SUCCESS)
}

fn coloured(phase: Phase, terminal: &Terminal) -> String {
    let word = phase.to_string();
    match phase {
        Phase::Live => terminal.good(&word),
        phase if phase.is_failure() => terminal.bad(&word),
        _ => word,
    }
}
