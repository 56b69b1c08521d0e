//! `release.toml`: the source of a release, from which `hotshoe pack` makes a [`Release`].
//!
//! ```toml
//! name = "ocr"                  # a-z 0-9 - _ .
//! generation = 7                # only ever grows
//! kind = "pipeline"             # or "config", "host": with `data` alone, see "Kinds of releases" in host/README.md
//! expires-in = "90d"            # or: expires = "2027-01-31T00:00:00Z"
//! hotshoe = ">=0.1, <0.3"       # host versions; default: any
//!
//! [devices]                     # default: every device
//! names = ["cam-*"]             # globs; one must match
//! labels = { line = "a" }       # all must match
//!
//! [requires]                    # default: nothing
//! memory-mib = 2000             # more keys: `Requires`
//!
//! [components.read-page]
//! file = "read-page.wasm"       # relative to this file
//! source = "."                  # sources of `file`, for `hotshoe build`; `pack` ignores it; default: none
//! world = "stage"               # filter, preprocessor, postprocessor, policy, stage or governor
//! grants = ["log", "infer", "data", "config", "state"]
//! models = ["detect"]           # needs grant infer or wasi-nn
//! data = ["characters"]         # needs grant data
//! config = { language = "en" }  # needs grant config
//! limits = { memory-mib = 64, deadline-ms = 1000, tensor-mib = 256 }  # more of them: `Limits`
//! instance = "shared"           # or "per-source", "per-call": lifetime of its memory
//! state-version = 1             # of its state; needs grant state; default: 1
//! folders = { "/models" = "read" } # or "write": folders of the device; needs grant wasi
//! hosts = ["api.example.org:443"] # hosts that it may connect to; needs grant wasi-sockets or wasi-http, and wasi
//!
//! [components.raise-alarm]
//! file = "raise-alarm.wasm"
//! world = "policy"
//! topics = ["count"]            # policies only: topics of its messages
//!
//! [models.detect]
//! file = "detect.onnx"          # or variants; the other values are the defaults
//! deadline-ms = 10000           # wall time of one run in a step of the pipeline
//! max-batch = 1                 # samples in one batch, stacked along the first dimension
//! max-wait-us = 0               # how long a sample may wait for its batch; needs a max-batch above 1
//!
//! [models.read]
//! prefer = ["int8", "fp32"]     # if one cannot be loaded, or fails, the next one serves
//! variants = { fp32 = "read.onnx", int8 = "read-int8.onnx" }
//!
//! [models.listen]
//! file = "listen.onnx"
//! state = { h = "h-next" }      # input = the output that feeds it for the next sample of the same source; initially zeros
//!
//! [models.sort]
//! file = "sort.onnx"
//! outputs = ["scores"]          # those that are served, in this order; only what they need is loaded; default: the file's outputs
//!
//! [data.characters]
//! file = "characters.txt"
//! media-type = "text/plain"
//!
//! [[pipeline]]                  # filter... (stage | [preprocess] infer... [postprocess]) policy...
//! stage = "read-page"
//!
//! [[pipeline]]
//! policy = "raise-alarm"
//! on-failure = "fail-open"      # policies only: the sample continues without it; default: "fail-closed"
//!
//! [[tests]]                     # run on the device before the release serves; default: none
//! name = "a-clear-page"
//! sample = "tests/page.png"     # at most 16 MiB
//! content-type = "image/png"
//! expected = "tests/page.json"  # the insight as JSON, or {"insight", "actions"}, or tensors as .npz; at most 16 MiB
//! min-agreement = 0.99          # 0 to 1; default: 0.99
//! tolerance = 0.001             # for `hotshoe test` only: every number within it, all else equal; default: not checked
//!
//! [[tests]]                     # or: one test for each entry of a recording (`hotshoe record`)
//! name = "line-4"
//! recorded = "tests/line-4"
//!
//! [data-contract]               # what `hotshoe record` may take, if the device also allows it; default: nothing
//! record = ["sample", "tensors", "insight"]
//! outputs = { insight = "people" } # the class of each output; default: the class `default`
//!
//! [data-contract.classes.people] # how data of a class may leave the device
//! upload = "anonymised"         # or "never", "aggregate", "yes"; more keys: `DataClass`
//! drop = ["detections.*.label"]
//!
//! [privacy]                     # burned into the pixels of samples before anything sees them; default: nothing
//! masks = [{ source = "*", polygon = [[0.5, 0], [1, 0], [1, 0.3]] }] # fractions of width and height
//! blur = "none"                 # "masks": under the masks, instead of black; "all": whole pictures
//!
//! [health]                      # the rules of a trial; the values here are the defaults
//! min-samples = 20              # both must be reached before the trial is confirmed
//! min-seconds = 10
//! confirm-after-seconds = 3600  # then fewer samples are enough; default: never
//! max-error-rate = 0.05         # shares of the trial's samples
//! max-trap-rate = 0.0
//! max-deadline-miss-rate = 0.01
//! max-latency-p95-ms = 200      # default: any
//! max-latency-ratio = 1.5       # of the previous release's latency; default: any
//! tries = 1                     # starts of the daemon in which a trial may still serve, 0 to 10
//! on-failure = "rollback"       # or "keep": the failure is only reported
//!
//! [health.shadow]               # compared with the serving release first; default: no shadow phase
//! share = 1.0                   # of the samples
//! samples = 20
//! min-agreement = 0.9
//!
//! [drift]                       # compares windows of samples with a baseline; default: nothing is measured
//! baseline = "baseline.json"    # of `hotshoe baseline`
//! watch = ["mean(lines.*.score)"] # sources of the baseline; default: all
//! every = 1                     # every Nth sample is measured; the values from here on are the defaults
//! window = 500                  # measured samples of a window
//! window-seconds = 3600         # a window with `at-least` samples ends after so long, too
//! at-least = 100                # samples of a window, and values of a source that is tested
//! windows = 1                   # in a row, until drift begins or ends
//! psi = 0.25                    # thresholds: population stability index,
//! ks = 0.15                     # distance of Kolmogorov and Smirnov,
//! embedding = 1.0               # distance of the mean embedding in standard deviations,
//! change = 15.0                 # cumulative sum of Page and Hinkley in standard deviations
//! p-value = 0.001               # probability of a false alarm in one window, at most
//! action = "alert"              # or "previous": the previous release serves again; or "mode", with a `mode`
//! mode = "reduced"              # needs action = "mode"
//!
//! [modes.full]                  # ways to run the release with less, for a governor to choose from; default: none
//! level = 0                     # exactly one mode has level 0: it leaves nothing out
//!
//! [modes.reduced]
//! level = 1                     # each further level runs less
//! rate = { every = 3, max-per-second = 2.0, only-on-motion = false } # default: every sample
//! variants = { read = "int8" }  # by model; default: as `prefer` says
//! rests = { components = ["raise-alarm"], outputs = ["insight", "action", "custom"] } # policies that are fail-open; default: nothing
//! ```

