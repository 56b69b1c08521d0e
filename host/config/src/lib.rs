//! `hotshoe.toml`: the configuration of one device. Unknown keys are refused.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotshoe_shared_data::{Definition, MAX_ITEMS, MAX_VALUE_BYTES, MAX_VALUES};
use hotshoe_trust::toml_file;
use hotshoe_trust::{DataBounds, Device, Grant, LimitBounds, MAX_BOUNDS, Privacy};
use serde::{Deserialize, Serialize};

mod access;
mod alerts;
mod change;
mod compile;
mod deploy;
pub mod descriptors;
mod encryption;
mod error;
mod fleet;
mod front;
mod governor;
mod inference;
mod log;
mod loopback;
mod metrics;
mod oip;
mod outbox;
mod page;
mod private_telemetry;
mod record;
mod session;
mod telemetry;

pub use self::access::{FolderConfig, NetworkConfig, OutputConfig, default_allowed};
pub use self::alerts::AlertsConfig;
pub use self::change::{Files, TRUST, changed, changed_files, content, files_of_link};
pub use self::compile::CompileConfig;
pub use self::deploy::{
    DeployConfig, KeepPrevious, MAX_FRESH_HOURS, MAX_QUOTA_MIB, Statements, Window, WindowError,
};
pub use self::encryption::{EncryptionConfig, SecretsConfig};
pub use self::fleet::{FleetConfig, FleetError, LocalConfig, Origin};
pub use self::front::{FrontTls, MAX_CONNECTIONS};
pub use self::governor::{GovernorConfig, GovernorOutput, MAX_OUTPUTS};
pub use self::inference::{
    InferenceConfig, MAX_POOL, MAX_RUN_THREADS, ModelConfig, ProviderConfig,
};
pub use self::log::{DEFAULT_FILTER, LogConfig, MAX_LINES_PER_SECOND, filter};
pub use self::metrics::MetricsConfig;
pub use self::oip::{MAX_BODY_MIB, MAX_REQUESTS, OipConfig};
pub use self::outbox::{
    ALERT_OUTPUT, CUSTOM_PREFIX, MAX_DURABLE, MqttUrl, OutboxConfig, OutboxMqttConfig,
    OutboxZenohConfig,
};
pub use self::page::PageConfig;
pub use self::private_telemetry::{
    ContributorField, FIGURES_OUTPUT, FigureConfig, FigureKind, MAX_FIGURES, PrivateTelemetryConfig,
};
pub use self::record::{MAX_RECORD_MIB, RecordConfig};
pub use self::session::{
    LEAST_MESSAGE_BYTES, MAX_SESSIONS, MESSAGE_OVERHEAD, TlsConfig, ZenohConfig, ZenohMode,
};
pub(crate) use self::session::{LEAST_PENDING, PENDING_SHARE};
pub use self::telemetry::TelemetryConfig;
pub use error::ConfigError;

