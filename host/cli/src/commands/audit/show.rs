use std::process::ExitCode;

use hotshoe_audit::{Actor, FOLDER, Record, read_segments};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::Time;

use super::LogArgs;

/// Show the records of the audit log
///
/// Lists the records, oldest first: number, time, kind, who and what. It does not check them: `hotshoe audit verify` does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe audit show --config hotshoe.toml --since 2026-12-01T00:00:00Z
  hotshoe audit show --data /var/lib/hotshoe --kind command --kind order --json")]
pub(super) struct Args {
    #[command(flatten)]
    log: LogArgs,
    /// Only records from this time on (RFC 3339, such as 2027-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Only records of this kind; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let data = args.log.data()?;
    let (mut records, mut unreadable) = (Vec::new(), 0_u64);
    for segment in read_segments(&data.join(FOLDER))? {
        for line in segment.lines() {
            match line.record() {
                Some(record) if args.wants(&record) => records.push(record),
                Some(_) => {}
                None => unreadable += 1,
            }
        }
    }
    if unreadable > 0 {
        terminal.note(format!(
            "{unreadable} lines are not records; see `hotshoe audit verify`"
        ));
    }
    if terminal.json {
        terminal.json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    if records.is_empty() {
        terminal.print("the audit log has no such records")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = records.iter().map(|record| {
        vec![
            record.sequence.to_string(),
            // Whole seconds are enough for people.
            format!("{:.0}", record.time),
            record.kind.name().to_owned(),
            who(&record.actor),
            what(record),
        ]
    });
    terminal.print(terminal.table(&["number", "when", "kind", "who", "what"], rows))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn wants(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && (self.kind.is_empty() || self.kind.iter().any(|kind| kind == record.kind.name()))
    }
}

fn who(actor: &Actor) -> String {
    match actor {
        Actor::Device => "device".to_owned(),
        Actor::Operator => "operator".to_owned(),
        Actor::Deployer { keys } if keys.is_empty() => "deployer".to_owned(),
        Actor::Deployer { keys } => format!("deployer {}", keys.join(", ")),
        Actor::Component { name } => format!("component {name}"),
        Actor::Unknown => "unknown".to_owned(),
    }
}

fn what(record: &Record) -> String {
    let mut parts: Vec<String> = record
        .details
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if let Some(removed) = record.checkpoint.as_ref().and_then(|it| it.removed) {
        parts.push(format!("through={}", removed.head.sequence));
    }
    parts.join(" ")
}