use std::collections::{BTreeMap, BTreeSet};

mod model;
mod test;

pub use self::model::ModelToml;
pub use self::test::{TestOn, TestToml};

use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

use crate::{
    access::{Access, HostPort},
    component_limits::{InstanceMode, Limits},
    data_contract::DataContract,
    digest::{Blob, Digest},
    drift::Drift,
    health::HealthGate,
    kind::ReleaseKind,
    limits::ReleaseLimits,
    mode::Mode,
    privacy::Privacy,
    release::{
        Component, DataFile, DeviceSelector, Grant, Release, StageFailure, Step, Time, World, first,
    },
    release_error::ReleaseError,
    requires::Requires,
    toml_file::{self, TomlError},
};

/// A `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReleaseToml {
    /// What it is: a pipeline, a `config` or a `host`. Default: a pipeline.
    #[serde(default)]
    pub kind: ReleaseKind,
    /// The release's name.
    pub name: String,
    /// A number that only grows.
    pub generation: u64,
    /// Time from packing to expiry, as `90d` or `12h` (a day has 24 hours).
    #[serde(default)]
    pub expires_in: Option<String>,
    /// When it expires, in RFC 3339. Either this or `expires-in`.
    #[serde(default)]
    pub expires: Option<String>,
    /// The host versions it runs on. Default: any.
    #[serde(default)]
    pub hotshoe: semver::VersionReq,
    /// The devices it is for. Default: every device.
    #[serde(default)]
    pub devices: DeviceSelector,
    /// What the hardware of the device must have. Default: nothing.
    #[serde(default)]
    pub requires: Requires,
    /// Components by name.
    #[serde(default)]
    pub components: BTreeMap<String, ComponentToml>,
    /// Models by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelToml>,
    /// Data files by name.
    #[serde(default)]
    pub data: BTreeMap<String, DataToml>,
    /// The steps, in order; none in a release of another kind than a pipeline.
    #[serde(default)]
    pub pipeline: Vec<StepToml>,
    /// Tests that a device runs before the release serves.
    #[serde(default)]
    pub tests: Vec<TestToml>,
    /// The health gate of its trial.
    #[serde(default)]
    pub health: HealthGate,
    /// Which of its data may be recorded on a device. Default: nothing.
    #[serde(default)]
    pub data_contract: DataContract,
    /// The ways to run it, by name. Default: in full alone.
    #[serde(default)]
    pub modes: BTreeMap<String, Mode>,
    /// What is burned into the pixels of its samples. Default: nothing.
    #[serde(default)]
    pub privacy: Privacy,
    /// The `[drift]` table. Default: nothing is measured.
    pub drift: Option<Drift<String>>,
}

