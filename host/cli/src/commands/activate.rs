use crate::fleet::order::{OrderArgs, OrderKind, send};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use serde_json::Value;
use std::process::ExitCode;

/// Activate a staged release
///
/// A release that was published with `--stage-only` is verified and self-tested on the device, and waits for this command. Its trial
/// then starts, with `[deploy] window` once the window opens.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: on the device itself
  hotshoe activate --config hotshoe.toml

Example: from another machine
  hotshoe activate --site lab --device line-4 --connect tcp/192.0.2.7:7447")]
pub(crate) struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let answer = send(&args.order, OrderKind::Activate)?;
    if terminal.json {
        terminal.json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key| answer.get(key).and_then(Value::as_str);
    let release = text("release").unwrap_or_default();
    terminal.print(match text("waiting") {
        Some("window") => format!("{release} waits for the maintenance window"),
        Some(waiting) => format!("{release} waits: {waiting}"),
        None => format!("{} {release}", terminal.good("activated")),
    })?;
    Ok(ExitCode::SUCCESS)
}