/// Longest name of a site or a device, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Largest configurable queue of samples.
pub const MAX_QUEUE: usize = 65_536;
/// Most worker threads.
pub const MAX_WORKERS: usize = 256;
/// Zenoh closes a transport whose receiver blocks for longer than this, so `block-timeout-ms` must lie below it.
pub const ZENOH_BLOCK_LIMIT_MS: u64 = 5_000;
/// Default of `max-sample-bytes`. It fits into the default of the largest message, 8 MiB.
pub const DEFAULT_MAX_SAMPLE_BYTES: usize = 7 << 20;
/// Largest `max-message-bytes`: Zenoh's own default.
pub const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// Largest `hotshoe.toml`, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The whole of `hotshoe.toml`. Relative paths are relative to the folder of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The site of the device, which is one part of its keys. Letters, digits, `-`, `_` and `.`.
    pub site: String,
    /// The device's name, which releases select it by. Letters, digits, `-`, `_` and `.`.
    pub device: String,
    /// The device's labels, which releases may select it by and policies see. Default: none.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The data folder: blobs, the ledger, compiled components. Default: `data`.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The file of trusted keys. Default: `trust.toml`.
    #[serde(default = "default_trust")]
    pub trust: PathBuf,
    /// Development mode: the device trusts the throw-away key of `hotshoe dev`, and reports this in its status and its log. Not for
    /// production devices. Default: false.
    #[serde(default)]
    pub development: bool,
    /// What components may be granted on this device. Default: everything but `wasi`, `wasi-sockets` and `wasi-http`.
    #[serde(default = "default_allow")]
    pub allow: BTreeSet<Grant>,
    /// The Zenoh session.
    #[serde(default)]
    pub zenoh: ZenohConfig,
    /// Intake of samples, and behaviour under overload.
    #[serde(default)]
    pub intake: IntakeConfig,
    /// A folder to take samples from. Default: none.
    #[serde(default)]
    pub watch: Option<WatchConfig>,
    /// The threads that process samples.
    #[serde(default)]
    pub workers: WorkersConfig,
    /// Shutdown.
    #[serde(default)]
    pub drain: DrainConfig,
    /// The Prometheus endpoint. Default: none.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// Delivery of releases over Zenoh.
    #[serde(default)]
    pub deploy: DeployConfig,
    /// Inference.
    #[serde(default)]
    pub inference: InferenceConfig,
    /// Resource limits of compiling a component.
    #[serde(default)]
    pub compile: CompileConfig,
    /// The server of the Open Inference Protocol. Default: none.
    #[serde(default)]
    pub oip: Option<OipConfig>,
    /// The page that shows what the device does. Default: none.
    #[serde(default)]
    pub page: Option<PageConfig>,
    /// A collector of OpenTelemetry. Default: none.
    #[serde(default)]
    pub telemetry: Option<TelemetryConfig>,
    /// Figures with differential privacy. Default: none.
    #[serde(default)]
    pub private_telemetry: Option<PrivateTelemetryConfig>,
    /// Upper bounds of the limits of any component. Default: none.
    #[serde(default)]
    pub limits: LimitBounds,
    /// Heat, battery and deadlines: the sensors of the device, and what a governor may do.
    #[serde(default)]
    pub governor: GovernorConfig,
    /// When an alert is raised, and when it has ended.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// Recording. Default: not allowed.
    #[serde(default)]
    pub record: RecordConfig,
    /// What is burned into the pixels of samples, besides what their release says. Default: nothing.
    #[serde(default)]
    pub privacy: Privacy,
    /// Bounds of what may leave the device, besides what its release says. Default: none.
    #[serde(default)]
    pub data_contract: DataBounds,
    /// Messages of policies.
    #[serde(default)]
    pub output: OutputConfig,
    /// Outputs that must arrive: they are kept on the disk until a collector has them.
    #[serde(default)]
    pub outbox: OutboxConfig,
    /// Encryption of files.
    #[serde(default)]
    pub encryption: EncryptionConfig,
    /// Where the secrets of the device are.
    #[serde(default)]
    pub secrets: SecretsConfig,
    /// The log on standard error.
    #[serde(default)]
    pub log: LogConfig,
    /// The folders that components may get, by their guest paths. Default: none.
    #[serde(default)]
    pub folders: BTreeMap<String, FolderConfig>,
    /// Network access of components. Default: none.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The values that the device and its site both write, by name. Default: none.
    #[serde(default)]
    pub shared_data: BTreeMap<String, Definition>,
}

/// `[intake]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct IntakeConfig {
    /// Key expressions to take samples from, in addition to the device's own `input/**`: for example, keys of existing cameras.
    /// They are below `zenoh.namespace` too. Default: none.
    pub subscribe: Vec<String>,
    /// Length of the queue of samples. Default: 16.
    pub queue: usize,
    /// What happens to a sample that arrives when the queue is full. Files of a watched folder always wait, and no
    /// sample displaces them. Default: `block`.
    pub when_full: WhenFull,
    /// With `block`: how long a sender waits before its sample is dropped, in milliseconds. Default: 4000, which must
    /// stay below [`ZENOH_BLOCK_LIMIT_MS`].
    pub block_timeout_ms: u64,
    /// The largest sample, in bytes. Default: 7 MiB ([`DEFAULT_MAX_SAMPLE_BYTES`]). At most `zenoh.max-message-bytes` less
    /// [`MESSAGE_OVERHEAD`], so that a sample which is too large is refused with a stable reason and does not vanish.
    pub max_sample_bytes: usize,
}

/// What happens when the queue of samples is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum WhenFull {
    /// The sender waits, at most `block-timeout-ms`. It waits on a thread of Zenoh, so that a reply to a status query may be
    /// delayed by as much.
    Block,
    /// The oldest sample that is not a watched file is dropped. If there is none, the new sample is dropped.
    DropOldest,
    /// The new sample is dropped.
    DropNewest,
}

