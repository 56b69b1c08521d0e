//! A site: a publisher in the test's own process, and devices as processes that connect to it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hotshoe_config::ZenohConfig;
use hotshoe_delivery::Publisher;
use hotshoe_store::Layout;
pub(crate) use hotshoe_tests::noise;
use hotshoe_trust::{DeviceSelector, Digest, SigningKey, Time};
use hotshoe_trust::{Envelope, Order, Statement};
use serde_json::Value;

use super::support::{DEADLINE, Daemon, Device, Workspace, environment, free_endpoint, success};

/// The text of a light release: one stage that measures the sample. `more` is added to it.
pub(crate) fn light(generation: u64, more: &str) -> String {
    recipe(generation, "min-samples = 3\nmin-seconds = 0\n", &[], more)
}

/// A light release with this health gate, and with these guests as policies behind the stage. They have the grant `state`.
pub(crate) fn recipe(generation: u64, health: &str, policies: &[&str], more: &str) -> String {
    let guests = environment().root.join("target/guests");
    let wasm = |name: &str| guests.join(format!("{name}.wasm")).display().to_string();
    let mut text = format!(
        "name = \"light\"\ngeneration = {generation}\nexpires-in = \"365d\"\n[health]\n{health}\n\
         [components.measure]\nfile = \"{}\"\nworld = \"stage\"\n",
        wasm("measure")
    );
    for policy in policies {
        text += &format!(
            "[components.{policy}]\nfile = \"{}\"\nworld = \"policy\"\ngrants = [\"state\"]\n",
            wasm(policy)
        );
    }
    text += more;
    text += "\n[[pipeline]]\nstage = \"measure\"\n";
    for policy in policies {
        text += &format!("[[pipeline]]\npolicy = \"{policy}\"\n");
    }
    text
}

/// The lines of a release's text that add a data file.
pub(crate) fn data_file(name: &str, path: &std::path::Path) -> String {
    format!(
        "[data.{name}]\nfile = \"{}\"\nmedia-type = \"application/octet-stream\"\n",
        path.display()
    )
}

/// A workspace with a publisher that listens on loopback.
pub(crate) struct Site {
    pub workspace: Workspace,
    pub endpoint: String,
    publisher: Option<Publisher>,
}

/// A packed and signed release.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub folder: PathBuf,
    pub name: String,
    pub generation: u64,
    pub release: Digest,
    pub bundles: Vec<Digest>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let mut site = Self {
            workspace: Workspace::new(),
            endpoint: free_endpoint(),
            publisher: None,
        };
        site.open();
        site
    }

    /// Opens the publisher, again after [`Site::close`].
    pub(crate) fn open(&mut self) {
        let zenoh = ZenohConfig {
            listen: vec![self.endpoint.clone()],
            ..ZenohConfig::default()
        };
        self.publisher = Some(Publisher::open(&zenoh, "lab").expect("a publisher"));
    }

    /// Closes the publisher: it answers nothing any more.
    pub(crate) fn close(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.close();
        }
    }

    pub(crate) fn publisher(&mut self) -> &mut Publisher {
        self.publisher.as_mut().expect("an open publisher")
    }

    /// Packs a recipe and signs it by `alice`, in a folder of its own.
    pub(crate) fn pack(&self, recipe: &str) -> Packed {
        self.pack_by(recipe, "alice")
    }

    pub(crate) fn pack_by(&self, recipe: &str, key: &str) -> Packed {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let toml = self.workspace.path(&format!("release-{number}.toml"));
        fs::write(&toml, recipe).expect("a recipe");
        let folder = self.workspace.path(&format!("release-{number}"));
        success([
            "pack".as_ref(),
            toml.as_os_str(),
            "--out".as_ref(),
            folder.as_os_str(),
        ]);
        self.workspace.sign(&folder, key);
        read(folder)
    }

    /// Serves a release and states it for the whole site.
    pub(crate) fn publish(&mut self, packed: &Packed) {
        self.state(packed, true, DeviceSelector::default());
    }

    /// Serves a release and says that these devices should have it; returns what it said.
    pub(crate) fn state(
        &mut self,
        packed: &Packed,
        activate: bool,
        devices: DeviceSelector,
    ) -> Vec<u8> {
        let layout = Layout::open(&packed.folder).expect("a release folder");
        self.publisher().serve(&layout).expect("it is served");
        let order = Order::Deploy {
            release: packed.release,
            name: packed.name.clone(),
            generation: packed.generation,
            bundles: packed.bundles.clone(),
            activate,
        };
        let envelope = envelope(order, devices);
        self.publisher()
            .publish_statement(&packed.name, envelope.clone())
            .expect("it is stated");
        envelope
    }

    /// A device with this release installed, whose daemon connects to the publisher.
    pub(crate) fn device(&self, name: &str, packed: &Packed, more: &str) -> Device {
        self.device_at(name, packed, &self.endpoint, more)
    }

    /// The same, connected to `endpoint`.
    pub(crate) fn device_at(
        &self,
        name: &str,
        packed: &Packed,
        endpoint: &str,
        more: &str,
    ) -> Device {
        self.workspace.device(
            name,
            &packed.folder,
            &format!("connect = [\"{endpoint}\"]\n{more}"),
        )
    }
}

