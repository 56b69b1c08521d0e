//! Reload of `hotshoe.toml` while the daemon runs.
//!
//! [`in_effect`] combines the running and the new configuration into one that can take effect without a restart. Keys that differ from
//! the running configuration are applied; keys that still differ from the file need a restart. A file that a key names, such as a
//! certificate, counts as part of the key.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hotshoe_base::Clock;
use hotshoe_config::{
    Config, ConfigError, DeployConfig, Files, FleetConfig, FrontTls, GovernorConfig, IntakeConfig,
    LocalConfig, MetricsConfig, OipConfig, TRUST, changed, changed_files, content, files_of_link,
};
use hotshoe_protocol::status::ReloadStatus;
use hotshoe_trust::time_of;
use parking_lot::Mutex;

use crate::requests::Requests;

/// The keys of `[oip]` that name files: the token, the certificate, its key, and the callers' authority.
const OIP_FILES: [&str; 4] = [
    "oip.token-file",
    "oip.tls.certificate",
    "oip.tls.key",
    "oip.tls.client-ca",
];
/// The keys of `[page]` that name files.
const PAGE_FILES: [&str; 4] = [
    "page.token-file",
    "page.tls.certificate",
    "page.tls.key",
    "page.tls.client-ca",
];
/// The keys of `[metrics]` that name files.
const METRICS_FILES: [&str; 4] = [
    "metrics.token-file",
    "metrics.tls.certificate",
    "metrics.tls.key",
    "metrics.tls.client-ca",
];

/// The configuration that is in effect.
#[derive(Debug)]
pub struct RunningConfig {
    config: ArcSwap<Config>,
    files: Mutex<Files>,
    last: Mutex<Option<ReloadStatus>>,
    clock: Clock,
    local: Mutex<Option<LocalConfig>>,
    fleet: Mutex<Option<Arc<FleetConfig>>>,
    reloads: AtomicU64,
    requests: Requests,
}

/// The effect of a new configuration.
#[derive(Debug)]
pub struct Change {
    /// The configuration that will be in effect.
    pub config: Config,
    /// Changed keys that will take effect.
    pub applied: Vec<String>,
    /// Changed keys that need a restart.
    pub needs_restart: Vec<String>,
    /// Whether the file of trusted keys changed. A reload does not read it.
    pub trust_changed: bool,
    files: Files,
}

/// The configuration that can take effect without a restart. It is written without `..`, so that a new key must be handled here.
pub fn in_effect(running: &Config, new: &Config) -> Config {
    let Config {
        site: _,
        device: _,
        labels: _,
        data: _,
        trust: _,
        development: _,
        allow: _,
        zenoh: _,
        intake,
        watch: _,
        workers: _,
        drain,
        metrics,
        deploy,
        inference: _,
        compile: _,
        oip,
        page,
        telemetry: _,
        private_telemetry: _,
        limits: _,
        governor,
        alerts,
        record,
        privacy: _,
        data_contract: _,
        output: _,
        outbox: _,
        folders: _,
        network: _,
        shared_data: _,
        encryption: _,
        secrets: _,
        log,
    } = new.clone();
    Config {
        intake: IntakeConfig {
            when_full: intake.when_full,
            block_timeout_ms: intake.block_timeout_ms,
            ..running.intake.clone()
        },
        drain,
        deploy: DeployConfig {
            share: running.deploy.share,
            max_crashes: running.deploy.max_crashes,
            crash_seconds: running.deploy.crash_seconds,
            ..deploy
        },
        governor: GovernorConfig {
            enabled: running.governor.enabled,
            sensors: running.governor.sensors.clone(),
            period_ms: running.governor.period_ms,
            ..governor
        },
        alerts,
        record,
        log,
        oip: match (&running.oip, oip) {
            (Some(running), Some(new)) => Some(OipConfig {
                token_file: new.token_file,
                token_secret: new.token_secret,
                tls: new.tls,
                max_connections: new.max_connections,
                max_connections_per_address: new.max_connections_per_address,
                ..running.clone()
            }),
            (running, _) => running.clone(),
        },
        page: match (&running.page, page) {
            (Some(running), Some(new)) => Some(running.renewed(new)),
            (running, _) => running.clone(),
        },
        metrics: match (&running.metrics, metrics) {
            (Some(running), Some(new)) => Some(MetricsConfig {
                token_file: new.token_file,
                token_secret: new.token_secret,
                tls: new.tls,
                max_connections: new.max_connections,
                max_connections_per_address: new.max_connections_per_address,
                ..running.clone()
            }),
            (running, _) => running.clone(),
        },
        ..running.clone()
    }
}

