use std::process::ExitCode;

use anyhow::Context;
use hotshoe_daemon::command::{AlertsAction, Command};
use hotshoe_daemon::control;
use hotshoe_protocol::alert::{AlertKind, AlertList, AlertStatus, Silence};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use jiff::{Span, SpanRelativeTo};
use strum::VariantArray as _;

use crate::fleet::local::LocalArgs;

/// List and silence the alerts of this device
///
/// An alert lasts until its cause has been away for `alerts.calm-s` (hotshoe.toml). The daemon of the device must run.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe alerts list --data /var/lib/hotshoe
  hotshoe alerts silence --kind disk --for 12h --data /var/lib/hotshoe

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the alerts that last, and the silences
    ///
    /// The most serious alert comes first. A silenced one is in the list, too.
    #[command(after_help = "\
Example:
  hotshoe alerts list --config hotshoe.toml --json

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(LocalArgs),
    /// Silence alerts for a time
    ///
    /// A silenced alert is in the list and in the status. It makes no event and no record of the outbox, and the metrics leave it out. When the silence
    /// ends, an alert that still lasts is told. The silence stays over a restart, and the audit log records the command.
    #[command(after_help = "\
Example:
  hotshoe alerts silence --kind certificate_expiry --subject page.tls.certificate --for 7d

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Silence(SilenceArgs),
    /// End the silences of a kind of alert
    ///
    /// An alert that still lasts is told again. The audit log records the command.
    #[command(after_help = "\
Example:
  hotshoe alerts unsilence --kind disk --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Unsilence(UnsilenceArgs),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The kind of alert, such as `heat` or `release_expiry`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: AlertKind,
    /// The subject, as `list` shows it [default: all]
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
}

#[derive(Debug, clap::Args)]
struct SilenceArgs {
    #[command(flatten)]
    which: Which,
    /// The time from now, such as `30m`, `12h` or `7d`, at most 366 days
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: u64,
    #[command(flatten)]
    target: LocalArgs,
}

#[derive(Debug, clap::Args)]
struct UnsilenceArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    target: LocalArgs,
}

/// Reads the name of a kind.
fn kind(text: &str) -> Result<AlertKind, String> {
    text.parse().map_err(|_| {
        let names: Vec<&str> = AlertKind::VARIANTS.iter().map(|it| it.name()).collect();
        format!("not one of {}", names.join(", "))
    })
}

/// Reads a time such as `12h`. A day has 24 hours.
fn seconds(text: &str) -> Result<u64, String> {
    let span = text.parse::<Span>();
    let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let seconds = time
        .ok()
        .and_then(|time| u64::try_from(time.as_secs()).ok());
    seconds.ok_or_else(|| "not a time such as 30m, 12h or 7d".to_owned())
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (action, target) = match args.action {
        Action::List(target) => (AlertsAction::List {}, target),
        Action::Silence(SilenceArgs {
            which: Which { kind, subject },
            seconds,
            target,
        }) => {
            let action = AlertsAction::Silence {
                kind,
                subject,
                seconds,
            };
            (action, target)
        }
        Action::Unsilence(UnsilenceArgs {
            which: Which { kind, subject },
            target,
        }) => (AlertsAction::Unsilence { kind, subject }, target),
    };
    let data = target.data_folder()?;
    let answer = control::call(&data, &Command::Alerts { action })?;
    let list: AlertList = serde_json::from_value(answer).context(
        "the daemon's answer cannot be read; check that it has the same version as this program",
    )?;
    show(&list, terminal)?;
    Ok(ExitCode::SUCCESS)
}

fn show(list: &AlertList, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(list);
    }
    if list.alerts.is_empty() {
        terminal.print("no alert lasts")?;
    } else {
        let rows = list.alerts.iter().map(row);
        let heads = [
            "severity",
            "kind",
            "subject",
            "since",
            "count",
            "silenced until",
            "text",
        ];
        terminal.print(terminal.table(&heads, rows))?;
    }
    if list.silences.is_empty() {
        return Ok(());
    }
    let rows = list.silences.iter().map(
        |Silence {
             kind,
             subject,
             until,
         }| {
            let subject = subject.clone().unwrap_or_else(|| "all".to_owned());
            vec![kind.name().to_owned(), subject, until.to_string()]
        },
    );
    terminal.print(terminal.table(&["silenced kind", "subject", "until"], rows))
}

fn row(alert: &AlertStatus) -> Vec<String> {
    let silenced = alert.silenced_until.map(|until| until.to_string());
    vec![
        alert.severity.name().to_owned(),
        alert.kind.name().to_owned(),
        alert.subject.clone(),
        alert.since.to_string(),
        alert.count.to_string(),
        silenced.unwrap_or_else(|| "-".to_owned()),
        alert.text.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_a_kind_is_one_of_the_known_ones() {
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["7", "-1h", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(kind("error_spike"), Ok(AlertKind::ErrorSpike));
        let known = kind("errors").err();
        assert!(known.is_some_and(|it| it.contains("error_spike, deadline_misses")));
    }
}