/// A `[components.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComponentToml {
    /// The WebAssembly component, relative to the `release.toml`.
    pub file: String,
    /// The folder of its sources, relative to the `release.toml`, for `hotshoe build` alone. Default: it is not built here.
    #[serde(default)]
    pub source: Option<String>,
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
    /// Its resource limits.
    #[serde(default)]
    pub limits: Limits,
    /// How long an instance of it lives. Default: `shared`.
    #[serde(default)]
    pub instance: InstanceMode,
    /// Version of the state that it keeps through the `state` import. Default 1.
    #[serde(default = "first")]
    pub state_version: u32,
    /// The folders it gets, by their guest paths. Default: none.
    #[serde(default)]
    pub folders: BTreeMap<String, Access>,
    /// The hosts it may connect to. Default: none.
    #[serde(default)]
    pub hosts: BTreeSet<HostPort>,
    /// The topics that a policy may send messages under. Default: none.
    #[serde(default)]
    pub topics: BTreeSet<String>,
    /// The device's shared values that it reads through the `config` import, as `shared-data.NAME`. Default: none.
    #[serde(default)]
    pub shared_data: BTreeSet<String>,
    /// The device's secrets that it reads through the `config` import, as `secret.NAME`. Default: none.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
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

/// A `[[pipeline]]` entry: one key is the kind of step, with a component's or model's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "StepFields")]
pub struct StepToml(Step);

impl StepToml {
    /// The step.
    pub const fn step(&self) -> &Step {
        &self.0
    }
}

/// The keys of a `[[pipeline]]` entry.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StepFields {
    filter: Option<String>,
    preprocess: Option<String>,
    infer: Option<String>,
    postprocess: Option<String>,
    stage: Option<String>,
    policy: Option<String>,
    on_failure: Option<StageFailure>,
}

impl TryFrom<StepFields> for StepToml {
    type Error = &'static str;

    fn try_from(fields: StepFields) -> Result<Self, Self::Error> {
        let policy_fails = fields.on_failure.is_some();
        let on_failure = fields.on_failure.unwrap_or_default();
        let is_policy = fields.policy.is_some();
        let mut steps = [
            fields.filter.map(|component| Step::Filter { component }),
            fields
                .preprocess
                .map(|component| Step::Preprocess { component }),
            fields.infer.map(|model| Step::Infer { model }),
            fields
                .postprocess
                .map(|component| Step::Postprocess { component }),
            fields.stage.map(|component| Step::Stage { component }),
            fields.policy.map(|component| Step::Policy {
                component,
                on_failure,
            }),
        ]
        .into_iter()
        .flatten();
        let (Some(step), None) = (steps.next(), steps.next()) else {
            return Err(
                "a step has one of `filter`, `preprocess`, `infer`, `postprocess`, `stage` and `policy`",
            );
        };
        if policy_fails && !is_policy {
            return Err("`on-failure` is only valid with `policy`: no other step can be skipped");
        }
        Ok(Self(step))
    }
}

