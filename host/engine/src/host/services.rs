//! `log`, `metrics`, `clock`, `config` and `data`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotshoe_infer::NamedModel;
use hotshoe_sealing::SecretSource;
use hotshoe_trust::{
    Allowed, EffectiveContract, MAX_TOPIC_BYTES, OutputName, PIPELINE, Upload, is_topic, printable,
};
use parking_lot::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use super::bindings::hotshoe::pipeline::{clock, config, log, metrics};
use super::secrets::ComponentSecrets;
use super::{State, error, wasi};
use crate::assets::ComponentAssets;
use crate::fault::{ErrorCode as FaultCode, Failure, Fault};
use crate::insight::{Action, MAX_CONTENT_TYPE_BYTES};
use crate::kept_back::KeptBack;
use crate::limits::Wear;
use crate::message::{clip, listed};
use crate::prepare_error::PrepareError;
use crate::shared_texts::SharedTexts;

/// Metrics that one component may have.
const MAX_METRICS: usize = 32;
/// Prefix of the keys of shared values.
const SHARED_DATA: &str = "shared-data.";
/// Prefix of the keys of secrets.
const SECRET: &str = "secret.";
/// Longest name of a metric, in bytes.
const MAX_METRIC_NAME_BYTES: usize = 64;

/// The assets and grants of one component, shared by all of its instances.
pub(crate) struct Services {
    component: String,
    config: BTreeMap<String, String>,
    /// The shared values that it may read.
    shared_data: BTreeSet<String>,
    shared_texts: SharedTexts,
    secrets: ComponentSecrets,
    data: BTreeMap<String, Arc<[u8]>>,
    models: BTreeMap<String, Arc<NamedModel>>,
    log: Mutex<LogBudget>,
    log_lines_dropped: AtomicU64,
    /// Instances that were replaced for their memory.
    replaced_for_memory: AtomicU64,
    metric_names: Mutex<MetricNames>,
    wasi: wasi::WasiConfig,
    /// The topics of its messages.
    topics: BTreeSet<String>,
    /// Its largest message, in bytes.
    message_bytes: usize,
    /// The class of its log lines, if they stay on the device.
    kept_log: Option<String>,
    /// The class of its metrics, if they stay on the device.
    kept_metrics: Option<String>,
    kept_back: KeptBack,
}

impl Services {
    pub(crate) fn new(
        name: &str,
        spec: &hotshoe_trust::Component,
        assets: &ComponentAssets,
        allowed: &Allowed,
        shared_texts: &SharedTexts,
    ) -> Result<Self, PrepareError> {
        Ok(Self {
            component: name.to_owned(),
            config: spec.config.clone(),
            shared_data: spec.shared_data.clone(),
            shared_texts: shared_texts.clone(),
            secrets: ComponentSecrets::new(spec.secrets.clone(), None),
            data: select(name, "data file", &spec.data, &assets.data)?,
            models: select(name, "model", &spec.models, &assets.models)?,
            log: Mutex::new(LogBudget::new(spec.limits.log_lines)),
            log_lines_dropped: AtomicU64::new(0),
            replaced_for_memory: AtomicU64::new(0),
            metric_names: Mutex::default(),
            wasi: wasi::WasiConfig::new(name, spec, allowed)?,
            topics: spec.topics.clone(),
            message_bytes: allowed.message_bytes,
            kept_log: None,
            kept_metrics: None,
            kept_back: KeptBack::default(),
        })
    }

    /// Lets it read the secrets of a device that its release lists.
    pub(crate) fn with_secrets(
        mut self,
        spec: &hotshoe_trust::Component,
        source: Option<&SecretSource>,
    ) -> Self {
        self.secrets = ComponentSecrets::new(spec.secrets.clone(), source.cloned());
        self
    }

    /// Keeps its log lines and metrics on the device where this contract says so. Their texts and names are its own, so that only what
    /// leaves as it is leaves at all. What stays is counted.
    pub(crate) fn within(mut self, contract: &EffectiveContract, kept_back: &KeptBack) -> Self {
        self.kept_back = kept_back.clone();
        let kept = |output: OutputName| {
            let class = contract.text(&output, &self.component);
            let class = class.filter(|it| it.class.upload != Upload::Yes)?;
            let (component, class) = (self.component.as_str(), class.name);
            tracing::info!(component, class, %output, "the data contract keeps this output of the component on the device");
            Some(class)
        };
        let (log, metrics) = (kept(OutputName::Log), kept(OutputName::Metrics));
        (self.kept_log, self.kept_metrics) = (log, metrics);
        self
    }

    /// The component's name in the release.
    pub(crate) fn name(&self) -> &str {
        &self.component
    }

