//! The author's `release.toml`, with line numbers for errors.
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::toml_file::TomlError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::Spanned;

/// The file name in a project's folder.
pub const FILE: &str = "release.toml";

/// Why a `release.toml` cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// It is not valid.
    #[error("{path} is not valid")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line and the reason.
        #[source]
        source: Box<TomlError>,
    },
}

/// A `release.toml`, with its text.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its path.
    pub path: PathBuf,
    /// Its contents.
    pub release: ReleaseToml,
    lines: BTreeMap<String, KeyLines>,
}

/// The line numbers of a component's keys, from 1.
#[derive(Debug, Clone, Copy, Default)]
struct KeyLines {
    world: Option<usize>,
    grants: Option<usize>,
}

/// Only the keys that errors refer to.
#[derive(Deserialize)]
struct ComponentKeys {
    #[serde(default)]
    components: BTreeMap<String, KeySpans>,
}

#[derive(Deserialize)]
struct KeySpans {
    world: Option<Spanned<toml::Value>>,
    grants: Option<Spanned<toml::Value>>,
}

impl Manifest {
    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text).map_err(|source| ManifestError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, TomlError> {
        let release = ReleaseToml::parse(text)?;
        // The text was already parsed, so a failure only costs the line numbers.
        let keys = toml::from_str::<ComponentKeys>(text).map(|keys| keys.components);
        let line = |key_spans: &Option<Spanned<toml::Value>>| {
            let start = key_spans.as_ref()?.span().start;
            Some(text.get(..start)?.matches('\n').count() + 1)
        };
        let lines = keys
            .unwrap_or_default()
            .into_iter()
            .map(|(name, key_spans)| {
                let lines = KeyLines {
                    world: line(&key_spans.world),
                    grants: line(&key_spans.grants),
                };
                (name, lines)
            });
        Ok(Self {
            path: path.to_owned(),
            release,
            lines: lines.collect(),
        })
    }

    /// The position for a component's `grants`, with the new line.
    pub fn place_of_grants(&self, component: &str, line: &str) -> String {
        let lines = self.lines.get(component).copied().unwrap_or_default();
        let file = self.path.display();
        match (lines.grants, lines.world) {
            (Some(number), _) => format!("{file}, line {number}: {line}"),
            (None, Some(number)) => format!("{file}, after line {number}: {line}"),
            (None, None) => format!("{file}, in [components.{component}]: {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const TEXT: &str = r#"name = "a"
generation = 1
expires-in = "1d"

[components.policy]
file = "policy.wasm"
world = "policy"
grants = [
  "log",
]

[components.other]
file = "other.wasm"
world = "policy"

[[pipeline]]
policy = "policy"
"#;

    #[test]
    fn the_line_to_change_is_found() {
        let manifest = Manifest::parse(Path::new("release.toml"), TEXT).unwrap();
        let line = "grants = [\"data\"]";
        assert_eq!(
            manifest.place_of_grants("policy", line),
            "release.toml, line 8: grants = [\"data\"]"
        );
        assert_eq!(
            manifest.place_of_grants("other", line),
            "release.toml, after line 14: grants = [\"data\"]"
        );
    }
}
