//! A device on this machine, with the default configuration and its daemon in a separate process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::device::Identity;
use hotshoe_release::install;
use hotshoe_trust::Time;

use super::WINDOW;
use crate::setup::{BenchSetup, TRUST};

/// Longest time to an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A running daemon.
pub(super) struct Device {
    daemon: DaemonProcess,
    client: Client,
    status: Status,
    pub endpoint: String,
}

impl Device {
    /// Starts the daemon of the folder `name`, with a release if there is one.
    pub(super) fn start(
        setup: &BenchSetup<'_>,
        name: &str,
        release: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = setup.folder().join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let endpoint = free_endpoint()?;
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"bench\"\ndevice = \"{name}\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[intake]\nqueue = {WINDOW}\n"
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let config = Config::load(&path).context("cannot load the bench's configuration")?;
        if let Some(layout) = release {
            let identity = Identity::of(setup.trust().clone(), &config);
            install::install(layout, &config.data, &identity, Time::now())?;
        }
        let mut daemon = DaemonProcess::start(&path, &folder.join("daemon.log"))?;
        let (client, status) = daemon.ready(&ZenohConfig {
            connect: vec![endpoint.clone()],
            ..ZenohConfig::default()
        })?;
        Ok(Self {
            daemon,
            client,
            status,
            endpoint,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Its keys of samples and of insights.
    pub(super) fn keys(&self) -> (String, String) {
        let root = format!("hotshoe/{}/{}", self.status.site, self.status.device);
        (format!("{root}/input"), format!("{root}/output/insight"))
    }

    /// Waits for the answer to a sample.
    pub(super) fn ask(&self, content_type: &str, payload: Vec<u8>) -> anyhow::Result<()> {
        let (site, name) = (&self.status.site, &self.status.device);
        let feeder = self.client.feeder(site, name, 1, ANSWER_DEADLINE);
        feeder.send("first", content_type, "first", payload)?;
        match feeder.next(ANSWER_DEADLINE).map(|fed| fed.result) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => bail!(error),
            None => bail!("the daemon did not answer"),
        }
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.client.close();
        self.daemon.stop()
    }
}
