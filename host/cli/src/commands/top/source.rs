//! Where the statuses come from: the operator's socket of this device, or Zenoh.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hotshoe_config::ZenohConfig;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_link::Client;
use hotshoe_link::device_list::DeviceList;
use hotshoe_protocol::registry::RegistryStatus;

use super::error::TopError;
use crate::fleet::overview::{DeviceReport, Overview};
use crate::fleet::survey::{Survey, survey};

/// How long a device may take to answer.
const ROUND: Duration = Duration::from_secs(3);
/// Rounds without an answer after which the session is opened again.
const SILENT_ROUNDS: u32 = 2;

/// Which devices are shown.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The site; `None` for all sites.
    pub site: Option<String>,
    /// The device; `None` for all devices.
    pub device: Option<String>,
}

impl Scope {
    /// Whether one device is asked by name.
    pub(super) const fn is_one(&self) -> bool {
        self.device.is_some()
    }

    /// The words of an error: ` cam of site lab`.
    fn words(&self) -> String {
        let device = self.device.as_ref();
        let device = device.map_or_else(String::new, |name| format!(" {name}"));
        let site = self.site.as_ref();
        device + &site.map_or_else(String::new, |name| format!(" of site {name}"))
    }
}

/// Where the statuses come from.
#[derive(Debug)]
pub(super) struct Source {
    /// The data folder of this machine's device, whose socket needs no network.
    pub data: Option<PathBuf>,
    /// The settings of the session, where the socket is not used.
    pub zenoh: ZenohConfig,
    /// What is asked.
    pub scope: Scope,
    /// The devices' keys, if given.
    pub list: Option<DeviceList>,
    /// What an unreachable network means.
    pub cannot_open: String,
}

/// The answers of one round.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The devices, by site and name.
    pub devices: Vec<Overview>,
    /// The site's registries.
    pub registries: Vec<RegistryStatus>,
    /// How they were asked: `the control socket` or `Zenoh`.
    pub by: &'static str,
}

/// Asks, and keeps the session.
pub(super) struct Asker {
    source: Source,
    client: Option<Client>,
    silent_rounds: u32,
}

impl Asker {
    pub(super) const fn new(source: Source) -> Self {
        Self {
            source,
            client: None,
            silent_rounds: 0,
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`TopError::NoDevice`], and those of the socket and of Zenoh.
    pub(super) fn ask(&mut self) -> anyhow::Result<Snapshot> {
        if let Some(data) = &self.source.data {
            match control::call_within(data, &Command::Status, ROUND) {
                Ok(status) => {
                    let status =
                        serde_json::from_value(status).context("the answer is not a status")?;
                    return Ok(Snapshot {
                        devices: Overview::join(vec![DeviceReport::own(status)], Vec::new()),
                        by: "the control socket",
                        ..Snapshot::default()
                    });
                }
                // Without a data folder, the configuration may be a copy, on another machine.
                Err(ControlError::NotRunning { .. }) if !data.exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let asked = self.network();
        self.silent_rounds = if asked.is_ok() {
            0
        } else {
            self.silent_rounds + 1
        };
        if self.silent_rounds >= SILENT_ROUNDS {
            self.close();
        }
        asked
    }

    /// Closes the session.
    pub(super) fn close(&mut self) {
        self.silent_rounds = 0;
        if let Some(client) = self.client.take() {
            client.close();
        }
    }

    fn network(&mut self) -> anyhow::Result<Snapshot> {
        let Source { scope, list, .. } = &self.source;
        let (site, device) = (scope.site.as_deref(), scope.device.as_deref());
        let (client, found) = match &mut self.client {
            Some(client) => {
                let mut found = Survey {
                    statuses: client.ask_statuses(site, device, ROUND)?,
                    present: Vec::new(),
                };
                if device.is_none() {
                    found.present = client.devices(site, ROUND)?;
                }
                (client, found)
            }
            none => {
                let client = Client::open(&self.source.zenoh)
                    .with_context(|| self.source.cannot_open.clone())?;
                let client = none.insert(client);
                // A new session does not know all devices yet.
                let found = survey(client, site, device, ROUND)?;
                (client, found)
            }
        };
        if found.statuses.is_empty() {
            let of = scope.words();
            return Err(TopError::NoDevice { of }.into());
        }
        let answers = DeviceReport::of(found.statuses, list.as_ref());
        let listed = list.as_ref().filter(|_| device.is_none());
        let registries = match (device, site) {
            (None, Some(site)) => client.registries(site, ROUND).unwrap_or_default(),
            _ => Vec::new(),
        };
        Ok(Snapshot {
            devices: Overview::of_site(answers, found.present, site, listed),
            registries,
            by: "Zenoh",
        })
    }
}
