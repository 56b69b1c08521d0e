//! `release.toml`: what an author writes, and `hotshoe pack` turns into a [`Release`].
//!
//! ```toml
//! name = "ocr"                  # a-z 0-9 - _ .
//! generation = 7                # only ever grows
//! expires-in = "90d"            # or: expires = "2027-01-31T00:00:00Z"
//! hotshoe = ">=0.1, <0.3"       # host versions; default: any
//!
//! [devices]                     # default: every device
//! names = ["cam-*"]             # globs; one must match
//! labels = { line = "a" }       # all must match
//!
//! [components.read-page]
//! file = "read-page.wasm"       # relative to this file
//! world = "stage"               # preprocessor, postprocessor, policy or stage
//! grants = ["log", "infer", "data", "config"]
//! models = ["detect"]           # needs grant infer or wasi-nn
//! data = ["characters"]         # needs grant data
//! config = { language = "en" }  # needs grant config
//! limits = { memory-mib = 64, deadline-ms = 1000, tensor-mib = 256 }
//!
//! [models.detect]
//! file = "detect.onnx"
//!
//! [data.characters]
//! file = "characters.txt"
//! media-type = "text/plain"
//!
//! [[pipeline]]                  # (stage | preprocess infer... postprocess) policy...
//! stage = "read-page"
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

use crate::{
    digest::Blob,
    limits::ReleaseLimits,
    release::{
        Component, DataFile, DeviceSelector, Grant, Limits, Model, Release, Step, Time, World,
    },
    release_check::ReleaseError,
    toml_file::{self, TomlError},
};

/// A `release.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReleaseToml {
    /// The release's name.
    pub name: String,
    /// A number that only grows.
    pub generation: u64,
    /// How long after packing no device accepts it any more, as `90d` or `12h` (a day has 24 hours).
    #[serde(default)]
    pub expires_in: Option<String>,
    /// From when on no device accepts it, in RFC 3339. Either this or `expires-in`.
    #[serde(default)]
    pub expires: Option<String>,
    /// The host versions it runs on. Default: any.
    #[serde(default)]
    pub hotshoe: semver::VersionReq,
    /// The devices it is for. Default: every device.
    #[serde(default)]
    pub devices: DeviceSelector,
    /// Components by name.
    pub components: BTreeMap<String, ComponentToml>,
    /// Models by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelToml>,
    /// Data files by name.
    #[serde(default)]
    pub data: BTreeMap<String, DataToml>,
    /// The steps, in order.
    pub pipeline: Vec<StepToml>,
}

/// A `[components.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComponentToml {
    /// The WebAssembly component, relative to the `release.toml`.
    pub file: String,
    /// The world it implements.
    pub world: World,
    /// The host imports it gets. Default: none.
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    /// The models it may run.
    #[serde(default)]
    pub models: BTreeSet<String>,
    /// The data files it may read.
    #[serde(default)]
    pub data: BTreeSet<String>,
    /// Strings it reads through the `config` import.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// What one call may use up.
    #[serde(default)]
    pub limits: Limits,
}

/// A `[models.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelToml {
    /// The ONNX file, relative to the `release.toml`.
    pub file: String,
}

/// A `[data.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataToml {
    /// The file, relative to the `release.toml`.
    pub file: String,
    /// Its media type.
    pub media_type: String,
}

/// A `[[pipeline]]` entry: one key, which is the kind of step, with a component's or model's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepToml {
    /// A preprocessor component.
    Preprocess(String),
    /// A model.
    Infer(String),
    /// A postprocessor component.
    Postprocess(String),
    /// A stage component.
    Stage(String),
    /// A policy component.
    Policy(String),
}

/// A file that a `release.toml` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse<'a> {
    /// The table it is named in: `components`, `models` or `data`.
    pub key: &'static str,
    /// The entry's name.
    pub name: &'a str,
    /// The path as written.
    pub file: &'a str,
    /// The most bytes that it may have.
    pub max_bytes: u64,
}

