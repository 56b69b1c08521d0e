//! A release: its components, models and data, its pipeline, and the devices that it is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::SystemTime,
};

use globset::Glob;
use serde::{Deserialize, Serialize};

use crate::{
    access::{Access, HostPort},
    component_limits::{InstanceMode, Limits},
    data_contract::DataContract,
    digest::{Blob, Digest},
    drift::Drift,
    health::HealthGate,
    kind::ReleaseKind,
    media_types,
    mode::Mode,
    model::Model,
    privacy::Privacy,
    requires::Requires,
};

/// A point in time, UTC; written as RFC 3339.
pub type Time = jiff::Timestamp;

/// The time that a system's clock shows. A clock outside of the calendar shows its nearest end.
pub fn time_of(wall: SystemTime) -> Time {
    let end = if wall < SystemTime::UNIX_EPOCH {
        Time::MIN
    } else {
        Time::MAX
    };
    Time::try_from(wall).unwrap_or(end)
}

/// The world that a component implements (package `hotshoe:pipeline`, and `hotshoe:governor` for a governor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Sample to whether it is processed.
    Filter,
    /// Sample to named tensors.
    Preprocessor,
    /// Named tensors and the sample to an insight.
    Postprocessor,
    /// Insight and device context to actions.
    Policy,
    /// Sample to insight, driving models itself.
    Stage,
    /// Device state to a plan. It is no step of a pipeline.
    Governor,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Preprocessor => "preprocessor",
            Self::Postprocessor => "postprocessor",
            Self::Policy => "policy",
            Self::Stage => "stage",
            Self::Governor => "governor",
        })
    }
}

/// A host import that a component gets only if its release grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Write log lines.
    Log,
    /// Count and measure.
    Metrics,
    /// Read the time.
    Clock,
    /// Read the component's `config` strings.
    Config,
    /// Read the release's data files that the component lists.
    Data,
    /// Decode, resize, crop, warp, normalise and encode images natively.
    Vision,
    /// Run the models that the component lists, through `hotshoe:pipeline/infer`.
    Infer,
    /// Run the models that the component lists, through `wasi:nn`.
    WasiNn,
    /// WASI 0.2: clocks, random numbers, lines to the log, and the folders that the component lists. No environment, no arguments.
    Wasi,
    /// Connections to the hosts that the component lists, through `wasi:sockets`.
    WasiSockets,
    /// Requests to the hosts that the component lists, through `wasi:http`.
    WasiHttp,
    /// Keep values from sample to sample, and from release to release.
    State,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::Clock => "clock",
            Self::Config => "config",
            Self::Data => "data",
            Self::Vision => "vision",
            Self::Infer => "infer",
            Self::WasiNn => "wasi-nn",
            Self::Wasi => "wasi",
            Self::WasiSockets => "wasi-sockets",
            Self::WasiHttp => "wasi-http",
            Self::State => "state",
        })
    }
}

/// A component of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Component {
    /// Its WebAssembly.
    pub blob: Blob,
    /// The world it implements.
    pub world: World,
    /// The host imports it gets.
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    /// The models it may run, by name.
    #[serde(default)]
    pub models: BTreeSet<String>,
    /// The data files it may read, by name.
    #[serde(default)]
    pub data: BTreeSet<String>,
    /// Strings it reads through the `config` import.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Its resource limits.
    #[serde(default)]
    pub limits: Limits,
    /// How long an instance of it lives. Default: `shared`.
    #[serde(default, skip_serializing_if = "InstanceMode::is_default")]
    pub instance: InstanceMode,
    /// Version of the state that it keeps through the `state` import. Default 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub state_version: u32,
    /// The folders it gets, by their guest paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, Access>,
    /// The hosts it may connect to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<HostPort>,
    /// The topics that a policy may send messages under.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub topics: BTreeSet<String>,
    /// The device's shared values that it reads through the `config` import, as `shared-data.NAME`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shared_data: BTreeSet<String>,
    /// The device's secrets that it reads through the `config` import, as `secret.NAME`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
}

/// The `state-version` of a component that does not give one.
pub(crate) const fn first() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_first(version: &u32) -> bool {
    *version == first()
}

/// A data file of a release: labels, rules, anything that a component reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataFile {
    /// Its bytes.
    pub blob: Blob,
    /// Its media type, as `text/plain`.
    pub media_type: String,
}

/// One step of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// A filter decides whether the sample is processed.
    Filter {
        /// The component's name.
        component: String,
    },
    /// A preprocessor turns the sample into tensors.
    Preprocess {
        /// The component's name.
        component: String,
    },
    /// A model turns tensors into tensors, natively.
    Infer {
        /// The model's name.
        model: String,
    },
    /// A postprocessor turns tensors into an insight.
    Postprocess {
        /// The component's name.
        component: String,
    },
    /// A stage turns the sample into an insight.
    Stage {
        /// The component's name.
        component: String,
    },
    /// A policy turns the insight into actions.
    Policy {
        /// The component's name.
        component: String,
        /// What happens to a sample on which it fails. Default: the sample fails.
        #[serde(default, skip_serializing_if = "StageFailure::is_default")]
        on_failure: StageFailure,
    },
}

