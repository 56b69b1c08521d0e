use std::process::ExitCode;

use anyhow::Context;
use hotshoe_daemon::command::{Command, DataAction};
use hotshoe_daemon::control;
use hotshoe_daemon::stored_data::{Erasure, StoredSource};
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use serde_json::{Value, json};

use crate::fleet::local::LocalArgs;

/// List and erase the outputs that this device keeps
///
/// Insights, actions and messages that must arrive ([outbox] in hotshoe.toml) are kept until they have, and their bytes for at most the
/// retention of their class. The daemon of the device must run.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe data list --data /var/lib/hotshoe
  hotshoe data erase --source insight --data /var/lib/hotshoe

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what the device has of each source
    ///
    /// A source is an output: `insight`, `action` or `custom:TOPIC`. The table has what was not delivered, and the age of the oldest bytes,
    /// those of delivered records included.
    #[command(after_help = "\
Example:
  hotshoe data list --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(LocalArgs),
    /// Erase all that the device has of a source
    ///
    /// Removes the bytes of all records of the source, also of delivered ones, and reports how many there were. Records that were not
    /// delivered are lost; the loss is delivered, with the cause `erased`. What collectors or a broker have stays there. The audit log records
    /// the command.
    #[command(after_help = "\
Example:
  hotshoe data erase --source insight --config hotshoe.toml --json

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Erase(EraseArgs),
}

#[derive(Debug, clap::Args)]
struct EraseArgs {
    /// The source: `insight`, `action` or `custom:TOPIC`
    #[arg(long, value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    target: LocalArgs,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    match args.action {
        Action::List(target) => {
            let answer = ask(&target, DataAction::List {})?;
            let sources: Vec<StoredSource> = serde_json::from_value(answer).context(UNREADABLE)?;
            list(&sources, terminal)?;
        }
        Action::Erase(EraseArgs { source, target }) => {
            let answer = ask(&target, DataAction::Erase { source })?;
            let erasure: Erasure = serde_json::from_value(answer).context(UNREADABLE)?;
            report(&erasure, terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const UNREADABLE: &str =
    "the daemon's answer cannot be read; check that it has the same version as this program";

fn ask(target: &LocalArgs, action: DataAction) -> anyhow::Result<Value> {
    let data = target.data_folder()?;
    Ok(control::call(&data, &Command::Data { action })?)
}

fn list(sources: &[StoredSource], terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(&json!({ "sources": sources }));
    }
    if sources.is_empty() {
        return terminal.print("nothing is kept");
    }
    let seconds = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
    let rows = sources.iter().map(|it| {
        vec![
            it.source.clone(),
            it.records.to_string(),
            size(it.bytes),
            seconds(it.oldest_seconds),
            seconds(it.oldest_bytes_seconds),
            seconds(it.retention_seconds),
        ]
    });
    let heads = [
        "source",
        "records",
        "size",
        "oldest s",
        "oldest bytes s",
        "retention s",
    ];
    terminal.print(terminal.table(&heads, rows))
}

fn report(erasure: &Erasure, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(erasure);
    }
    let (erased, source, bytes) = (
        terminal.good("erased"),
        &erasure.source,
        size(erasure.bytes),
    );
    terminal.print(format!(
        "{erased} {source}: {} undelivered records ({bytes}), {} files with bytes of it removed",
        erasure.records, erasure.files
    ))?;
    let elsewhere = erasure.given.saturating_sub(erasure.records);
    if elsewhere > 0 {
        terminal.note(format!(
            "up to {elsewhere} earlier records were delivered: erase them at the collectors or the broker"
        ));
    }
    Ok(())
}
