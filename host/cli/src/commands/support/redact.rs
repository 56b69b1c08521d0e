//! What must not be in a bundle: values of the configuration that are not known to be harmless, and all secrets of the device.

use std::path::Path;

use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_sealing::Secret;
use serde_json::Value;

/// Keys whose texts are shown: names, files, addresses to listen on, and choices. Any other text may be a secret, or have one in it.
const SHOWN: &[&str] = &[
    "site",
    "device",
    "data",
    "trust",
    "allow",
    "mode",
    "listen",
    "folder",
    "after",
    "when-full",
    "statements",
    "keep-previous",
    "window",
    "backend",
    "providers",
    "memory",
    "filter",
    "rule",
    "path",
    "certificate",
    "key",
    "ca",
    "client-ca",
    "access-control",
    "key-file",
    "tpm-file",
    "tpm",
    "keyring",
    "token-file",
    "password-file",
    "headers-file",
    "password-secret",
    "headers-secret",
    "token-secret",
    "topics",
    "sensors",
];
/// A file of a token or a password is read up to this many bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Shorter values are not replaced: they would be found in words.
const LEAST_BYTES: usize = 4;
/// What stands in the place of a value.
const MARK: &str = "[redacted]";

/// The configuration as JSON, without texts that may be secret.
pub(super) fn redacted(config: &Value) -> Value {
    walk(config, true)
}

fn walk(value: &Value, is_shown: bool) -> Value {
    match value {
        Value::String(text) if !is_shown && !text.is_empty() => MARK.into(),
        Value::Array(items) => items.iter().map(|item| walk(item, is_shown)).collect(),
        Value::Object(table) => table
            .iter()
            .map(|(key, value)| {
                let is_table = value.is_object();
                (
                    key.clone(),
                    walk(value, is_table || SHOWN.contains(&key.as_str())),
                )
            })
            .collect(),
        other => other.clone(),
    }
}

/// The secrets of a device.
pub(super) struct Hidden(Vec<Secret>);

impl Hidden {
    /// Reads all that the configuration names. What cannot be read is noted in `missing`: it cannot be looked for.
    pub(super) fn of(config: &Config, missing: &mut Vec<String>) -> Self {
        let mut values = Vec::new();
        match config.encryption.open() {
            Ok(at_rest) => {
                let source = config.secret_source(&at_rest);
                match source.names() {
                    Ok(names) => {
                        let found = names.keys().filter_map(|name| source.get(name).ok());
                        values.extend(found);
                    }
                    Err(error) => missing.push(format!("secrets: {}", chain(&error))),
                }
            }
            Err(error) => missing.push(format!("secrets: {}", chain(&error))),
        }
        for path in files(config).into_iter().flatten() {
            if let Ok(text) = hotshoe_base::files::read_text(path, MAX_FILE_BYTES) {
                values.push(Secret::new(text));
            }
        }
        Self::of_values(&values)
    }

    /// Each value, each of its lines, and what follows a colon or a blank in one: headers have the names of the fields, too.
    fn of_values(wholes: &[Secret]) -> Self {
        let mut values: Vec<Secret> = wholes
            .iter()
            .flat_map(|whole| {
                let lines = whole.expose().lines();
                let parts = lines.flat_map(|line| line.split([':', ' ']).chain([line]));
                parts.chain([whole.expose()])
            })
            .map(|part| Secret::new(part.trim().to_owned()))
            .collect();
        values.retain(|value| value.expose().len() >= LEAST_BYTES);
        // The longest first, so that none is left in part.
        values.sort_by_key(|value| std::cmp::Reverse(value.expose().len()));
        Self(values)
    }

    /// Puts a mark in the place of each value in all texts.
    pub(super) fn replace(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.replace_in(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Value::Object(table) => {
                let entries = std::mem::take(table).into_iter();
                *table = entries
                    .map(|(mut key, mut value)| {
                        self.replace_in(&mut key);
                        self.replace(&mut value);
                        (key, value)
                    })
                    .collect();
            }
            _ => {}
        }
    }

    fn replace_in(&self, text: &mut String) {
        for value in &self.0 {
            if text.contains(value.expose()) {
                *text = text.replace(value.expose(), MARK);
            }
        }
    }
}

/// The files of passwords and tokens. Those with private keys are never read into a bundle.
fn files(config: &Config) -> [Option<&Path>; 5] {
    let mqtt = config.outbox.mqtt.as_ref();
    let telemetry = config.telemetry.as_ref();
    let (oip, page, metrics) = (&config.oip, &config.page, &config.metrics);
    [
        mqtt.and_then(|it| it.password_file.as_deref()),
        telemetry.and_then(|it| it.headers_file.as_deref()),
        oip.as_ref().and_then(|it| it.token_file.as_deref()),
        page.as_ref().and_then(|it| it.token_file.as_deref()),
        metrics.as_ref().and_then(|it| it.token_file.as_deref()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_unknown_keys_are_hidden_and_numbers_are_not() {
        let config = json!({
            "site": "lab",
            "labels": { "owner": "A. Person" },
            "outbox": {
                "mqtt": { "url": "mqtts://user:word@host", "password-secret": "broker" },
                "max-bytes": 7
            },
            "zenoh": { "connect": ["tcp/192.0.2.1:7447"], "listen": ["tcp/0.0.0.0:7447"] }
        });
        let expected = json!({
            "site": "lab",
            "labels": { "owner": MARK },
            "outbox": {
                "mqtt": { "url": MARK, "password-secret": "broker" },
                "max-bytes": 7
            },
            "zenoh": { "connect": [MARK], "listen": ["tcp/0.0.0.0:7447"] }
        });
        assert_eq!(redacted(&config), expected);
    }

    #[test]
    fn a_part_of_a_secret_of_several_lines_is_hidden() {
        let headers = "authorization: Bearer token-12\nx-tenant: line-four";
        let hidden = Hidden::of_values(&[Secret::new(headers.to_owned())]);
        let mut value = json!(["refused token-12", "line-four", "x: 12"]);
        hidden.replace(&mut value);
        assert_eq!(value, json!([format!("refused {MARK}"), MARK, "x: 12"]));
    }

    #[test]
    fn a_secret_is_replaced_in_every_text_and_nothing_else() {
        let hidden = Hidden(vec![
            Secret::new("pass\"word\\1".to_owned()),
            Secret::new("token-12".to_owned()),
            Secret::new("true".to_owned()),
        ]);
        let mut value = json!({
            "log": ["login pass\"word\\1 failed", true, 12],
            "token-12": "token-12/token-12"
        });
        hidden.replace(&mut value);
        let expected = json!({
            "log": [format!("login {MARK} failed"), true, 12],
            MARK: format!("{MARK}/{MARK}")
        });
        assert_eq!(value, expected);
    }
}