/// What happens to a sample on which a policy fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageFailure {
    /// The sample fails.
    #[default]
    FailClosed,
    /// The sample continues without this policy.
    FailOpen,
}

impl StageFailure {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A sample with its expected result, which a device tests before the release serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SelfTest {
    /// Its name.
    pub name: String,
    /// The sample's bytes.
    pub sample: Blob,
    /// The sample's media type.
    pub media_type: String,
    /// The expected result: an insight as JSON, alone or with the actions, or tensors as `.npz`.
    pub expected: Blob,
    /// Least agreement of the insight with the expected one, 0 to 1. Default 0.99.
    #[serde(default = "most")]
    pub min_agreement: f64,
}

/// The `min-agreement` of a self-test that does not give one.
pub(crate) const fn most() -> f64 {
    0.99
}

/// Which devices a release is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceSelector {
    /// Globs; the device's name must match one of them. Empty: any name.
    #[serde(default)]
    pub names: Vec<String>,
    /// Labels that the device must have with these values. Empty: any device.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl DeviceSelector {
    /// Whether the selector matches `device`; the error says why not.
    pub fn matches(&self, device: &Device) -> Result<(), String> {
        // `validate` has checked the patterns; an invalid one matches nothing.
        let fits = |pattern: &String| {
            Glob::new(pattern).is_ok_and(|g| g.compile_matcher().is_match(&device.name))
        };
        if !self.names.is_empty() && !self.names.iter().any(fits) {
            return Err(format!("its name matches none of {:?}", self.names));
        }
        for (label, wanted) in &self.labels {
            match device.labels.get(label) {
                Some(found) if found == wanted => {}
                Some(found) => {
                    return Err(format!("label `{label}` is `{found}`, not `{wanted}`"));
                }
                None => return Err(format!("it has no label `{label}`")),
            }
        }
        Ok(())
    }
}

/// The identity of the device that verifies a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// One signed, immutable set of components, models, data and pipeline.
///
/// Its JSON is the config blob of the OCI manifest that is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Release {
    /// What it is. Default: a pipeline.
    #[serde(default, skip_serializing_if = "ReleaseKind::is_default")]
    pub kind: ReleaseKind,
    /// The release's name; generations are counted per name.
    pub name: String,
    /// A number that only grows.
    pub generation: u64,
    /// When it was packed.
    pub issued: Time,
    /// When it expires.
    pub expires: Time,
    /// The host versions it runs on, as a semver requirement.
    pub hotshoe: semver::VersionReq,
    /// The devices it is for.
    #[serde(default)]
    pub devices: DeviceSelector,
    /// What the hardware of the device must have.
    #[serde(default, skip_serializing_if = "Requires::is_default")]
    pub requires: Requires,
    /// Components by name.
    pub components: BTreeMap<String, Component>,
    /// Models by name.
    #[serde(default)]
    pub models: BTreeMap<String, Model>,
    /// Data files by name.
    #[serde(default)]
    pub data: BTreeMap<String, DataFile>,
    /// `filter* (stage | [preprocess] infer* [postprocess]) policy*`, with more than filters. None in a release of another kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipeline: Vec<Step>,
    /// The index of chunks of each blob that has one, by the blob's digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chunks: BTreeMap<Digest, Blob>,
    /// Tests that a device runs before the release serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<SelfTest>,
    /// The health gate of its trial.
    #[serde(default, skip_serializing_if = "HealthGate::is_default")]
    pub health: HealthGate,
    /// Which of its data may be recorded on a device.
    #[serde(default, skip_serializing_if = "DataContract::is_default")]
    pub data_contract: DataContract,
    /// The ways to run it, by name. Without any, it runs in full.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, Mode>,
    /// What is burned into the pixels of its samples.
    #[serde(default, skip_serializing_if = "Privacy::is_default")]
    pub privacy: Privacy,
    /// What counts as drift from its baseline. Default: nothing is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

impl Release {
    /// Every distinct blob of components, models, data, self-tests and the baseline, and every index of chunks.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> {
        self.uses()
            .map(|(blob, _)| blob)
            .collect::<BTreeSet<_>>()
            .into_iter()
    }

    /// Every use of a blob, with the media type of that use.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (Blob, &str)> {
        let indexes = self
            .chunks
            .values()
            .map(|index| (*index, media_types::CHUNKS));
        self.contents().chain(indexes)
    }

    /// Every use except the indexes: components, then models, data, self-tests and the baseline.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (Blob, &str)> {
        let components = self
            .components
            .values()
            .map(|c| (c.blob, media_types::WASM));
        let models = self
            .models
            .values()
            .flat_map(|m| &m.variants)
            .map(|variant| (variant.blob, media_types::MODEL));
        let data = self.data.values().map(|d| (d.blob, d.media_type.as_str()));
        let tests = self.tests.iter().flat_map(|test| {
            [
                (test.sample, test.media_type.as_str()),
                (test.expected, media_types::INSIGHT),
            ]
        });
        let baseline = self
            .drift
            .iter()
            .map(|drift| (drift.baseline, media_types::BASELINE));
        components
            .chain(models)
            .chain(data)
            .chain(tests)
            .chain(baseline)
    }
}