/// A file that a `release.toml` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse<'a> {
    /// The table it is named in: `components`, `models`, `data`, `tests` or `drift`.
    pub table: &'static str,
    /// The entry's name.
    pub name: &'a str,
    /// Its key there: `file`; `baseline`; the name of a model's variant; `sample` or `expected` of a self-test.
    pub key: &'a str,
    /// The path as written.
    pub file: &'a str,
    /// Largest size in bytes.
    pub max_bytes: u64,
}

/// Why a valid `release.toml` does not make a release.
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
        /// The value found.
        text: String,
        /// An example of a valid value.
        example: &'static str,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// `blobs` lacks the blob of a named file.
    #[error("the blob of file `{0}` is missing")]
    NoBlob(String),
    /// A recording that was not replaced with its entries.
    #[error("the recording `{0}` of a self-test was not expanded; use its entries instead")]
    NotExpanded(String),
    /// It breaks a rule of the format.
    #[error(transparent)]
    Invalid(#[from] ReleaseError),
}

impl ReleaseToml {
    /// Reads a `release.toml`.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        toml_file::parse(text)
    }

    /// Every file it names: components, then models, data, self-tests and the baseline.
    pub fn files(&self) -> impl Iterator<Item = FileUse<'_>> {
        let file = |table, name, key, file, max_bytes| FileUse {
            table,
            name,
            key,
            file,
            max_bytes,
        };
        let components = self.components.iter().map(move |(n, c)| {
            let most = ReleaseLimits::COMPONENT_BYTES;
            file("components", n.as_str(), "file", c.file.as_str(), most)
        });
        let models = self.models.iter().flat_map(|(n, m)| m.files(n));
        let data = self
            .data
            .iter()
            .map(move |(n, d)| file("data", n, "file", &d.file, self.kind.data_bytes()));
        let tests = self.tests.iter().flat_map(TestToml::files);
        let baseline = self.drift.iter().map(move |drift| {
            let most = ReleaseLimits::BASELINE_BYTES;
            file("drift", "baseline", "baseline", &drift.baseline, most)
        });
        components
            .chain(models)
            .chain(data)
            .chain(tests)
            .chain(baseline)
    }

    /// The release that it describes, issued at `issued`, with `blobs` for the paths of [`Self::files`].
    ///
    /// `chunks` has the index of each blob that is moved in chunks, by the blob's digest.
    pub fn release(
        &self,
        issued: Time,
        blobs: &BTreeMap<String, Blob>,
        chunks: BTreeMap<Digest, Blob>,
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
                instance: c.instance,
                state_version: c.state_version,
                folders: c.folders.clone(),
                hosts: c.hosts.clone(),
                topics: c.topics.clone(),
                shared_data: c.shared_data.clone(),
                secrets: c.secrets.clone(),
            };
            components.insert(name.clone(), component);
        }
        let mut models = BTreeMap::new();
        for (name, model) in &self.models {
            models.insert(name.clone(), model.model(name, blob)?);
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
        let tests = self.tests.iter().map(|test| test.self_test(blob));
        let tests = tests.collect::<Result<_, _>>()?;
        let drift = match &self.drift {
            Some(drift) => Some(drift.with_baseline(blob(&drift.baseline)?)),
            None => None,
        };
        let release = Release {
            kind: self.kind,
            name: self.name.clone(),
            generation: self.generation,
            issued,
            expires: self.expiry(issued)?,
            hotshoe: self.hotshoe.clone(),
            devices: self.devices.clone(),
            requires: self.requires.clone(),
            components,
            models,
            data,
            pipeline: self.pipeline.iter().map(|step| step.0.clone()).collect(),
            chunks,
            tests,
            health: self.health.clone(),
            data_contract: self.data_contract.clone(),
            modes: self.modes.clone(),
            privacy: self.privacy.clone(),
            drift,
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
