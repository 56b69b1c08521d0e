mod remote;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_daemon::command::{Command, SharedDataAction};
use hotshoe_daemon::control;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_shared_data::{Rule, Summary, View};
use serde_json::{Value, json};

use crate::fleet::local::data_folder;
use crate::fleet::network::NetworkArgs;
use remote::Remote;

/// Read and write the values that a device and its site share
///
/// A device has the values that its hotshoe.toml names ([shared-data.NAME]), each with a rule for conflicting writes. Without --device, the
/// commands are for the device on this machine, whose daemon must run. With --device they are for a device elsewhere, and write as its
/// site. With --replica, a write is kept in a folder while the device cannot be reached, and `sync` delivers it.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example: at the site
  hotshoe shared-data list --site lab --device line-4 --connect tcp/192.0.2.7:7447
  hotshoe shared-data set threshold 0.8 --site lab --device line-4 --connect tcp/192.0.2.7:7447 --replica shared --key alice.key
  hotshoe shared-data sync --site lab --device line-4 --connect tcp/192.0.2.7:7447 --replica shared --key alice.key

Example: on the device
  hotshoe shared-data append notes '\"lens cleaned\"' --data /var/lib/hotshoe

On the device, in hotshoe.toml:
  [shared-data.threshold]
  rule = \"remote-wins\"    # or \"last-writer-wins\", \"append\"

Exit codes: 0 done, also if a replica keeps a write for later (`delivered` is false); 1 failed; 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the shared values of a device
    #[command(after_help = "\
Example:
  hotshoe shared-data list --data /var/lib/hotshoe

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(Target),
    /// Show a shared value
    #[command(after_help = "\
Example:
  hotshoe shared-data get threshold --site lab --device line-4 --connect tcp/192.0.2.7:7447

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Get(Named),
    /// Set a shared value
    #[command(after_help = "\
Example:
  hotshoe shared-data set threshold 0.8 --site lab --device line-4 --connect tcp/192.0.2.7:7447

Exit codes: 0 done, also if a replica keeps the write for later; 1 failed; 2 wrong usage.")]
    Set(Written),
    /// Append an item to a shared list
    #[command(after_help = "\
Example:
  hotshoe shared-data append notes \"lens cleaned\" --data /var/lib/hotshoe

Exit codes: 0 done, also if a replica keeps the item for later; 1 failed; 2 wrong usage.")]
    Append(Written),
    /// Exchange all shared values with a device
    #[command(after_help = "\
Example:
  hotshoe shared-data sync --site lab --device line-4 --connect tcp/192.0.2.7:7447 --replica shared

