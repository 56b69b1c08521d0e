//! The device on this machine: asks its daemon through the control socket, or opens its data folder if no daemon runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_audit::{Actor, AuditKind, Entry, append_offline};
use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_daemon::command::{Command, CommandError, SecretAction, history, offline};
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_daemon::deploy::releases_of;
use hotshoe_store::{Store, read_ledger};
use hotshoe_trust::{ReleaseKind, Time};
use serde_json::Value;

use crate::data_folder::check_owner;

/// The default configuration file.
pub(crate) const CONFIG: &str = "hotshoe.toml";

/// The options that name the data folder of the device on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct LocalArgs {
    /// The data folder of the device [default: that of --config]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LocalArgs {
    /// The data folder, from `--data`, or the configuration.
    pub(crate) fn data_folder(&self) -> anyhow::Result<PathBuf> {
        data_folder(self.data.as_deref(), self.config.as_deref())
    }
}

/// An answer, and whether a daemon gave it.
pub(crate) struct LocalAnswer {
    /// The answer.
    pub value: Value,
    /// False if no daemon runs, and the data folder itself was read or changed.
    pub running: bool,
}

/// The data folder of the device on this machine: `data`, or that of its configuration.
pub(crate) fn data_folder(data: Option<&Path>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(data) = data {
        return Ok(data.to_owned());
    }
    let path = config.unwrap_or(Path::new(CONFIG));
    let config = Config::load(path)
        .with_context(|| format!("cannot use {}; give --data or --config", path.display()))?;
    Ok(config.data)
}

/// The configuration of the device on this machine: `path`, or the default file.
pub(crate) fn local_config(path: Option<&Path>) -> anyhow::Result<Config> {
    let path = path.unwrap_or(Path::new(CONFIG));
    Config::load(path).with_context(|| format!("cannot use {}; give --config", path.display()))
}

/// Asks the device of a configuration.
pub(crate) fn ask(config: Option<&PathBuf>, command: &Command) -> anyhow::Result<LocalAnswer> {
    let config = local_config(config.map(PathBuf::as_path))?;
    match control::call(&config.data, command) {
        Ok(value) => Ok(LocalAnswer {
            value,
            running: true,
        }),
        // A command that only reads does not create the data folder.
        Err(ControlError::NotRunning { .. })
            if *command == Command::History && !config.data.exists() =>
        {
            Ok(LocalAnswer {
                value: history([]),
                running: false,
            })
        }
        Err(error @ ControlError::NotRunning { .. }) if !config.data.exists() => Err(error.into()),
        Err(ControlError::NotRunning { .. }) => {
            check_owner(&config.data)?;
            let mut store = Store::open_at_rest(&config.data, config.encryption.open()?)
                .with_context(|| format!("cannot use the data folder {}", config.data.display()))?;
            let now = Time::now();
            let value = match command {
                Command::History => Ok(history_of(&store)?),
                command => offline(&mut store, command, now),
            };
            let outcome = value.as_ref().err().map_or("done", CommandError::name);
            audit(&config.data, command, outcome, now);
            Ok(LocalAnswer {
                value: value?,
                running: false,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// The history of the releases of all kinds.
fn history_of(store: &Store) -> anyhow::Result<Value> {
    let kinds = [ReleaseKind::Config, ReleaseKind::Host];
    let folders = kinds.map(|kind| releases_of(store.folder(), kind));
    let mut ledgers = Vec::new();
    for folder in folders.iter().filter(|it| it.join("ledger.json").exists()) {
        let ledger = read_ledger(folder);
        ledgers.push(ledger.with_context(|| format!("cannot read {}", folder.display()))?);
    }
    Ok(history(std::iter::once(store.ledger()).chain(&ledgers)))
}

/// Records a command that no daemon carried out. Commands that only read are not recorded.
fn audit(data: &Path, command: &Command, outcome: &str, now: Time) {
    if matches!(command, Command::Status | Command::History) {
        return;
    }
    record_offline(data, now, |entry| {
        command.described(entry).with("outcome", outcome)
    });
}

/// Records an operator's command in the log of a data folder that no daemon uses. The command was carried out, so that a failure is only logged.
pub(crate) fn record_offline(data: &Path, now: Time, describe: impl FnOnce(Entry) -> Entry) {
    let entry = Entry::new(AuditKind::Command, now).by(Actor::Operator);
    if let Err(error) = append_offline(data, &describe(entry), now) {
        let cause = chain(&error);
        tracing::error!(cause, "this command is not in the audit log");
    }
}

/// Records a change of a stored secret, by the daemon if one runs.
pub(crate) fn record_secret(data: &Path, action: SecretAction) {
    let command = Command::Secret { action };
    match control::call(data, &command) {
        Ok(_) => {}
        Err(ControlError::NotRunning { .. }) => audit(data, &command, "done", Time::now()),
        Err(error) => {
            let cause = chain(&error);
            tracing::error!(cause, "this command is not in the audit log");
        }
    }
}
