use crate::fleet::order::{OrderArgs, OrderKind, send, slot};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use std::process::ExitCode;

/// Roll back to the previous release
///
/// Ends the trial of a release or, without a trial, makes the previous release live again. The device then refuses the replaced
/// release until it is published again with a higher generation. On the device itself this needs neither a network nor a running daemon.
/// Over Zenoh a device does not roll back below its floor.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: on the device itself
  hotshoe rollback --config hotshoe.toml

Example: from another machine
  hotshoe rollback --site lab --device line-4 --connect tcp/192.0.2.7:7447 --key alice.key")]
pub(crate) struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let answer = send(&args.order, OrderKind::Rollback)?;
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
