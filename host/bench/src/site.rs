//! One device on this machine with its daemon in a separate process, and a publisher.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_store::Phase;
use hotshoe_trust::Time;

use super::setup::{BenchSetup, PackedRelease, TRUST};
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::deliver::{Deployer, Published, Step};
use hotshoe_release::device::Identity;
use hotshoe_release::install;

/// Timeout of one release.
const DEADLINE: Duration = Duration::from_secs(120);

/// A device that serves and a publisher.
pub(crate) struct Site {
    daemon: DaemonProcess,
    /// A session separate from the publisher's.
    pub client: Client,
    /// The publisher.
    pub deployer: Deployer,
    /// The status of the device at the start.
    pub device: Status,
    /// Its data folder.
    pub data: PathBuf,
    zenoh: ZenohConfig,
}

impl Site {
    /// Installs a release in the folder `name` and starts the daemon.
    pub(crate) fn start(setup: &BenchSetup<'_>, name: &str, first: &Path) -> anyhow::Result<Self> {
        let folder = setup.folder().join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let endpoint = free_endpoint()?;
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"bench\"\ndevice = \"{name}\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nenabled = false\n"
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let config = Config::load(&path).context("cannot load the bench's configuration")?;
        let identity = Identity::of(setup.trust().clone(), &config);
        install::install(first, &config.data, &identity, Time::now())?;
        let zenoh = ZenohConfig {
            connect: vec![endpoint],
            ..ZenohConfig::default()
        };
        let mut daemon = DaemonProcess::start(&path, &folder.join("daemon.log"))?;
        let (client, device) = daemon.ready(&zenoh)?;
        let deployer = Deployer::open(&zenoh, &device.site, &device.device)?;
        Ok(Self {
            daemon,
            client,
            deployer,
            device,
            data: config.data,
            zenoh,
        })
    }

    /// Opens another session.
    pub(crate) fn connect(&self) -> anyhow::Result<Client> {
        Client::open(&self.zenoh).context("cannot reach the daemon")
    }

    /// Publishes a release and waits until it serves. Each reported step is passed to `each`.
    pub(crate) fn try_out(
        &mut self,
        packed: &PackedRelease,
        each: impl FnMut(&Step),
    ) -> anyhow::Result<Published> {
        let published = self.deployer.publish(&packed.layout, &packed.release)?;
        let serves = |phase| matches!(phase, Phase::Trial | Phase::Live);
        self.wait(&published, serves, each)?;
        Ok(published)
    }

    /// Publishes a release and waits until it is confirmed.
    pub(crate) fn deliver(&mut self, packed: &PackedRelease) -> anyhow::Result<()> {
        let published = self.deployer.publish(&packed.layout, &packed.release)?;
        self.confirmed(&published)
    }

    /// Waits until a release is confirmed.
    pub(crate) fn confirmed(&self, published: &Published) -> anyhow::Result<()> {
        self.wait(published, |phase| phase == Phase::Live, |_| {})
    }

    fn wait(
        &self,
        published: &Published,
        there: impl Fn(Phase) -> bool,
        mut each: impl FnMut(&Step),
    ) -> anyhow::Result<()> {
        let last = |step: &Step| {
            each(step);
            Ok(there(step.phase) || step.phase.is_failure())
        };
        let end = self.deployer.follow(published, DEADLINE, last)?;
        ensure!(
            there(end.phase),
            "{} ended as {}: {:?}",
            published.release,
            end.phase,
            end.cause
        );
        Ok(())
    }

    /// Stops the daemon.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.deployer.close();
        self.client.close();
        self.daemon.stop()
    }
}
