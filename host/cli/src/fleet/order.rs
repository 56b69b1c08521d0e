//! Orders to one device: through its control socket on this machine, as a statement over Zenoh elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hotshoe_daemon::command::Command;
use hotshoe_link::Client;
use hotshoe_link::OrderError;
use hotshoe_link::device_list::{DeviceList, Unproven};
use hotshoe_protocol::status::SlotStatus;
use hotshoe_protocol::status::Status;
use hotshoe_release::period::after;
use hotshoe_store::Phase;
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, SigningKey, Statement, Time};
use serde_json::Value;

use super::error::FleetError;
use super::local;
use super::network::NetworkArgs;
use super::survey::survey;

/// The lifetime of an order: a device follows it at once or not at all.
const LIFETIME: &str = "10m";

/// The options of `rollback`, `activate` and `cancel`.
#[derive(Debug, clap::Args)]
pub(crate) struct OrderArgs {
    /// The device's configuration, on the device itself [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A device on another machine, over Zenoh
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Its site [default: that of --config]
    #[arg(long, value_name = "SITE", requires = "device")]
    site: Option<String>,
    /// Sign the order with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE", requires = "device")]
    key: Option<PathBuf>,
    /// Timeout in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    #[command(flatten)]
    network: NetworkArgs,
}

/// An order to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderKind {
    /// Roll back to the previous release.
    Rollback,
    /// Activate the staged release.
    Activate,
    /// Cancel the pending release.
    Cancel,
}

impl OrderKind {
    const fn command(self) -> Command {
        match self {
            Self::Rollback => Command::Rollback,
            Self::Activate => Command::Activate,
            Self::Cancel => Command::Cancel,
        }
    }

    fn order(self, release: Digest, name: String) -> Order {
        match self {
            Self::Rollback => Order::Rollback { release, name },
            Self::Activate => Order::Activate { release, name },
            Self::Cancel => Order::Cancel { release, name },
        }
    }

    /// The release of a device that the order applies to.
    fn target(self, status: &Status) -> Result<(Digest, String), FleetError> {
        let slots = &status.slots;
        let named = |slot: &SlotStatus| (slot.release, slot.name.clone());
        let staged = slots.staged.as_ref().map(named);
        let deploy = &status.deploy;
        let is_pending = matches!(
            deploy.phase,
            Phase::Fetching | Phase::Verified | Phase::Staged | Phase::SelfTested | Phase::Shadow
        );
        let pending = deploy
            .release
            .filter(|_| is_pending)
            .map(|release| (release, deploy.name.clone().unwrap_or_default()));
        let trial = slots.trial.as_ref().map(|trial| named(&trial.slot));
        let (found, what) = match self {
            Self::Rollback => (trial.or(slots.live.as_ref().map(named)), "to roll back"),
            Self::Activate => (staged, "that waits to be activated"),
            Self::Cancel => (staged.or(pending), "pending"),
        };
        found.ok_or_else(|| FleetError::Nothing {
            device: status.device.clone(),
            what,
        })
    }
}

/// Sends an order, and returns the device's answer.
pub(crate) fn send(args: &OrderArgs, kind: OrderKind) -> anyhow::Result<Value> {
    let Some(device) = &args.device else {
        anyhow::ensure!(
            !args.network.is_given(),
            "--connect and --site-dir need --device and --site; without them the order is for the device on this machine"
        );
        return local::ask(args.config.as_ref(), &kind.command()).map(|answer| answer.value);
    };
    let (zenoh, site) = args
        .network
        .site(args.site.as_deref(), args.config.as_deref(), None)?;
    // Before the session opens, because this may ask for a passphrase.
    let key = args.network.signing_key(args.key.as_deref())?;
    let list = args.network.devices()?;
    let client = Client::open(&zenoh).with_context(|| args.network.cannot_open())?;
    let target = RemoteDevice {
        client: &client,
        site: &site,
        device,
        list: list.as_ref(),
        timeout: Duration::from_secs(args.timeout),
    };
    let outcome = target.order(kind, key.as_ref());
    client.close();
    outcome
}

/// A device on another machine.
struct RemoteDevice<'a> {
    client: &'a Client,
    site: &'a str,
    device: &'a str,
    /// If given, only answers that the device has signed count.
    list: Option<&'a DeviceList>,
    timeout: Duration,
}

impl RemoteDevice<'_> {
    fn order(&self, kind: OrderKind, key: Option<&SigningKey>) -> anyhow::Result<Value> {
        let (release, name) = kind.target(&self.status()?)?;
        let issued = Time::now();
        let mut envelope = Envelope::new(&Statement {
            site: self.site.to_owned(),
            devices: DeviceSelector {
                names: vec![self.device.to_owned()],
                ..DeviceSelector::default()
            },
            order: kind.order(release, name),
            issued,
            expires: after(issued, LIFETIME)?,
        })?;
        if let Some(key) = key {
            envelope.sign(key).context("cannot sign the order")?;
        }
        let (client, envelope) = (self.client, envelope.to_bytes());
        Ok(client.order_with(self.site, self.device, &envelope, self.timeout, self.list)?)
    }

    fn status(&self) -> Result<Status, OrderError> {
        let (site, device) = (self.site.to_owned(), self.device.to_owned());
        let found = survey(
            self.client,
            Some(self.site),
            Some(self.device),
            self.timeout,
        )?;
        let mut unproven = None;
        for said in found.statuses {
            match said.check(self.list) {
                Ok(()) | Err(Unproven::NoList) => return Ok(said.value),
                Err(why) => unproven = Some(why),
            }
        }
        Err(match unproven {
            Some(why) => OrderError::Unproven { site, device, why },
            None => OrderError::NoReply { site, device },
        })
    }
}

/// The text `NAME generation N` of a slot in an answer.
pub(crate) fn slot(value: Option<&Value>) -> Option<String> {
    let slot: SlotStatus = serde_json::from_value(value?.clone()).ok()?;
    Some(format!("{} generation {}", slot.name, slot.generation))
}
