use crate::fleet::order::{OrderArgs, OrderKind, send};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use serde_json::Value;
use std::process::ExitCode;

/// Cancel a pending release
///
/// Stops the fetch of a release, or discards one that is staged. The release that serves does not change: `rollback` ends a trial.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: on the device itself
  hotshoe cancel --config hotshoe.toml

Example: from another machine
  hotshoe cancel --site lab --device line-4 --connect tcp/192.0.2.7:7447")]
pub(crate) struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let answer = send(&args.order, OrderKind::Cancel)?;
    if terminal.json {
        terminal.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let release = answer.get("release").and_then(Value::as_str);
    terminal.print(format!(
        "{} {}",
        terminal.good("cancelled"),
        release.unwrap_or_default()
    ))?;
    Ok(ExitCode::SUCCESS)
}
