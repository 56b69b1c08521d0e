//! The author's `release.toml`: which components it has sources of, and the lines that an error can point to.
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::toml_file::TomlError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::Spanned;

/// Its name in a project's folder.
pub const FILE: &str = "release.toml";

/// Why it cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not there, or cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It breaks the format.
    #[error("{path} is refused")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<TomlError>,
    },
}

/// A `release.toml`, with its text.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub release: ReleaseToml,
    lines: BTreeMap<String, Lines>,
}

/// Where a component's keys stand, from 1.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    world: Option<usize>,
    grants: Option<usize>,
}

/// The keys alone that an error points to.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    components: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
struct Place {
    world: Option<Spanned<toml::Value>>,
    grants: Option<Spanned<toml::Value>>,
}

impl Manifest {
    /// Reads one.
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
        // It was read once already, so a failure only costs the line numbers.
        let places = toml::from_str::<Places>(text).map(|places| places.components);
        let line = |place: &Option<Spanned<toml::Value>>| {
            let start = place.as_ref()?.span().start;
            Some(text.get(..start)?.matches('\n').count() + 1)
        };
        let lines = places.unwrap_or_default().into_iter().map(|(name, place)| {
            let lines = Lines {
                world: line(&place.world),
                grants: line(&place.grants),
            };
            (name, lines)
        });
        Ok(Self {
            path: path.to_owned(),
            release,
            lines: lines.collect(),
        })
    }

    /// Where a component's table is to have this line, which has all its grants, and the line.
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
