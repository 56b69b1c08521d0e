//! Orders to one device: on this machine through its socket, elsewhere as a statement over Zenoh.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hotshoe_daemon::deploy::Command;
use hotshoe_link::Client;
use hotshoe_link::OrderError;
use hotshoe_link::device_list::{DeviceList, Unproven};
use hotshoe_protocol::status::SlotStatus;
use hotshoe_protocol::status::Status;
use hotshoe_store::Phase;
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, SigningKey, Statement, Time};
use serde_json::Value;

use super::error::FleetError;
use super::local;
use super::reach::{ReachArgs, after};
use super::survey::survey;

/// How long an order is valid: it is followed at once or not at all.
const LIFETIME: &str = "10m";

/// The flags of `rollback`, `activate` and `cancel`.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    /// The device's configuration, on the device itself [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another machine's device, over Zenoh
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Its site [default: that of --config]
    #[arg(long, value_name = "SITE", requires = "device")]
    site: Option<String>,
    /// Sign the order with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE", requires = "device")]
    key: Option<PathBuf>,
    /// How long to wait for the device
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    #[command(flatten)]
    reach: ReachArgs,
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Back to the release before.
    Rollback,
    /// The staged release is to serve.
    Activate,
    /// The release on its way is not wanted.
    Cancel,
}

impl What {
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

    /// Which release of a device it means.
    fn target(self, status: &Status) -> Result<(Digest, String), FleetError> {
        let slots = &status.slots;
        let named = |slot: &SlotStatus| (slot.release, slot.name.clone());
        let staged = slots.staged.as_ref().map(named);
        let deploy = &status.deploy;
        let on_its_way = matches!(
            deploy.phase,
            Phase::Fetching | Phase::Verified | Phase::Staged | Phase::SelfTested | Phase::Shadow
        );
        let coming = deploy
            .release
            .filter(|_| on_its_way)
            .map(|release| (release, deploy.name.clone().unwrap_or_default()));
        let trial = slots.trial.as_ref().map(|trial| named(&trial.slot));
        let (found, what) = match self {
            Self::Rollback => (trial.or(slots.live.as_ref().map(named)), "to leave"),
            Self::Activate => (staged, "that waits to be activated"),
            Self::Cancel => (staged.or(coming), "on its way"),
        };
        found.ok_or_else(|| FleetError::Nothing {
            device: status.device.clone(),
            what,
        })
    }
}

/// Gives an order, and returns the device's answer.
pub fn give(args: &OrderArgs, what: What) -> anyhow::Result<Value> {
    let Some(device) = &args.device else {
        anyhow::ensure!(
            !args.reach.is_given(),
            "--connect or --site-dir needs --device, and --site; without them the device on this machine is meant"
        );
        return local::ask(args.config.as_ref(), &what.command()).map(|answer| answer.value);
    };
    let (zenoh, site) = args
        .reach
        .site(args.site.as_deref(), args.config.as_deref(), None)?;
    // Before anything goes over the network: it may ask for a passphrase.
    let key = args.reach.signing_key(args.key.as_deref())?;
    let list = args.reach.devices()?;
    let client = Client::open(&zenoh).with_context(|| args.reach.cannot_open())?;
    let remote = Remote {
        client: &client,
        site: &site,
        device,
        list: list.as_ref(),
        timeout: Duration::from_secs(args.timeout),
    };
    let outcome = remote.order(what, key.as_ref());
    client.close();
    outcome
}

/// Another machine's device.
struct Remote<'a> {
    client: &'a Client,
    site: &'a str,
    device: &'a str,
    /// Where it is given, the device's own words count alone.
    list: Option<&'a DeviceList>,
    timeout: Duration,
}

impl Remote<'_> {
    fn order(&self, what: What, key: Option<&SigningKey>) -> anyhow::Result<Value> {
        let (release, name) = what.target(&self.status()?)?;
        let issued = Time::now();
        let mut envelope = Envelope::new(&Statement {
            site: self.site.to_owned(),
            devices: DeviceSelector {
                names: vec![self.device.to_owned()],
                ..DeviceSelector::default()
            },
            order: what.order(release, name),
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

/// `NAME generation N` of a slot in an answer.
pub fn slot(value: Option<&Value>) -> Option<String> {
    let slot: SlotStatus = serde_json::from_value(value?.clone()).ok()?;
    Some(format!("{} generation {}", slot.name, slot.generation))
}
