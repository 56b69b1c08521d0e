//! The configuration of a device: its own file, and the keys of a `config` release where the file leaves them open (0118).

use std::path::{Path, PathBuf};

use hotshoe_base::{Clock, chain};
use hotshoe_config::{Config, ConfigError, FleetConfig, FleetError, LocalConfig};
use hotshoe_sealing::{AtRest, SealingKeyError};
use hotshoe_store::{
    ApplyError, BlobError, Cause, LedgerError, OpenError, ReadError, Slot, Store, Transition,
    read_blob, read_ledger, read_release,
};
use hotshoe_trust::{Release, ReleaseKind, Verified, VerifyError, verify_installed};

use crate::deploy::{DeployError, keyring, wall_time};

/// The name of the cause when a trial has used up its starts.
const DIED_IN_PROBATION: &str = "died_in_probation";

/// Why a `config` release is not in effect.
#[derive(Debug, thiserror::Error)]
pub enum FleetConfigError {
    /// The folder of its releases cannot be opened.
    #[error("the `config` releases of this device cannot be read")]
    Store(#[source] OpenError),
    /// The key of the data folder cannot be read.
    #[error("the key of the data folder cannot be read")]
    Key(#[source] SealingKeyError),
    /// The trusted keys cannot be read.
    #[error("the trusted keys cannot be read")]
    Trust(#[source] Box<DeployError>),
    /// It cannot be read back.
    #[error("the `config` release cannot be read")]
    Package(#[source] ReadError),
    /// It is not trusted on this device.
    #[error("the `config` release is not accepted on this device")]
    Verify(#[source] VerifyError),
    /// Its file cannot be read back.
    #[error("the file of the `config` release cannot be read")]
    Blob(#[source] BlobError),
    /// It has no such file, or one that is not text.
    #[error("the file of the `config` release is not text")]
    Text,
    /// Its keys cannot be used here.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The version of this host cannot be read.
    #[error("the version of this host is not valid")]
    Version,
    /// The ledger of its releases cannot be read.
    #[error("the ledger of the `config` releases cannot be read")]
    Slots(#[source] LedgerError),
    /// The ledger of its releases cannot be written.
    #[error("the start with the `config` release cannot be recorded")]
    Ledger(#[source] ApplyError),
}

impl FleetConfigError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Store(error) => error.name(),
            Self::Key(error) => error.name(),
            Self::Trust(_) => "no_trust",
            Self::Package(error) => error.name(),
            Self::Verify(error) => error.name(),
            Self::Blob(error) => error.name(),
            Self::Text => "config_refused",
            Self::Fleet(error) => error.name(),
            Self::Version => "wrong_host_version",
            Self::Slots(error) => error.name(),
            Self::Ledger(error) => error.name(),
        }
    }
}

/// The folder of the releases of a kind, in a data folder. Each has slots, floors and blobs of its own.
pub fn releases_of(data: &Path, kind: ReleaseKind) -> PathBuf {
    data.join("releases").join(kind.to_string())
}

/// Reads the device's own file, and the configuration that it has together with the `config` release that is live or on trial. A release
/// that cannot be used is left out, with a line in the log: a device always starts with its own file.
///
/// A start with an unconfirmed release is counted, so that this is called once for each start of a daemon, before anything else.
///
/// # Errors
/// [`ConfigError`] of the device's own file.
pub fn load_config(path: &Path, clock: &Clock) -> Result<(LocalConfig, Config), ConfigError> {
    let local = LocalConfig::load(path)?;
    let folder = releases_of(&local.config().data, ReleaseKind::Config);
    let config = if folder.join("ledger.json").exists() {
        with_release(&local, &folder, clock).unwrap_or_else(|error| {
            let cause = chain(&error);
            tracing::error!(cause, "no `config` release is in effect");
            None
        })
    } else {
        None
    };
    let config = config.unwrap_or_else(|| local.config().clone());
    Ok((local, config))
}

fn with_release(
    local: &LocalConfig,
    folder: &Path,
    clock: &Clock,
) -> Result<Option<Config>, FleetConfigError> {
    let at_rest = at_rest(local)?;
    let mut store = Store::open_at_rest(folder, at_rest).map_err(FleetConfigError::Store)?;
    if let Some(trial) = store.ledger().trial.clone() {
        match try_again(local, &mut store, trial.tries_left, &trial.slot, clock) {
            Ok(config) => return Ok(Some(config)),
            Err(cause) => {
                tracing::error!(%cause, "the `config` release is rolled back");
                let rolled_back = Transition::RollBack(cause);
                let applied = store.apply(&rolled_back, wall_time(clock));
                applied.map_err(FleetConfigError::Ledger)?;
            }
        }
    }
    let Some(live) = store.ledger().live.clone() else {
        return Ok(None);
    };
    let fleet = verified_keys(local, &store, &live)?;
    Ok(Some(local.with(&fleet)?))
}

/// The configuration with the trial, whose start is counted first.
fn try_again(
    local: &LocalConfig,
    store: &mut Store,
    tries_left: u32,
    slot: &Slot,
    clock: &Clock,
) -> Result<Config, Cause> {
    if tries_left == 0 {
        let message = "the daemon ended before it confirmed the release, as often as is allowed";
        return Err(Cause::new(DIED_IN_PROBATION, message));
    }
    let mut config = || -> Result<Config, FleetConfigError> {
        let counted = store.apply(&Transition::TryAgain, wall_time(clock));
        counted.map_err(FleetConfigError::Ledger)?;
        let fleet = verified_keys(local, store, slot)?;
        Ok(local.with(&fleet)?)
    };
    config().map_err(|error| Cause::new(error.name(), chain(&error)))
}

/// The keys of an installed release, verified by the keys that this device trusts.
fn verified_keys(
    local: &LocalConfig,
    store: &Store,
    slot: &Slot,
) -> Result<FleetConfig, FleetConfigError> {
    let config = local.config();
    let main = Store::open_unchanged(&config.data, at_rest(local)?);
    let main = main.map_err(FleetConfigError::Store)?;
    let trust = keyring::open(config, &main);
    let trust = trust.map_err(|error| FleetConfigError::Trust(Box::new(error)))?;
    let package = store
        .read_package(slot)
        .map_err(FleetConfigError::Package)?;
    let host = env!("CARGO_PKG_VERSION").parse();
    let host = host.map_err(|_| FleetConfigError::Version)?;
    let release = verify_installed(&package, &trust, slot.release, &config.identity(), &host);
    keys_of(store, &release.map_err(FleetConfigError::Verify)?)
}

/// The `config` release that a device has.
#[derive(Debug)]
pub struct InstalledKeys {
    /// Its keys.
    pub fleet: FleetConfig,
    /// Its slot.
    pub slot: Slot,
    /// Whether it is not confirmed yet.
    pub is_trial: bool,
}

/// The `config` release that is on trial or live on a device, also while a daemon runs. Its signatures are not verified here: the
/// daemon did that before it put the release into its slot.
///
/// # Errors
/// [`FleetConfigError`] says what cannot be read.
pub fn installed_keys(local: &LocalConfig) -> Result<Option<InstalledKeys>, FleetConfigError> {
    let folder = releases_of(&local.config().data, ReleaseKind::Config);
    let ledger = match read_ledger(&folder) {
        Err(LedgerError::Missing { .. }) => return Ok(None),
        ledger => ledger.map_err(FleetConfigError::Slots)?,
    };
    let trial = ledger.trial.map(|trial| trial.slot);
    let is_trial = trial.is_some();
    let Some(slot) = trial.or(ledger.live) else {
        return Ok(None);
    };
    let at_rest = at_rest(local)?;
    let document =
        read_release(&folder, &at_rest, slot.release).map_err(FleetConfigError::Package)?;
    let release: Option<Release> = serde_json::from_slice(&document).ok();
    let file = release.and_then(|it| it.data.get(ReleaseKind::CONFIG_FILE).cloned());
    let file = file.ok_or(FleetConfigError::Text)?;
    let text = read_blob(&folder, &at_rest, &file.blob).map_err(FleetConfigError::Blob)?;
    let fleet = parsed(text)?;
    Ok(Some(InstalledKeys {
        fleet,
        slot,
        is_trial,
    }))
}

fn at_rest(local: &LocalConfig) -> Result<AtRest, FleetConfigError> {
    let opened = local.config().encryption.open();
    opened.map_err(FleetConfigError::Key)
}

fn parsed(text: Vec<u8>) -> Result<FleetConfig, FleetConfigError> {
    let text = String::from_utf8(text).map_err(|_| FleetConfigError::Text)?;
    Ok(FleetConfig::parse(&text)?)
}

/// The keys that a verified release sets.
pub(crate) fn keys_of(
    store: &Store,
    release: &Verified<Release>,
) -> Result<FleetConfig, FleetConfigError> {
    let file = release.data.get(ReleaseKind::CONFIG_FILE);
    let file = file.ok_or(FleetConfigError::Text)?;
    let text = store.blob(&file.blob).map_err(FleetConfigError::Blob)?;
    parsed(text)
}
