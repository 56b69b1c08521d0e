//! `[outbox.mqtt]`: a broker in place of collectors.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::encryption::check_secret_name;
use crate::error::ConfigError;
use crate::loopback::is_loopback;

/// Longest prefix of topics, in bytes.
const MAX_PREFIX_BYTES: usize = 128;
/// Ports without and with TLS.
const PORTS: (u16, u16) = (1883, 8883);

/// `[outbox.mqtt]`: a broker of MQTT 5, which gets the records in place of collectors. A record has arrived when the broker acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutboxMqttConfig {
    /// The broker, such as `mqtts://broker.example.org:8883`. Required.
    pub url: String,
    /// What topics begin with; `/<site>/<device>/<output>` follows. Default: `hotshoe`.
    #[serde(default = "default_prefix")]
    pub topic_prefix: String,
    /// The client's id. Default: `hotshoe-<site>-<device>`.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The authority of the broker, in PEM. Required with `mqtts`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate of this device, in PEM. Default: none.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The user name for the broker. Default: none.
    #[serde(default)]
    pub username: Option<String>,
    /// The file with its password; a line feed at its end does not count. It is read at each connection. Default: none.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The name of the secret that is its password, if there is no `password-file`. It is read at each connection. Default: none.
    #[serde(default)]
    pub password_secret: Option<String>,
    /// Whether a broker on another machine may be used without TLS. Default: false.
    #[serde(default)]
    pub insecure: bool,
}

/// A parsed URL of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttUrl {
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is `mqtts`.
    pub is_tls: bool,
}

fn default_prefix() -> String {
    "hotshoe".to_owned()
}

impl OutboxMqttConfig {
    /// The parsed `url`. `None` if it is not valid, which a check refuses.
    pub fn parsed(&self) -> Option<MqttUrl> {
        let (scheme, rest) = self.url.split_once("://")?;
        let (is_tls, default_port) = match scheme {
            "mqtt" => (false, PORTS.0),
            "mqtts" => (true, PORTS.1),
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(address) => {
                let (host, port) = address.split_once(']')?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':')?),
                };
                (host, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        let is_host = |it: char| it.is_ascii_alphanumeric() || "-._:".contains(it);
        let fits = !host.is_empty() && host.chars().all(is_host) && port > 0;
        fits.then(|| MqttUrl {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        let files = [
            &mut self.ca,
            &mut self.certificate,
            &mut self.key,
            &mut self.password_file,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let url = self.parsed().ok_or_else(|| ConfigError::MqttUrl {
            url: self.url.clone(),
        })?;
        if !url.is_tls && !self.insecure && !is_loopback(&url.host) {
            let url = self.url.clone();
            return Err(ConfigError::InsecureBroker { url });
        }
        let needs = |key, needed| Err(ConfigError::Needs { key, needed });
        match (&self.ca, &self.certificate, &self.key) {
            (None, ..) if url.is_tls => return needs("outbox.mqtt.url", "outbox.mqtt.ca"),
            (_, Some(_), None) => return needs("outbox.mqtt.certificate", "outbox.mqtt.key"),
            (_, None, Some(_)) => return needs("outbox.mqtt.key", "outbox.mqtt.certificate"),
            _ => {}
        }
        if self.password_file.is_some() && self.username.is_none() {
            return needs("outbox.mqtt.password-file", "outbox.mqtt.username");
        }
        if self.password_secret.is_some() && self.username.is_none() {
            return needs("outbox.mqtt.password-secret", "outbox.mqtt.username");
        }
        check_secret_name("outbox.mqtt.password-secret", self.password_secret.as_ref())?;
        let prefix = &self.topic_prefix;
        let fits = (1..=MAX_PREFIX_BYTES).contains(&prefix.len())
            && !prefix.starts_with('$')
            && !prefix.contains(['+', '#', '\0']);
        fits.then_some(()).ok_or_else(|| ConfigError::TopicPrefix {
            prefix: prefix.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use crate::Config;

    fn parse(mqtt: &str) -> Result<Config, String> {
        let text = format!("site = \"lab\"\ndevice = \"line-4\"\n[outbox.mqtt]\n{mqtt}");
        Config::parse(&text, Path::new("/etc")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broker_has_a_host_and_a_port() {
        for (url, host, port, is_tls) in [
            ("mqtt://localhost", "localhost", 1883, false),
            ("mqtt://127.0.0.1:99/", "127.0.0.1", 99, false),
            ("mqtt://[::1]:99", "::1", 99, false),
            (
                "mqtts://broker.example.org",
                "broker.example.org",
                8883,
                true,
            ),
            ("mqtts://[2001:db8::1]", "2001:db8::1", 8883, true),
        ] {
            let text = format!("url = \"{url}\"\nca = \"ca.pem\"\n");
            let mqtt = parse(&text).unwrap().outbox.mqtt.unwrap();
            let parsed = mqtt.parsed().unwrap();
            let found = (parsed.host.as_str(), parsed.port, parsed.is_tls);
            assert_eq!(found, (host, port, is_tls), "{url}");
            assert_eq!(mqtt.ca.unwrap(), Path::new("/etc/ca.pem"));
        }
    }

    #[test]
    fn a_password_is_in_a_file_beside_the_configuration() {
        let text = "url = \"mqtt://localhost\"\nusername = \"line-4\"\npassword-file = \"broker.password\"\n";
        let mqtt = parse(text).unwrap().outbox.mqtt.unwrap();
        assert_eq!(mqtt.username.as_deref(), Some("line-4"));
        let file = mqtt.password_file.unwrap();
        assert_eq!(file, Path::new("/etc/broker.password"));
    }

    #[test]
    fn brokers_that_are_not_valid_or_not_safe_are_refused() {
        for (mqtt, named) in [
            ("url = \"http://localhost\"", "http://localhost"),
            ("url = \"mqtt://localhost:0\"", "localhost:0"),
            ("url = \"mqtt://a b\"", "a b"),
            ("url = \"mqtt://192.0.2.1\"", "insecure"),
            ("url = \"mqtts://192.0.2.1\"", "outbox.mqtt.ca"),
            (
                "url = \"mqtt://localhost\"\nkey = \"a\"",
                "outbox.mqtt.certificate",
            ),
            ("url = \"mqtt://localhost\"\ntopic-prefix = \"a/#\"", "a/#"),
            (
                "url = \"mqtt://localhost\"\npassword-file = \"a\"",
                "outbox.mqtt.username",
            ),
            (
                "url = \"mqtt://localhost\"\npassword-secret = \"a\"",
                "outbox.mqtt.username",
            ),
            (
                "url = \"mqtt://localhost\"\nusername = \"u\"\npassword-secret = \"A/b\"",
                "A/b",
            ),
        ] {
            let error = parse(mqtt).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(parse("url = \"mqtt://192.0.2.1\"\ninsecure = true\n").is_ok());
    }
}
