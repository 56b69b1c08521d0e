//! A device that serves one release, and what must still be true of it after an attack.

use std::fs;
use std::time::Duration;

use hotshoe_config::Config;
use hotshoe_trust::{DeviceSelector, Order, PublicKey, Scheme, SigningKey, Statement, TrustRoot};
use serde_json::Value;

use super::peer::{HostilePeer, Objects};
use crate::site::{Packed, Site, envelope, light, statement};
use crate::support::{Daemon, Device, Workspace};

/// A health gate that one good sample satisfies.
pub(crate) const GATE: &str = "min-samples = 1\nmin-seconds = 0\n";

/// How long a remote order may take.
pub(crate) const ORDER_TIMEOUT: Duration = Duration::from_secs(30);

/// A device whose daemon serves.
pub(crate) struct Scene {
    pub site: Site,
    pub device: Device,
    pub daemon: Daemon,
    /// What was installed.
    pub first: Packed,
    floor: Value,
}

impl Scene {
    /// A device on generation 1.
    pub(crate) fn new() -> Self {
        Self::prepared(Site::new(), 1, "")
    }

    /// A device on generation 1, with more in its configuration.
    pub(crate) fn with(more: &str) -> Self {
        Self::prepared(Site::new(), 1, more)
    }

    /// A device of this site, on this generation.
    pub(crate) fn prepared(site: Site, generation: u64, more: &str) -> Self {
        let first = site.pack(&light(generation, ""));
        let device = site.device("a", &first, more);
        Self::start(site, device, first)
    }

    /// The same, where the device is ready to start.
    pub(crate) fn start(site: Site, device: Device, first: Packed) -> Self {
        let daemon = device.run();
        let mut scene = Self {
            site,
            device,
            daemon,
            first,
            floor: Value::Null,
        };
        scene.floor = scene.ledger()["floor"].clone();
        assert!(scene.floor.is_object(), "a floor: {}", scene.floor);
        scene
    }

    /// Ends the daemon and starts it again.
    pub(crate) fn restart(self) -> Self {
        self.daemon.stop();
        let daemon = self.device.run();
        Self { daemon, ..self }
    }

    /// A hostile peer beside the device.
    pub(crate) fn peer(&self) -> HostilePeer {
        HostilePeer::near(&self.device)
    }

    /// Where the device listens.
    pub(crate) fn endpoint(&self) -> String {
        let config = Config::load(&self.device.config).expect("a configuration");
        config.zenoh.listen[0].clone()
    }

    /// What the device has written down.
    pub(crate) fn ledger(&self) -> Value {
        let config = Config::load(&self.device.config).expect("a configuration");
        let text = fs::read(config.data.join("ledger.json")).expect("a ledger");
        let record: Value = serde_json::from_slice(&text).expect("JSON");
        record["ledger"].clone()
    }

    /// Waits until the device gives this reason.
    pub(crate) fn says(&self, reason: &str) -> Value {
        self.daemon.wait_until(|state| {
            let counted = |what: &str| state[what][reason].as_u64().is_some_and(|n| n > 0);
            counted("refused") || counted("ignored") || state["deploy"]["cause"]["name"] == reason
        })
    }

    /// Asserts that what was installed serves, that nothing is on its way to take its place, and that the floor is where it was.
    pub(crate) fn is_unharmed(&self) {
        self.serves(self.first.generation);
        let ledger = self.ledger();
        assert_eq!(ledger["floor"], self.floor, "the floor has moved");
        assert_eq!(ledger["live"]["generation"], self.first.generation);
        assert_eq!(ledger["trial"], Value::Null);
        assert_eq!(ledger["staged"], Value::Null);
    }

    /// Asserts that this generation takes a sample.
    pub(crate) fn serves(&self, generation: u64) {
        let fed = self.daemon.feed(&[("one", b"abc".to_vec())]);
        assert!(fed[0].result.is_ok(), "{:?}", fed[0].result);
        let state = self.daemon.state();
        assert_eq!(state["release"]["generation"], generation, "{state:#}");
    }

    /// A hostile peer serves a release and wants it on this site; the device refuses it for this reason.
    pub(crate) fn refuses(&self, packed: &Packed, reason: &str) {
        let mut peer = self.peer();
        peer.serve(Objects::of(&[packed]));
        peer.state(&packed.name, &wanted(packed));
        self.says(reason);
        self.is_unharmed();
    }

    /// A hostile peer states something; the device ignores it for this reason.
    pub(crate) fn ignores(&self, statement: &[u8], reason: &str) {
        let peer = self.peer();
        peer.state("light", statement);
        self.says(reason);
        self.is_unharmed();
    }

    /// The name of the reason for which the device does not follow a remote order.
    pub(crate) fn refusal_of(&self, order: &[u8]) -> String {
        let client = self.daemon.client();
        let followed = client.order("lab", "a", order, ORDER_TIMEOUT);
        followed.expect_err("it was followed").name().to_owned()
    }

    /// A hostile peer states new trusted keys; the device ignores them for this reason.
    pub(crate) fn keeps_its_keys(&self, update: &[u8], reason: &str) {
        let peer = self.peer();
        peer.update_trust(update);
        let state = self.says(reason);
        assert_eq!(state["trust_version"], 1);
        self.is_unharmed();
    }
}

/// An unsigned statement that wants a release on every device.
pub(crate) fn wanted(packed: &Packed) -> Vec<u8> {
    envelope(deploy(packed), DeviceSelector::default())
}

/// A statement that wants a release on every device.
pub(crate) fn wish(packed: &Packed) -> Statement {
    statement(deploy(packed), DeviceSelector::default())
}

pub(crate) fn deploy(packed: &Packed) -> Order {
    Order::Deploy {
        release: packed.release,
        name: packed.name.clone(),
        generation: packed.generation,
        bundles: packed.bundles.clone(),
        activate: true,
    }
}

/// A light release that one good sample confirms.
pub(crate) fn quick(generation: u64, more: &str) -> String {
    crate::site::recipe(generation, GATE, &[], more)
}

/// A key of the workspace.
pub(crate) fn key(workspace: &Workspace, name: &str) -> SigningKey {
    let pem = fs::read_to_string(workspace.path(&format!("{name}.key"))).expect("a key");
    SigningKey::from_pem(&pem, None).expect("a key")
}

/// The text of a `trust.toml`: its version and threshold, the keys with the names that they may sign, and what it resets.
pub(crate) fn trust(
    workspace: &Workspace,
    version: u64,
    threshold: usize,
    keys: &[(&str, &str)],
    more: &str,
) -> String {
    let mut text = format!("version = {version}\nthreshold = {threshold}\n");
    for (name, releases) in keys {
        let pem = fs::read_to_string(workspace.path(&format!("{name}.pub"))).expect("a public key");
        let key = PublicKey::from_pem(&pem, Scheme::EcdsaP256Sha256).expect("a public key");
        text += &TrustRoot::key_entry(name, &key, &[releases]);
    }
    text + more
}

/// Some time, in hours.
pub(crate) fn hours(hours: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(hours)
}
