//! Access of a component beyond the host's own interfaces: folders, network hosts, and topics of messages. A release states each of
//! them, and the device must allow it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// Longest topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 64;
/// Longest guest path of a folder, in bytes.
pub const MAX_FOLDER_BYTES: usize = 128;
/// Longest host name, in bytes: the limit of DNS.
const MAX_HOST_BYTES: usize = 253;

/// What a component may do in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read files and list folders.
    Read,
    /// Create, change and delete files as well.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// A host of a network and one of its ports, written `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A lower-case name, or an address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// A text that is not a [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a host with a port; write `api.example.org:443`, `192.0.2.1:443` or `[2001:db8::1]:443`"
)]
pub struct HostPortError {
    text: String,
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_host(text).ok_or_else(|| HostPortError {
            text: text.chars().take(80).collect(),
        })
    }
}

fn parse_host(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    if let Some(rest) = host.strip_prefix('[') {
        // Addresses are normalised, so that two spellings of one address are equal.
        let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
        let host = address.to_string();
        return Some(HostPort { host, port });
    }
    let host = host.to_ascii_lowercase();
    let is_label = |label: &str| {
        let ends = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len())
            && !ends
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_name = host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label);
    is_name.then_some(HostPort { host, port })
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl Serialize for HostPort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Whether this can be the last part of a key: 1 to 64 letters, digits, `-`, `_` and `.`.
pub fn is_topic(text: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Whether this can be the guest path of a folder: `/` and names of letters, digits, `-`, `_` and `.`, none of them `.` or `..`.
pub fn is_folder(path: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain);
    path.len() <= MAX_FOLDER_BYTES
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(is_part))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn hosts_are_written_in_one_way() {
        for (text, expected) in [
            ("API.example.org:443", Some("api.example.org:443")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("[0:0::1]:1", Some("[::1]:1")),
            ("example.org", None),
            ("example.org:0", None),
            ("example.org:65536", None),
            ("*.example.org:443", None),
            ("::1:80", None),
            ("-a.example:80", None),
            ("a..example:80", None),
            ("user@example.org:80", None),
            (":80", None),
        ] {
            let found: Result<HostPort, _> = text.parse();
            assert_eq!(
                found.ok().map(|host| host.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn topics_and_folders_keep_to_plain_characters() {
        assert!(is_topic("a-Z_0.9") && is_topic(&"x".repeat(64)));
        for topic in ["", "a/b", "*", "a b", "é", &"x".repeat(65)] {
            assert!(!is_topic(topic), "{topic}");
        }
        assert!(is_folder("/models") && is_folder("/a/b.c"));
        for path in [
            "", "/", "models", "/a/", "/a//b", "/../etc", "/a/..", "/.", "/a b",
        ] {
            assert!(!is_folder(path), "{path}");
        }
    }
}
