//! Errors of a `hotshoe.toml`.

use std::borrow::Cow;
use std::path::PathBuf;

use hotshoe_trust::toml_file::TomlError;

use crate::{MAX_CONFIG_BYTES, MAX_NAME_BYTES};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}; use another with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than [`MAX_CONFIG_BYTES`].
    #[error("the configuration {path} has {bytes} bytes; at most {MAX_CONFIG_BYTES} are allowed")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not the expected TOML: a misspelt key, a wrong type, or a missing key.
    #[error("the configuration is not valid")]
    Toml(#[source] TomlError),
    /// A name cannot be part of a key.
    #[error(
        "`{key} = \"{value}\"` cannot be part of a Zenoh key: use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`, but not only dots"
    )]
    Name {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A sample may be larger than the message that it travels in.
    #[error(
        "`intake.max-sample-bytes = {sample}` does not fit into `zenoh.max-message-bytes = {message}`: lower the former to {most}, \
         or raise the latter to {needed}, here and at the senders"
    )]
    SampleAboveMessage {
        /// `intake.max-sample-bytes`.
        sample: usize,
        /// `zenoh.max-message-bytes`.
        message: usize,
        /// The largest sample that fits.
        most: usize,
        /// The smallest message that holds it.
        needed: usize,
    },
    /// An HTTP server would be exposed to a whole network.
    #[error(
        "`{door}.listen = {listen}` is beyond loopback, and {problem}: add `[{door}.tls]` with either `client-ca` in it or \
         `{door}.token-file`, or listen on 127.0.0.1; `{door}.insecure = true` accepts it"
    )]
    OpenDoor {
        /// The section of the server.
        door: &'static str,
        /// Its `listen`.
        listen: std::net::SocketAddr,
        /// Why it is refused.
        problem: &'static str,
    },
    /// Pictures on the page of a site.
    #[error("`page.pictures` is for devices: a registry has no samples; remove it")]
    SitePictures,
    /// A secret for the page of a site.
    #[error("`page.token-secret` is for devices: a registry has no secrets; use `page.token-file`")]
    SiteSecret,
    /// An unknown execution provider.
    #[error(
        "`inference.providers` names `{name}`, which is not one of the execution providers {}",
        hotshoe_infer::PROVIDERS.join(", ")
    )]
    UnknownProvider {
        /// The name.
        name: String,
    },
    /// A pattern that is not a glob.
    #[error("`{key}`: `{glob}` is not a valid glob ({reason})")]
    Glob {
        /// The key.
        key: &'static str,
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A filter of log lines that cannot be read.
    #[error(
        "`log.filter = \"{filter}\"` is not a valid log filter, such as `info,zenoh=warn` ({reason})"
    )]
    LogFilter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that is not a valid guest path of a folder.
    #[error(
        "`[folders.\"{path}\"]` is not a valid folder path: write `/` and names of letters, digits, `-`, `_` and `.`, such as `[folders.\"/models\"]`"
    )]
    FolderPath {
        /// The path.
        path: String,
    },
    /// A name of an output that a governor may drive.
    #[error(
        "`[governor.outputs.\"{name}\"]` is not a valid name of an output: use 1 to 64 letters, digits, `-`, `_` and `.`, such as `[governor.outputs.fan]`"
    )]
    OutputName {
        /// The name.
        name: String,
    },
    /// Nothing that can be durable.
    #[error(
        "`outbox.durable` names `{output}`, which is not an output: use `insight`, `action`, `alert`, or `custom:` and a topic of at most 121 bytes"
    )]
    UnknownOutput {
        /// The name.
        output: String,
    },
    /// The URL of a broker.
    #[error(
        "`outbox.mqtt.url = \"{url}\"` is not a broker: write `mqtts://HOST:PORT`, or `mqtt://` without TLS"
    )]
    MqttUrl {
        /// The URL.
        url: String,
    },
    /// A broker on another machine without TLS.
    #[error(
        "`outbox.mqtt.url = \"{url}\"` is beyond loopback without TLS: use `mqtts://`, or accept it by `outbox.mqtt.insecure = true`"
    )]
    InsecureBroker {
        /// The URL.
        url: String,
    },
    /// A prefix of topics.
    #[error(
        "`outbox.mqtt.topic-prefix = \"{prefix}\"` cannot begin a topic: use 1 to 128 bytes without `+` and `#`, and not `$` at first"
    )]
    TopicPrefix {
        /// The prefix.
        prefix: String,
    },
    /// The address of a collector.
    #[error(
        "`telemetry.endpoint = \"{endpoint}\"` is not the address of a collector: write `https://HOST:PORT`, or `http://` without TLS"
    )]
    Collector {
        /// The address.
        endpoint: String,
    },
    /// A collector on another machine without TLS.
    #[error(
        "`telemetry.endpoint = \"{endpoint}\"` is beyond loopback without TLS: use `https://`, or accept it by `telemetry.insecure = true`"
    )]
    InsecureCollector {
        /// The address.
        endpoint: String,
    },
    /// A key that requires another one.
    #[error("`{key}` needs `{needed}` as well")]
    Needs {
        /// The key.
        key: &'static str,
        /// What is missing.
        needed: &'static str,
    },
    /// A name that no secret can have.
    #[error(
        "`{key} = \"{name}\"` is not a name of a secret: use 1 to 64 lower-case letters, digits, hyphens and dots, with a letter first"
    )]
    SecretName {
        /// The key.
        key: String,
        /// Its value.
        name: String,
    },
    /// A figure cannot be published.
    #[error("`[private-telemetry.figures.{figure}]` is not valid")]
    Figure {
        /// Its name.
        figure: String,
        /// Why.
        #[source]
        source: hotshoe_differential_privacy::DefinitionError,
    },
    /// A key that a kind of figure requires.
    #[error("`[private-telemetry.figures.{figure}]` needs `{key}` for its kind")]
    FigureNeeds {
        /// The figure.
        figure: String,
        /// The key.
        key: &'static str,
    },
    /// The budget of a day, in equal parts for each figure of each window, is too small or too large.
    #[error(
        "`private-telemetry.epsilon-per-day` does not divide among {figures} figures in windows of {window_s} s; raise it, take longer windows, or fewer figures"
    )]
    Epsilon {
        /// Number of figures.
        figures: usize,
        /// `window-s`.
        window_s: u64,
    },
    /// A mask is not valid.
    #[error(transparent)]
    Privacy(#[from] hotshoe_trust::PrivacyError),
    /// A bound of the health gate is out of range.
    #[error("`[deploy.health]` is not valid")]
    Health(#[source] hotshoe_trust::ReleaseError),
    /// A number is out of its range.
    #[error("`{key} = {value}` is out of range: use {least} to {most}")]
    Range {
        /// The key.
        key: Cow<'static, str>,
        /// Its value.
        value: u64,
        /// The smallest value.
        least: u64,
        /// The largest value.
        most: u64,
    },
}