/// Why a readable `release.toml` makes no release.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseTomlError {
    /// Neither or both of `expires` and `expires-in`.
    #[error("give either `expires-in` (as \"90d\") or `expires` (as \"2027-01-31T00:00:00Z\")")]
    Expiry,
    /// An expiry that cannot be read.
    #[error("`{key} = \"{text}\"` cannot be read; write {example}")]
    ExpiryText {
        /// `expires` or `expires-in`.
        key: &'static str,
        /// What stands there.
        text: String,
        /// What could stand there.
        example: &'static str,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// The blob of a named file was not given: `blobs` lacks it.
    #[error("no blob was given for file `{0}`")]
    NoBlob(String),
    /// It breaks a rule of the format.
    #[error(transparent)]
    Invalid(#[from] ReleaseError),
}

impl ReleaseToml {
    /// Reads a `release.toml`.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        toml_file::parse(text)
    }

    /// Every file it names: components, then models, then data.
    pub fn files(&self) -> impl Iterator<Item = FileUse<'_>> {
        let file = |key, name, file, max_bytes| FileUse {
            key,
            name,
            file,
            max_bytes,
        };
        let components = self.components.iter();
        let components = components
            .map(move |(n, c)| file("components", n, &c.file, ReleaseLimits::COMPONENT_BYTES));
        let models = self
            .models
            .iter()
            .map(move |(n, m)| file("models", n, &m.file, ReleaseLimits::MODEL_BYTES));
        let data = self
            .data
            .iter()
            .map(move |(n, d)| file("data", n, &d.file, ReleaseLimits::DATA_BYTES));
        components.chain(models).chain(data)
    }

    /// The release that it describes, issued at `issued`, with `blobs` for the paths of [`Self::files`].
    pub fn release(
        &self,
        issued: Time,
        blobs: &BTreeMap<String, Blob>,
    ) -> Result<Release, ReleaseTomlError> {
        let blob = |file: &String| {
            blobs
                .get(file)
                .copied()
                .ok_or_else(|| ReleaseTomlError::NoBlob(file.clone()))
        };
        let mut components = BTreeMap::new();
        for (name, c) in &self.components {
            let component = Component {
                blob: blob(&c.file)?,
                world: c.world,
                grants: c.grants.clone(),
                models: c.models.clone(),
                data: c.data.clone(),
                config: c.config.clone(),
                limits: c.limits.clone(),
            };
            components.insert(name.clone(), component);
        }
        let mut models = BTreeMap::new();
        for (name, model) in &self.models {
            models.insert(
                name.clone(),
                Model {
                    blob: blob(&model.file)?,
                },
            );
        }
        let mut data = BTreeMap::new();
        for (name, file) in &self.data {
            data.insert(
                name.clone(),
                DataFile {
                    blob: blob(&file.file)?,
                    media_type: file.media_type.clone(),
                },
            );
        }
        let release = Release {
            name: self.name.clone(),
            generation: self.generation,
            issued,
            expires: self.expiry(issued)?,
            hotshoe: self.hotshoe.clone(),
            devices: self.devices.clone(),
            components,
            models,
            data,
            pipeline: self.pipeline.iter().map(StepToml::step).collect(),
        };
        release.validate()?;
        Ok(release)
    }

    fn expiry(&self, issued: Time) -> Result<Time, ReleaseTomlError> {
        let unreadable = |key, text: &String, example| {
            let text = text.clone();
            move |source| ReleaseTomlError::ExpiryText {
                key,
                text,
                example,
                source,
            }
        };
        match (&self.expires_in, &self.expires) {
            (Some(text), None) => text
                .parse::<Span>()
                .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
                .and_then(|duration| issued.checked_add(duration))
                .map_err(unreadable(
                    "expires-in",
                    text,
                    "a number and a unit, as \"90d\" or \"12h\"",
                )),
            (None, Some(text)) => text.parse().map_err(unreadable(
                "expires",
                text,
                "a time such as \"2027-01-31T00:00:00Z\"",
            )),
            _ => Err(ReleaseTomlError::Expiry),
        }
    }
}

impl StepToml {
    fn step(&self) -> Step {
        match self {
            Self::Preprocess(component) => Step::Preprocess {
                component: component.clone(),
            },
            Self::Infer(model) => Step::Infer {
                model: model.clone(),
            },
            Self::Postprocess(component) => Step::Postprocess {
                component: component.clone(),
            },
            Self::Stage(component) => Step::Stage {
                component: component.clone(),
            },
            Self::Policy(component) => Step::Policy {
                component: component.clone(),
            },
        }
    }
}