/// `[watch]`. A file is taken when it is complete: closed after writing, renamed or hard linked into the folder, or found unchanged
/// by two listings 5 s apart. Files wait while no release serves. Symbolic links are not followed. Hidden files, and
/// files that end in `.part` or `.tmp`, are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WatchConfig {
    /// The folder. It must exist. Files in it at the start come first; subfolders are not entered.
    pub folder: PathBuf,
    /// What happens to a file when its sample has been processed. Default: `keep`.
    #[serde(default)]
    pub after: After,
}

/// What happens to a processed file. A file whose sample was dropped stays in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// It stays, and is read again at the next start.
    #[default]
    Keep,
    /// It goes to the subfolder `done`, or `failed`.
    Move,
    /// It is deleted if it gave a result, otherwise it goes to the subfolder `failed`.
    Delete,
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WorkersConfig {
    /// Threads, each with one sample at a time. Default: one fewer than the machine has cores, at least 1.
    pub threads: usize,
    /// How much longer than all time limits of its release together a sample may take, in milliseconds. After that its worker is stuck:
    /// the sample fails, and another thread takes the place of the worker. Default: 30000.
    pub stuck_after_ms: u64,
}

/// `[drain]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DrainConfig {
    /// Time for samples in flight at shutdown, in milliseconds; the rest are dropped with a stable reason. Default: 5000.
    pub deadline_ms: u64,
}

fn default_data() -> PathBuf {
    PathBuf::from("data")
}

fn default_trust() -> PathBuf {
    PathBuf::from("trust.toml")
}

/// Default of `allow`: all grants except those of WASI 0.2 (`wasi`, `wasi-sockets` and `wasi-http`).
fn default_allow() -> BTreeSet<Grant> {
    BTreeSet::from([
        Grant::Log,
        Grant::Metrics,
        Grant::Clock,
        Grant::Config,
        Grant::Data,
        Grant::State,
        Grant::Vision,
        Grant::Infer,
        Grant::WasiNn,
    ])
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            subscribe: Vec::new(),
            queue: 16,
            when_full: WhenFull::Block,
            block_timeout_ms: 4_000,
            max_sample_bytes: DEFAULT_MAX_SAMPLE_BYTES,
        }
    }
}

impl Default for WorkersConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: cores.saturating_sub(1).max(1),
            stuck_after_ms: 30_000,
        }
    }
}

impl WorkersConfig {
    /// `stuck-after-ms` as a duration.
    pub const fn stuck_after(&self) -> Duration {
        Duration::from_millis(self.stuck_after_ms)
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { deadline_ms: 5_000 }
    }
}

