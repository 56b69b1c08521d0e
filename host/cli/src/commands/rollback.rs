use crate::fleet::order::{OrderArgs, What, give, slot};
use crate::logging;
use crate::terminal::Terminal;
use std::process::ExitCode;

/// Go back to the release before
///
/// Ends a release's probation, or, where none is in probation, makes the previous release live again. The release that is
/// left is remembered and refused until it is published anew with a higher generation. On the device itself this needs no
/// network, and no running daemon; over Zenoh a device goes back no further than to its floor.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: on the device itself
  hotshoe rollback --config hotshoe.toml

Example: from elsewhere
  hotshoe rollback --site lab --device line-4 --connect tcp/192.0.2.7:7447 --key alice.key")]
pub struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let answer = give(&args.order, What::Rollback)?;
    if terminal.json {
        terminal.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let left = slot(answer.get("left")).unwrap_or_else(|| "the release".to_owned());
    let now = slot(answer.get("now")).unwrap_or_else(|| "nothing".to_owned());
    terminal.print(format!("{} {left}", terminal.good("left")))?;
    terminal.print(format!("now live: {now}"))?;
    Ok(ExitCode::SUCCESS)
}