/// The files that keys name.
fn files_of(config: &Config) -> Files {
    let mut files = files_of_link(&config.zenoh, &config.trust);
    let mut add = |key, path: Option<&Path>| {
        if let Some(path) = path {
            files.insert(key, content(path));
        }
    };
    add("network.ca", config.network.ca.as_deref());
    if let Some(mqtt) = &config.outbox.mqtt {
        add("outbox.mqtt.ca", mqtt.ca.as_deref());
        add("outbox.mqtt.certificate", mqtt.certificate.as_deref());
        add("outbox.mqtt.key", mqtt.key.as_deref());
    }
    if let Some(telemetry) = &config.telemetry {
        add("telemetry.ca", telemetry.ca.as_deref());
        add("telemetry.headers-file", telemetry.headers_file.as_deref());
    }
    let oip = config.oip.as_ref().map(|it| (&it.token_file, &it.tls));
    let page = config.page.as_ref().map(|it| (&it.token_file, &it.tls));
    let metrics = config.metrics.as_ref().map(|it| (&it.token_file, &it.tls));
    for (keys, front) in [
        (OIP_FILES, oip),
        (PAGE_FILES, page),
        (METRICS_FILES, metrics),
    ] {
        let Some((token_file, tls)) = front else {
            continue;
        };
        let [token_key, certificate_key, key_key, client_ca_key] = keys;
        add(token_key, token_file.as_deref());
        if let Some(tls) = tls {
            let FrontTls {
                certificate,
                key,
                client_ca,
            } = tls;
            add(certificate_key, Some(certificate));
            add(key_key, Some(key));
            add(client_ca_key, client_ca.as_deref());
        }
    }
    files
}

/// Whether a reload reads the file of this key again.
fn is_read_again(key: &str) -> bool {
    [OIP_FILES, PAGE_FILES, METRICS_FILES]
        .iter()
        .any(|keys| keys.contains(&key))
}

impl RunningConfig {
    /// The configuration at the start.
    pub(crate) fn new(config: Config, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            files: Mutex::new(files_of(&config)),
            config: ArcSwap::from_pointee(config),
            last: Mutex::default(),
            clock,
            local: Mutex::default(),
            fleet: Mutex::default(),
            reloads: AtomicU64::default(),
            requests: Requests::default(),
        })
    }

    /// The configuration that is in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// What the daemon asks of its process.
    pub(crate) const fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The device's own file, where one is known.
    pub(crate) fn local(&self) -> Option<LocalConfig> {
        self.local.lock().clone()
    }

    pub(crate) fn set_local(&self, local: LocalConfig) {
        *self.local.lock() = Some(local);
    }

    /// The keys of the `config` release that the next reload uses.
    pub(crate) fn fleet(&self) -> Option<Arc<FleetConfig>> {
        self.fleet.lock().clone()
    }

    pub(crate) fn set_fleet(&self, fleet: Option<Arc<FleetConfig>>) {
        *self.fleet.lock() = fleet;
    }

    /// The number of reloads, including refused ones.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Acquire)
    }

    /// The result of the last reload.
    pub(crate) fn last(&self) -> Option<ReloadStatus> {
        self.last.lock().clone()
    }

    /// Computes the effect of `new`, without applying it.
    ///
    /// # Errors
    /// [`ConfigError`] if the resulting configuration is not valid.
    pub(crate) fn change(&self, new: &Config) -> Result<Change, ConfigError> {
        let running = self.config();
        let config = in_effect(&running, new);
        config.check()?;
        let mut applied = changed(&*running, &config);
        let mut needs_restart = changed(&config, new);
        let mut trust_changed = false;
        let files = files_of(&config);
        for key in changed_files(&self.files.lock(), &files) {
            match key {
                TRUST => trust_changed = true,
                key if is_read_again(key) => drop(applied.insert(key.to_owned())),
                key => drop(needs_restart.insert(key.to_owned())),
            }
        }
        Ok(Change {
            config,
            applied: applied.into_iter().collect(),
            needs_restart: needs_restart.into_iter().collect(),
            trust_changed,
            files,
        })
    }

    /// Puts a change into effect, and records it.
    pub(crate) fn apply(&self, change: Change) -> ReloadStatus {
        let read_again = change.files.into_iter();
        self.files
            .lock()
            .extend(read_again.filter(|(key, _)| is_read_again(key)));
        self.config.store(Arc::new(change.config));
        self.record_status(ReloadStatus {
            at: time_of(self.clock.wall()),
            applied: change.applied,
            needs_restart: change.needs_restart,
            error: None,
        })
    }

    /// Records that a new configuration was refused.
    pub(crate) fn refuse(&self, error: String) -> ReloadStatus {
        self.record_status(ReloadStatus {
            at: time_of(self.clock.wall()),
            applied: Vec::new(),
            needs_restart: Vec::new(),
            error: Some(error),
        })
    }

    fn record_status(&self, status: ReloadStatus) -> ReloadStatus {
        *self.last.lock() = Some(status.clone());
        self.reloads.fetch_add(1, Ordering::Release);
        status
    }
}

#[cfg(test)]
mod tests;