    /// A setting of the release, or a shared value or a secret of the device.
    fn setting(&self, key: &str) -> Option<String> {
        let secret = key.strip_prefix(SECRET);
        if let Some(value) = secret.and_then(|name| self.secrets.get(&self.component, name)) {
            return Some(value);
        }
        match key.strip_prefix(SHARED_DATA) {
            Some(name) if self.shared_data.contains(name) => self.shared_texts.get(name),
            _ => self.config.get(key).cloned(),
        }
    }

    /// A text for a log, a status or an error, without the secrets that it has read.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        self.secrets.hidden_in(text)
    }

    /// Its WASI configuration.
    pub(crate) const fn wasi(&self) -> &wasi::WasiConfig {
        &self.wasi
    }

    /// A data file that the release names for the component.
    fn file(&self, name: &str) -> Result<Arc<[u8]>, Error> {
        self.data.get(name).map(Arc::clone).ok_or_else(|| {
            let known = listed(self.data.keys().map(String::as_str));
            let message = format_args!(
                "no data file `{name}` for this component; the release names: {known}"
            );
            error(ErrorCode::NotFound, message)
        })
    }

    /// The model of this name, if the component may run it; otherwise a message. Other models of the release do not exist for it.
    pub(crate) fn model(&self, name: &str) -> Result<&Arc<NamedModel>, String> {
        self.models.get(name).ok_or_else(|| {
            let known = listed(self.models.keys().map(String::as_str));
            format!("no model `{name}` for this component; the release names: {known}")
        })
    }
}

impl Services {
    /// Checks the messages of a policy. If one is not allowed, all its actions are refused.
    pub(crate) fn check_sent(&self, actions: &[Action]) -> Result<(), Failure> {
        let name = &self.component;
        for action in actions {
            let Action::Send {
                topic,
                payload,
                content_type,
            } = action
            else {
                continue;
            };
            if !self.topics.contains(topic) {
                return Err(self.no_topic(topic));
            }
            if payload.len() > self.message_bytes {
                let (bytes, most) = (payload.len(), self.message_bytes);
                let message = format!(
                    "`{name}` sends {bytes} bytes under `{topic}`; the device's `zenoh.max-message-bytes` allows {most}"
                );
                return Err(Failure::new(
                    Fault::Guest(FaultCode::LimitExceeded),
                    message,
                ));
            }
            if content_type.len() > MAX_CONTENT_TYPE_BYTES {
                let message = format!(
                    "`{name}` sends under `{topic}` a content type of {} bytes; at most {MAX_CONTENT_TYPE_BYTES} are allowed",
                    content_type.len()
                );
                return Err(Failure::new(Fault::Guest(FaultCode::InvalidInput), message));
            }
        }
        Ok(())
    }

    fn no_topic(&self, topic: &str) -> Failure {
        let name = &self.component;
        let message = if is_topic(topic) {
            let states: Vec<&str> = self.topics.iter().map(String::as_str).collect();
            let states = if states.is_empty() {
                "none".to_owned()
            } else {
                states.join(", ")
            };
            format!(
                "`{name}` sends a message under the topic `{topic}`, which the release does not list for it (it lists: {states}); add it to `topics` under [components.{name}] in release.toml"
            )
        } else {
            let topic: String = topic.chars().take(80).collect();
            format!(
                "`{name}` sends a message under `{}`, which is not a valid topic: use 1 to {MAX_TOPIC_BYTES} letters, digits, `-`, `_` and `.`",
                topic.escape_debug()
            )
        };
        Failure::new(Fault::Denied, message)
    }
}

fn select<T: ?Sized>(
    component: &str,
    kind: &'static str,
    names: &BTreeSet<String>,
    from: &BTreeMap<String, Arc<T>>,
) -> Result<BTreeMap<String, Arc<T>>, PrepareError> {
    names
        .iter()
        .map(|name| match from.get(name) {
            Some(part) => Ok((name.clone(), Arc::clone(part))),
            None => Err(PrepareError::Missing {
                component: component.to_owned(),
                kind,
                name: name.clone(),
            }),
        })
        .collect()
}

/// Counts a component's log lines in the current second.
struct LogBudget {
    /// Its limit `log-lines`.
    most: u32,
    second: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogBudget {
    const fn new(most: u32) -> Self {
        Self {
            most,
            second: None,
            lines: 0,
            suppressed: 0,
        }
    }

    /// Whether one more line may be written, and how many were dropped in the second that has just ended.
    fn take(&mut self, now: Instant) -> (bool, u64) {
        let fresh = self
            .second
            .is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1));
        let mut suppressed = 0;
        if fresh {
            self.second = Some(now);
            self.lines = 0;
            suppressed = std::mem::take(&mut self.suppressed);
        }
        let allowed = self.lines < self.most;
        if allowed {
            self.lines += 1;
        } else {
            self.suppressed += 1;
        }
        (allowed, suppressed)
    }
}

