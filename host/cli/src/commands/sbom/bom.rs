//! A bill of materials in the format CycloneDX 1.6: the part of it that is used here.

use hotshoe_trust::{Digest, Time};
use serde::Serialize;

/// The reference of this program.
pub(super) const PROGRAM: &str = "hotshoe";

/// A bill of materials.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bom {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    pub(super) components: Vec<Component>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) compositions: Vec<Composition>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    timestamp: String,
    component: Component,
}

/// A part: a crate, a release, or a file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Component {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(rename = "bom-ref")]
    pub(super) reference: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<Component>,
}

/// The types of parts that are used, as CycloneDX names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Application,
    Library,
    MachineLearningModel,
    Data,
}

/// A digest of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Hash {
    alg: &'static str,
    content: String,
}

/// A property of a part that CycloneDX has no field for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Property {
    name: &'static str,
    value: String,
}

/// What a part needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dependency {
    #[serde(rename = "ref")]
    pub(super) reference: String,
    pub(super) depends_on: Vec<String>,
}

/// Whether the dependencies of a part are known.
#[derive(Debug, Serialize)]
pub(super) struct Composition {
    pub(super) aggregate: &'static str,
    pub(super) dependencies: Vec<String>,
}

impl Bom {
    /// An empty bill of this program.
    pub(super) fn new(now: Time) -> Self {
        let program = Component {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Component::new(Kind::Application, PROGRAM.to_owned(), PROGRAM.to_owned())
        };
        Self {
            bom_format: "CycloneDX",
            spec_version: "1.6",
            version: 1,
            metadata: Metadata {
                timestamp: now.to_string(),
                component: program,
            },
            components: Vec::new(),
            dependencies: Vec::new(),
            compositions: Vec::new(),
        }
    }

    /// Sets the digest of this program.
    pub(super) fn set_program_digest(&mut self, digest: Digest) {
        self.metadata.component.hashes = vec![Hash::of(digest)];
    }
}

impl Component {
    /// A part with a name only.
    pub(super) const fn new(kind: Kind, reference: String, name: String) -> Self {
        Self {
            kind,
            reference,
            name,
            version: None,
            purl: None,
            hashes: Vec::new(),
            properties: Vec::new(),
            components: Vec::new(),
        }
    }

    /// Adds a property.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.properties.push(Property { name, value });
        self
    }
}

impl Hash {
    /// A digest, which is SHA-256.
    pub(super) fn of(digest: Digest) -> Self {
        Self {
            alg: "SHA-256",
            content: digest.hex(),
        }
    }
}