/// What a folder holds.
pub(crate) fn read(folder: PathBuf) -> Packed {
    let package = Layout::open(&folder)
        .expect("a release folder")
        .package()
        .expect("a package");
    let config: Value = serde_json::from_slice(&package.config).expect("a config");
    Packed {
        folder,
        name: config["name"].as_str().expect("a name").to_owned(),
        generation: config["generation"].as_u64().expect("a generation"),
        release: Digest::of(&package.manifest),
        bundles: package
            .bundles
            .iter()
            .map(|bundle| Digest::of(bundle))
            .collect(),
    }
}

/// An unsigned statement for the site `lab`, good for an hour.
pub(crate) fn envelope(order: Order, devices: DeviceSelector) -> Vec<u8> {
    Envelope::new(&statement(order, devices))
        .expect("a statement")
        .to_bytes()
}

/// A statement signed by `key`.
pub(crate) fn signed(statement: &Statement, key: &SigningKey) -> Vec<u8> {
    let mut envelope = Envelope::new(statement).expect("a statement");
    envelope.sign(key).expect("a signature");
    envelope.to_bytes()
}

pub(crate) fn statement(order: Order, devices: DeviceSelector) -> Statement {
    let issued = Time::now();
    Statement {
        site: "lab".to_owned(),
        devices,
        order,
        issued,
        expires: issued + jiff::SignedDuration::from_hours(1),
    }
}

impl Daemon {
    /// Its status as JSON.
    pub(crate) fn state(&self) -> Value {
        serde_json::to_value(self.status()).expect("JSON")
    }

    /// Feeds samples until the status, as JSON, is as wanted; returns it.
    pub(crate) fn feed_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(true, wanted)
    }

    /// Waits without samples until the status is as wanted.
    pub(crate) fn wait_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(false, wanted)
    }

    fn wait(&self, feed: bool, wanted: impl Fn(&Value) -> bool) -> Value {
        let events = self
            .client()
            .events("lab", Some(self.name()), 64)
            .expect("events");
        let started = Instant::now();
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "not as wanted: {state:#}\n{}",
                self.log()
            );
            if feed {
                self.feed(&[("sample", b"abc".to_vec())]);
            } else {
                // Whatever changes is told; a status that changes without an event is asked for again.
                let _ = events.next(Duration::from_millis(100));
            }
        }
    }
}

/// Whether the release that serves is of this generation and nothing is on trial.
pub(crate) fn settled_on(generation: u64) -> impl Fn(&Value) -> bool {
    move |state| {
        state["slots"]["trial"].is_null()
            && state["release"]["generation"] == generation
            && state["slots"]["live"]["generation"] == generation
    }
}

/// Whether the last thing that the device worked on ended so.
pub(crate) fn ended(generation: u64, phase: &str) -> impl Fn(&Value) -> bool {
    let phase = phase.to_owned();
    move |state| {
        state["deploy"]["generation"] == generation && state["deploy"]["phase"] == phase.as_str()
    }
}