impl Services {
    /// Writes one line of the component to the log, as far as `log-lines` lets it.
    pub(crate) fn write_log(&self, level: log::Level, message: String) {
        let component = self.component.as_str();
        if let Some(class) = &self.kept_log {
            self.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
            self.kept_back.count(class, &OutputName::Log.to_string());
            return;
        }
        let (allowed, suppressed) = self.log.lock().take(Instant::now());
        if suppressed > 0 {
            tracing::warn!(target: "component", component, suppressed, "log lines were suppressed");
        }
        if !allowed {
            self.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
            ::metrics::counter!("hotshoe_component_log_lines_dropped_total", "component" => component.to_owned())
                .increment(1);
            return;
        }
        // Escaped, so that it is one line, cannot look like a line of the daemon, and cannot control a terminal.
        let message = printable(&clip(self.without_secrets(message)), &[]);
        match level {
            log::Level::Trace => tracing::trace!(target: "component", component, "{message}"),
            log::Level::Debug => tracing::debug!(target: "component", component, "{message}"),
            log::Level::Info => tracing::info!(target: "component", component, "{message}"),
            log::Level::Warn => tracing::warn!(target: "component", component, "{message}"),
            log::Level::Error => tracing::error!(target: "component", component, "{message}"),
        }
    }

    /// Whether texts with its data must not get into the log.
    pub(crate) const fn keeps_log(&self) -> bool {
        self.kept_log.is_some()
    }

    pub(crate) fn log_lines_dropped(&self) -> u64 {
        self.log_lines_dropped.load(Ordering::Relaxed)
    }

    /// Counts an instance that is replaced after a call.
    pub(crate) fn count_replacement(&self, wear: Wear) {
        let component = self.component.as_str();
        ::metrics::counter!("hotshoe_instances_replaced_total", "component" => component.to_owned(), "reason" => wear.name())
            .increment(1);
        if wear != Wear::Memory {
            return;
        }
        let count = self.replaced_for_memory.fetch_add(1, Ordering::Relaxed) + 1;
        // A leak replaces instances as long as the component runs: the 1st, 2nd, 4th, 8th time are logged.
        if count.is_power_of_two() {
            tracing::warn!(
                component,
                count,
                "an instance is replaced, since its memory is used up or nearly so; the component may leak, or need a larger memory-mib"
            );
        }
    }

    pub(crate) fn replaced_for_memory(&self) -> u64 {
        self.replaced_for_memory.load(Ordering::Relaxed)
    }
}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.services.write_log(level, message);
        Ok(())
    }
}

/// Metrics that a component has used.
#[derive(Default)]
struct MetricNames(BTreeSet<String>);

impl MetricNames {
    fn allow(&mut self, name: &str) -> bool {
        if self.0.contains(name) {
            return true;
        }
        let fits = name.len() <= MAX_METRIC_NAME_BYTES
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        fits && self.0.len() < MAX_METRICS && self.0.insert(name.to_owned())
    }
}

impl State {
    fn metric(&self, name: &str) -> Option<(String, String)> {
        if let Some(class) = &self.services.kept_metrics {
            let output = OutputName::Metrics.to_string();
            self.services.kept_back.count(class, &output);
            return None;
        }
        let component = self.services.component.clone();
        // The names of metrics are seen by all who read them.
        let is_secret = self.services.without_secrets(name.to_owned()) != name;
        let mut names = self.services.metric_names.lock();
        if !is_secret && names.allow(name) {
            return Some((format!("hotshoe_component_{name}"), component));
        }
        ::metrics::counter!("hotshoe_component_metrics_ignored_total", "component" => component)
            .increment(1);
        None
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        if let Some((name, component)) = self.metric(&name) {
            ::metrics::counter!(name, "component" => component).increment(by);
        }
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if let Some((name, component)) = self.metric(&name) {
            ::metrics::histogram!(name, "component" => component).record(value);
        }
        Ok(())
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl config::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.services.setting(&key))
    }
}

/// Links `data` of a version, by hand: a file is copied once, into the component's memory.
pub(crate) fn add_data_to_linker(
    linker: &mut Linker<State>,
    version: &str,
) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&PIPELINE.interface("data", version))?;
    interface.func_wrap(
        "read",
        |caller: StoreContextMut<'_, State>, (name,): (String,)| {
            Ok((caller.data().services.file(&name),))
        },
    )
}