impl DrainConfig {
    /// `deadline-ms` as a duration.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

impl WhenFull {
    /// The name in the configuration and in the status.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The text of a `hotshoe.toml`.
fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    match hotshoe_base::files::read_text(path, MAX_CONFIG_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            Err(ConfigError::TooLarge {
                path: path.to_owned(),
                bytes: std::fs::metadata(path).map_err(read)?.len(),
            })
        }
        text => text.map_err(read),
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key or the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_text(path)?, path.parent().unwrap_or(Path::new("")))
    }

    /// Parses and checks a text. Relative paths are resolved against `folder`.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml_file::parse(text).map_err(ConfigError::Toml)?;
        config.finish(folder)
    }

    /// Resolves relative paths against `folder`, and checks the values.
    fn finish(self, folder: &Path) -> Result<Self, ConfigError> {
        let mut config = self;
        config.data = folder.join(&config.data);
        config.trust = folder.join(&config.trust);
        config.zenoh.resolve(folder);
        config.inference.resolve(folder);
        config.governor.resolve(folder);
        config.outbox.resolve(folder);
        config.encryption.resolve(folder);
        config.secrets.resolve(folder);
        access::resolve(&mut config, folder);
        if let Some(oip) = &mut config.oip {
            oip.resolve(folder);
        }
        if let Some(page) = &mut config.page {
            page.resolve(folder);
        }
        if let Some(metrics) = &mut config.metrics {
            metrics.resolve(folder);
        }
        if let Some(telemetry) = &mut config.telemetry {
            telemetry.resolve(folder);
        }
        if let Some(watch) = &mut config.watch {
            watch.folder = folder.join(&watch.folder);
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses values that are not valid, or not safe.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name("site", &self.site)?;
        check_name("device", &self.device)?;
        let intake = &self.intake;
        check_range("intake.queue", intake.queue as u64, 1, MAX_QUEUE as u64)?;
        check_range(
            "intake.max-sample-bytes",
            intake.max_sample_bytes as u64,
            1,
            (MAX_MESSAGE_BYTES - MESSAGE_OVERHEAD) as u64,
        )?;
        check_range(
            "intake.block-timeout-ms",
            intake.block_timeout_ms,
            0,
            ZENOH_BLOCK_LIMIT_MS - 1,
        )?;
        self.zenoh.check()?;
        self.deploy.check()?;
        self.inference.check()?;
        self.compile.check()?;
        self.governor.check()?;
        self.alerts.check()?;
        self.record.check()?;
        self.privacy.check()?;
        self.check_data_contract()?;
        self.outbox.check()?;
        self.encryption.check()?;
        self.secrets.check()?;
        if let Some(figures) = &self.private_telemetry {
            figures.check(&self.outbox)?;
        }
        self.log.check()?;
        self.check_shared_data()?;
        access::check(self)?;
        self.oip.as_ref().map_or(Ok(()), OipConfig::check)?;
        self.page.as_ref().map_or(Ok(()), PageConfig::check)?;
        self.metrics.as_ref().map_or(Ok(()), MetricsConfig::check)?;
        let telemetry = self.telemetry.as_ref();
        telemetry.map_or(Ok(()), TelemetryConfig::check)?;
        check_range(
            "workers.threads",
            self.workers.threads as u64,
            1,
            MAX_WORKERS as u64,
        )?;
        check_range(
            "workers.stuck-after-ms",
            self.workers.stuck_after_ms,
            100,
            3_600_000,
        )?;
        check_range("drain.deadline-ms", self.drain.deadline_ms, 0, 3_600_000)?;
        check_sample_fits(self.intake.max_sample_bytes, self.zenoh.max_message_bytes)
    }

    fn check_data_contract(&self) -> Result<(), ConfigError> {
        let bounds = &self.data_contract;
        for (key, count) in [
            ("max-upload", bounds.max_upload.len()),
            ("max-retention", bounds.max_retention.len()),
        ] {
            let key = format!("number of entries of data-contract.{key}");
            check_range(key, count as u64, 0, MAX_BOUNDS as u64)?;
        }
        Ok(())
    }

    fn check_shared_data(&self) -> Result<(), ConfigError> {
        let (count, most) = (self.shared_data.len() as u64, MAX_VALUES as u64);
        check_range("number of [shared-data] tables", count, 0, most)?;
        for (name, definition) in &self.shared_data {
            check_name("shared-data", name)?;
            let Definition {
                rule: _,
                max_items,
                max_bytes,
            } = *definition;
            let limits = [
                ("max-items", max_items, MAX_ITEMS),
                ("max-bytes", max_bytes, MAX_VALUE_BYTES),
            ];
            for (key, value, most) in limits {
                let key = format!("shared-data.{name}.{key}");
                check_range(key, value.into(), 1, most.into())?;
            }
        }
        Ok(())
    }

    /// The identity of the device for selectors and policies.
    pub fn identity(&self) -> Device {
        Device {
            name: self.device.clone(),
            site: self.site.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// Checks that a name can be part of a Zenoh key and of a path; `key` is its configuration key, for the error.
///
/// # Errors
/// [`ConfigError::Name`].
pub fn check_name(key: &'static str, value: &str) -> Result<(), ConfigError> {
    let is_dots = value.bytes().all(|b| b == b'.');
    let fits = is_plain(value) && !is_dots;
    fits.then_some(()).ok_or_else(|| ConfigError::Name {
        key,
        value: value.to_owned(),
    })
}

/// Whether a name has 1 to [`MAX_NAME_BYTES`] letters, digits, `-`, `_` and `.`.
fn is_plain(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_part)
}

fn check_sample_fits(sample: usize, message: usize) -> Result<(), ConfigError> {
    let most = message.saturating_sub(MESSAGE_OVERHEAD);
    (sample <= most)
        .then_some(())
        .ok_or(ConfigError::SampleAboveMessage {
            sample,
            message,
            most,
            needed: sample.saturating_add(MESSAGE_OVERHEAD),
        })
}

fn check_range(
    key: impl Into<Cow<'static, str>>,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), ConfigError> {
    (least..=most)
        .contains(&value)
        .then_some(())
        .ok_or_else(|| ConfigError::Range {
            key: key.into(),
            value,
            least,
            most,
        })
}