Example: each time the device can be reached again or changes a value, until Ctrl-C
  hotshoe shared-data sync --follow --site lab --device line-4 --connect tcp/192.0.2.7:7447 --replica shared --key alice.key

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Sync(Synced),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The value's name
    name: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Written {
    /// The value's name
    name: String,
    /// The value as JSON; text that is not JSON is a string
    #[arg(allow_negative_numbers = true)]
    value: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Synced {
    /// Go on: exchange at once when the device can be reached again, or changes a value, until Ctrl-C. With --json, one line for each exchange
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

/// Which device.
#[derive(Debug, clap::Args)]
struct Target {
    /// The data folder of the device on this machine [default: that of --config]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "device"])]
    data: Option<PathBuf>,
    /// The device's configuration, or one with the site and the endpoints [default: hotshoe.toml on the device itself]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A device on another machine, over Zenoh
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Its site [default: that of --config]
    #[arg(long, value_name = "SITE", requires = "device")]
    site: Option<String>,
    /// The folder of the site's replica, which keeps writes while the device cannot be reached
    #[arg(long, value_name = "DIR", requires = "device")]
    replica: Option<PathBuf>,
    /// Sign writes with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE", requires = "device")]
    key: Option<PathBuf>,
    /// Timeout in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    #[command(flatten)]
    network: NetworkArgs,
}

/// What a command did.
enum Outcome {
    Values(Vec<View>),
    Summaries(Vec<Summary>),
    Value {
        view: View,
        /// Whether the device has it, if the command was for a device elsewhere.
        delivered: Option<bool>,
    },
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (target, action) = match &args.action {
        Action::List(target) => (target, SharedDataAction::List {}),
        Action::Sync(synced) => (&synced.target, SharedDataAction::List {}),
        Action::Get(named) => {
            let name = named.name.clone();
            (&named.target, SharedDataAction::Get { name })
        }
        Action::Set(written) => {
            let (name, value) = (written.name.clone(), value(&written.value));
            (&written.target, SharedDataAction::Set { name, value })
        }
        Action::Append(written) => {
            let (name, value) = (written.name.clone(), value(&written.value));
            (&written.target, SharedDataAction::Append { name, value })
        }
    };
    let is_sync = matches!(args.action, Action::Sync(_));
    let follows = matches!(args.action, Action::Sync(Synced { follow: true, .. }));
    let outcome = match &target.device {
        Some(device) if follows => {
            let mut remote = Remote::open(target, device, terminal)?;
            let followed = remote.follow(|values| print_followed(values, terminal));
            remote.close();
            followed?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(device) => {
            let mut remote = Remote::open(target, device, terminal)?;
            let outcome = match is_sync {
                true => remote.sync(),
                false => remote.act(action),
            };
            remote.close();
            outcome?
        }
        None => {
            anyhow::ensure!(!is_sync, "`sync` needs --device, --site and --replica");
            anyhow::ensure!(
                !target.network.is_given(),
                "--connect and --site-dir need --device and --site; without them the command is for the device on this machine"
            );
            local(target, action)?
        }
    };
    print(&outcome, terminal)?;
    Ok(ExitCode::SUCCESS)
}

/// The value of an argument.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn local(target: &Target, action: SharedDataAction) -> anyhow::Result<Outcome> {
    let data = data_folder(target.data.as_deref(), target.config.as_deref())?;
    let is_list = matches!(action, SharedDataAction::List {});
    let answer = control::call(&data, &Command::SharedData { action })?;
    let unreadable = "the daemon's answer is not a shared value; check that it has the same version as this program";
    if is_list {
        let views = serde_json::from_value(answer).context(unreadable)?;
        return Ok(Outcome::Values(views));
    }
    let view = serde_json::from_value(answer).context(unreadable)?;
    Ok(Outcome::Value {
        view,
        delivered: None,
    })
}

/// Prints the values after one of many exchanges.
fn print_followed(outcome: &Outcome, terminal: &Terminal) -> anyhow::Result<()> {
    match outcome {
        Outcome::Values(views) if terminal.json => terminal.json_line(&json!({ "values": views })),
        _ => print(outcome, terminal),
    }
}

fn print(outcome: &Outcome, terminal: &Terminal) -> anyhow::Result<()> {
    match outcome {
        Outcome::Values(views) if terminal.json => terminal.json(&json!({ "values": views })),
        Outcome::Summaries(values) if terminal.json => terminal.json(&json!({ "values": values })),
        Outcome::Value { view, delivered } if terminal.json => {
            let mut report = serde_json::to_value(view)?;
            if let (Some(delivered), Some(report)) = (delivered, report.as_object_mut()) {
                report.insert("delivered".to_owned(), (*delivered).into());
            }
            terminal.json(&report)
        }
        Outcome::Values(views) => {
            let rows = views.iter().map(|view| {
                vec![
                    view.name.clone(),
                    view.rule.as_str().to_owned(),
                    if view.pending { "yes" } else { "" }.to_owned(),
                    view.value.to_string(),
                ]
            });
            terminal.print(terminal.table(&["name", "rule", "pending", "value"], rows))
        }
        Outcome::Summaries(values) => {
            let rows = values
                .iter()
                .map(|value| vec![value.name.clone(), value.rule.as_str().to_owned()]);
            terminal.print(terminal.table(&["name", "rule"], rows))
        }
        Outcome::Value { view, .. } => {
            match (&view.value, view.rule) {
                (Value::Array(items), Rule::Append) => {
                    for item in items {
                        terminal.print(item.to_string())?;
                    }
                }
                (value, _) => terminal.print(value.to_string())?,
            }
            if view.pending {
                terminal.note("pending: the device wrote it, and the site has not confirmed it; any write of the site replaces it");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_else_a_string() {
        assert_eq!(value("0.8"), json!(0.8));
        assert_eq!(value("[1, 2]"), json!([1, 2]));
        assert_eq!(value("\"8\""), json!("8"));
        assert_eq!(value("lens cleaned"), json!("lens cleaned"));
    }
}
