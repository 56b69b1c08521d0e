//! `[telemetry]`: a collector of OpenTelemetry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::encryption::check_secret_name;
use crate::error::ConfigError;
use crate::loopback::is_loopback;

/// The longest time between two exports of the metrics, in seconds.
const MAX_INTERVAL_S: u64 = 3_600;

/// `[telemetry]`. Without this section nothing is sent. The collector gets metrics and traces by OTLP over HTTP, in protobuf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TelemetryConfig {
    /// The collector, such as `https://collector.example.org:4318`. `/v1/metrics` and `/v1/traces` follow. Required.
    pub endpoint: String,
    /// The CA certificates for the collector, in PEM. Default: those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A file with further headers of each request, such as a token: one `name: value` a line. Default: none.
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
    /// The name of the secret with these fields, if there is no `headers-file`. Default: none.
    #[serde(default)]
    pub headers_secret: Option<String>,
    /// Whether a collector on another machine may be used without TLS. Default: false.
    #[serde(default)]
    pub insecure: bool,
    /// The time between two exports of the metrics, in seconds. Default: 60.
    #[serde(default = "default_interval_s")]
    pub interval_s: u64,
    /// One of so many samples without a trace context begins a trace; 0 for none. Where a sender gives a trace context, its flag decides.
    /// Default: 100.
    #[serde(default = "default_sample_one_in")]
    pub sample_one_in: u32,
}

const fn default_interval_s() -> u64 {
    60
}

const fn default_sample_one_in() -> u32 {
    100
}

impl TelemetryConfig {
    /// The time between two exports of the metrics.
    pub const fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s)
    }

    /// The endpoint without a slash at its end.
    pub fn base(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }

    /// Resolves relative paths against `folder`.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        for file in [&mut self.ca, &mut self.headers_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    /// Refuses what is not valid, and what is not safe.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (is_tls, host) =
            scheme_and_host(self.base()).ok_or_else(|| ConfigError::Collector {
                endpoint: self.endpoint.clone(),
            })?;
        if !is_tls && !self.insecure && !is_loopback(host) {
            return Err(ConfigError::InsecureCollector {
                endpoint: self.endpoint.clone(),
            });
        }
        if self.ca.is_some() && !is_tls {
            return Err(ConfigError::Needs {
                key: "telemetry.ca",
                needed: "an `https` address in telemetry.endpoint",
            });
        }
        check_secret_name("telemetry.headers-secret", self.headers_secret.as_ref())?;
        super::check_range("telemetry.interval-s", self.interval_s, 1, MAX_INTERVAL_S)
    }
}

/// Whether a URL is `https`, and its host. `None` if it is not a URL without user, query and fragment.
fn scheme_and_host(url: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let is_part = |it: char| it.is_ascii_graphic() && !"@?#\\\"<>".contains(it);
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    let has_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let fits = !host.is_empty() && has_port && rest.chars().all(is_part);
    fits.then_some((is_tls, host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::Config;

    fn parse(telemetry: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n[telemetry]\n{telemetry}");
        Config::parse(&text, Path::new("/etc")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_has_an_address_and_defaults() {
        for endpoint in [
            "http://localhost:4318",
            "http://127.0.0.1:4318/",
            "http://[::1]:4318",
            "https://collector.example.org/otlp",
        ] {
            let config = parse(&format!("endpoint = \"{endpoint}\"")).unwrap();
            let telemetry = config.telemetry.unwrap();
            assert!(!telemetry.base().ends_with('/'));
            assert_eq!((telemetry.interval_s, telemetry.sample_one_in), (60, 100));
        }
    }

    #[test]
    fn files_are_beside_the_configuration() {
        let text = "endpoint = \"https://collector\"\nca = \"ca.pem\"\nheaders-file = \"headers\"";
        let telemetry = parse(text).unwrap().telemetry.unwrap();
        assert_eq!(telemetry.ca.unwrap(), Path::new("/etc/ca.pem"));
        assert_eq!(telemetry.headers_file.unwrap(), Path::new("/etc/headers"));
    }

    #[test]
    fn collectors_that_are_not_valid_or_not_safe_are_refused() {
        for (telemetry, named) in [
            ("endpoint = \"grpc://localhost\"", "grpc://localhost"),
            ("endpoint = \"http://localhost:0\"", "localhost:0"),
            ("endpoint = \"http://user@localhost\"", "user@localhost"),
            ("endpoint = \"http://\"", "http://"),
            ("endpoint = \"http://a b\"", "a b"),
            ("endpoint = \"http://192.0.2.1:4318\"", "insecure"),
            (
                "endpoint = \"http://localhost\"\nca = \"a\"",
                "telemetry.ca",
            ),
            (
                "endpoint = \"http://localhost\"\ninterval-s = 0",
                "telemetry.interval-s",
            ),
            (
                "endpoint = \"http://localhost\"\nheaders-secret = \"A/b\"",
                "telemetry.headers-secret",
            ),
        ] {
            let error = parse(telemetry).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(parse("endpoint = \"http://192.0.2.1\"\ninsecure = true\n").is_ok());
    }
}
