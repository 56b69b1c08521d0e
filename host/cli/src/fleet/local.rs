//! The device on this machine: its daemon is asked through its socket; where none runs, its data folder is opened.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_config::Config;
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_daemon::deploy::{Command, offline};
use hotshoe_store::Store;
use hotshoe_trust::Time;
use serde_json::Value;

/// The configuration where nothing else is given.
pub const CONFIG: &str = "hotshoe.toml";

/// An answer, and whether a daemon gave it.
pub struct Answer {
    /// What it says.
    pub value: Value,
    /// False where no daemon ran, and the data folder itself was read or changed.
    pub running: bool,
}

/// Asks the device of a configuration.
pub fn ask(config: Option<&PathBuf>, command: &Command) -> anyhow::Result<Answer> {
    let path = config.map_or(Path::new(CONFIG), PathBuf::as_path);
    let config = Config::load(path)
        .with_context(|| format!("cannot use {}; give --config", path.display()))?;
    match control::call(&config.data, command) {
        Ok(value) => Ok(Answer {
            value,
            running: true,
        }),
        Err(ControlError::NotRunning { .. }) => {
            let mut store = Store::open(&config.data)
                .with_context(|| format!("cannot use the data folder {}", config.data.display()))?;
            let value = offline(&mut store, command, Time::now())?;
            Ok(Answer {
                value,
                running: false,
            })
        }
        Err(error) => Err(error.into()),
    }
}
