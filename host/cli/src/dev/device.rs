//! The local device: its folder, its throw-away key, its daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::Config;
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_store::{Packed, Phase, pack_changed};
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{DEVELOPMENT_KEY, Grant, HealthGate, SigningKey, Time, TrustRoot};

use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::deliver::Deployer;
use hotshoe_release::device::Identity;
use hotshoe_release::install::forget;
use hotshoe_release::pack::whole_model;
use hotshoe_release::{install, sign};

/// The site's name, in keys and in the status.
const SITE: &str = "development";
/// The device's name, in keys and in the status.
const NAME: &str = "dev";
/// Lifetime of a development release.
const EXPIRES: &str = "1d";
/// Timeout from publishing a release until it serves.
const DELIVERY: Duration = Duration::from_secs(120);

/// A daemon in development mode that trusts one key. The secret key exists only in this process and is never written to disk.
pub(crate) struct Device {
    folder: PathBuf,
    manifest: PathBuf,
    key: SigningKey,
    generation: u64,
    running: Option<Running>,
    /// Locked for the lifetime of this value: two daemons must not share the folder.
    _lock: fs::File,
}

struct Running {
    process: DaemonProcess,
    deployer: Deployer,
    /// A separate session that is connected to the device.
    client: Client,
    status: Status,
}

impl Running {
    fn close(self) -> DaemonProcess {
        self.client.close();
        self.deployer.close();
        self.process
    }
}

impl Device {
    /// Prepares the folder `.hotshoe/dev` beside a release.toml. Removes the files of an earlier run, except compiled code.
    pub(crate) fn new(manifest: &Path) -> anyhow::Result<Self> {
        let beside = manifest.parent().unwrap_or(Path::new("."));
        let folder = std::path::absolute(beside.join(".hotshoe").join("dev"))?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = folder.join("lock");
        let lock =
            fs::File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another `hotshoe dev` uses {}; end it first",
                folder.display()
            );
        }
        let key = SigningKey::generate().context("cannot create a key")?;
        let public = key.public_key().context("cannot create a key")?;
        let trust = format!(
            "# Created by `hotshoe dev` for one run. A device that is not in development mode rejects this key.\nversion = 1\nthreshold = 1\n\n{}",
            TrustRoot::key_entry(DEVELOPMENT_KEY, &public, &["*"])
        );
        write(&folder.join("trust.toml"), &trust)?;
        forget(&folder.join("data"))?;
        Ok(Self {
            folder,
            manifest: manifest.to_owned(),
            key,
            generation: 0,
            running: None,
            _lock: lock,
        })
    }

    /// Packs and signs the release in its current state and activates it: the first by installation, later ones by an
    /// atomic swap. Returns the time from reading the files until the release serves.
    pub(crate) fn serve(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.generation += 1;
        let generation = self.generation;
        let layout = self.folder.join("release");
        let change = |release: &mut ReleaseToml| for_development(release, generation);
        let packed = pack_changed(&self.manifest, Time::now(), &layout, change, &whole_model)?;
        sign::sign(&layout, &self.key)?;
        self.drop_ended()?;
        if self.running.is_none() {
            self.start(&packed)?;
        } else {
            self.deliver(&packed)?;
        }
        Ok(started.elapsed())
    }

    /// The session to the device and the device's status.
    pub(crate) fn client(&self) -> Option<(&Client, &Status)> {
        let running = self.running.as_ref()?;
        Some((&running.client, &running.status))
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Stops the daemon, whose samples in flight finish.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let Some(running) = self.running else {
            return Ok(());
        };
        running.close().stop()
    }

    /// Discards a daemon that ended by itself. The next release starts another one with an empty data folder.
    fn drop_ended(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.running.take_if(|running| running.process.ended()) {
            drop(ended.close());
            forget(&self.folder.join("data"))?;
        }
        Ok(())
    }

    fn start(&mut self, packed: &Packed) -> anyhow::Result<()> {
        let file = self.folder.join("hotshoe.toml");
        let endpoint = free_endpoint()?;
        write(&file, &configuration(&endpoint, packed, &self.folder)?)?;
        let config = Config::load(&file)?;
        let identity = Identity::of(hotshoe_release::device::trust_root(&config.trust)?, &config);
        install::install(packed.layout.path(), &config.data, &identity, Time::now())?;
        let mut process = DaemonProcess::start(&file, &self.log())?;
        let (client, status) = process.ready(&config.zenoh.client())?;
        let deployer = Deployer::open(&config.zenoh.client(), SITE, NAME)?;
        self.running = Some(Running {
            process,
            deployer,
            client,
            status,
        });
        Ok(())
    }

    fn deliver(&mut self, packed: &Packed) -> anyhow::Result<()> {
        let Some(running) = &mut self.running else {
            bail!("no daemon is running");
        };
        let published = running
            .deployer
            .publish(packed.layout.path(), &packed.release)?;
        let step = running
            .deployer
            .follow(&published, DELIVERY, |step| Ok(serves_or_ended(step.phase)))?;
        if matches!(step.phase, Phase::Trial | Phase::Live) {
            return Ok(());
        }
        let cause = step
            .cause
            .map_or_else(String::new, |cause| format!(": {}", cause.message));
        bail!("the release ended as {}{cause}", step.phase)
    }
}

const fn serves_or_ended(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Trial | Phase::Live | Phase::Refused | Phase::Failed | Phase::RolledBack
    )
}

/// Confirms a release at once and runs no self-tests, so that the author sees a result.
fn for_development(release: &mut ReleaseToml, generation: u64) {
    release.generation = generation;
    release.expires = None;
    release.expires_in = Some(EXPIRES.to_owned());
    release.devices = Default::default();
    release.tests.clear();
    release.health = HealthGate {
        min_samples: 0,
        min_seconds: 0,
        ..HealthGate::default()
    };
}

/// The configuration of a device that grants everything the release requests and is reachable only from this machine.
fn configuration(endpoint: &str, packed: &Packed, folder: &Path) -> anyhow::Result<String> {
    let list = |items: Vec<String>| {
        let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
        items.join(", ")
    };
    let components = || packed.release.components.values();
    let grants = components()
        .flat_map(|component| &component.grants)
        .map(Grant::to_string);
    let hosts = components()
        .flat_map(|component| &component.hosts)
        .map(ToString::to_string);
    let mut text = format!(
        "# Created by `hotshoe dev`. Not for production.
development = true
site = \"{SITE}\"
device = \"{NAME}\"
data = \"data\"
trust = \"trust.toml\"
allow = [{}]

[network]
hosts = [{}]

# What the release's data contract allows too.
[record]
allow = [\"sample\", \"tensors\", \"insight\"]

# An author's machine may be hot or on its battery.
[governor]
enabled = false

[zenoh]
listen = [\"{endpoint}\"]
",
        list(grants.collect()),
        list(hosts.collect()),
    );
    for (number, (name, _)) in components().flat_map(|it| &it.folders).enumerate() {
        let path = folder.join("folders").join(number.to_string());
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        text.push_str(&format!(
            "\n[folders.{name:?}]\npath = {path:?}\nwrite = true\n"
        ));
    }
    Ok(text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
