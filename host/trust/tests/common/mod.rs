//! A release to verify, and what it takes to change any part of it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;

use hotshoe_trust::{
    Blob, Component, DataFile, Device, DeviceSelector, Floor, Grant, HealthGate, Limits, Model,
    Package, Release, ReleaseKind, Requires, SigningKey, StageFailure, Step, Time, TrustRoot,
    Verified, VerifyError, World, manifest::Manifest, verify,
};

pub(crate) const NOW: &str = "2026-06-01T00:00:00Z";

pub(crate) fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// A valid release: one stage that runs a model and reads data, then a policy.
pub(crate) fn release() -> Release {
    let component = |bytes: &[u8], world| Component {
        blob: Blob::of(bytes),
        world,
        grants: [Grant::Log].into(),
        models: [].into(),
        data: [].into(),
        config: BTreeMap::new(),
        limits: Limits::default(),
        instance: Default::default(),
        state_version: 1,
        folders: [].into(),
        hosts: [].into(),
        topics: [].into(),
        shared_data: [].into(),
        secrets: [].into(),
    };
    let mut read = component(b"stage wasm", World::Stage);
    read.grants
        .extend([Grant::Infer, Grant::Data, Grant::Config]);
    read.models.insert("detect".into());
    read.data.insert("characters".into());
    read.config.insert("language".into(), "en".into());
    Release {
        kind: ReleaseKind::default(),
        requires: Requires::default(),
        name: "ocr".into(),
        generation: 7,
        issued: time("2026-05-01T00:00:00Z"),
        expires: time("2026-08-01T00:00:00Z"),
        hotshoe: ">=0.1".parse().unwrap(),
        devices: DeviceSelector {
            names: vec!["cam-*".into()],
            labels: [("line".into(), "a".into())].into(),
        },
        components: [
            ("read".into(), read),
            ("label".into(), component(b"policy wasm", World::Policy)),
        ]
        .into(),
        models: [("detect".into(), Model::of(Blob::of(b"onnx")))].into(),
        data: [(
            "characters".into(),
            DataFile {
                blob: Blob::of(b"abc"),
                media_type: "text/plain".into(),
            },
        )]
        .into(),
        pipeline: vec![
            Step::Stage {
                component: "read".into(),
            },
            Step::Policy {
                component: "label".into(),
                on_failure: StageFailure::FailClosed,
            },
        ],
        chunks: BTreeMap::new(),
        tests: vec![],
        health: HealthGate::default(),
        data_contract: hotshoe_trust::DataContract::default(),
        modes: BTreeMap::new(),
        privacy: hotshoe_trust::Privacy::default(),
        drift: None,
    }
}

/// Everything that one call of `verify` takes.
pub(crate) struct Case {
    pub package: Package,
    pub trust: TrustRoot,
    pub floor: Floor,
    pub device: Device,
    pub host: semver::Version,
    pub now: Time,
}

impl Case {
    pub(crate) fn verify(&self) -> Result<Verified<Release>, VerifyError> {
        verify(
            &self.package,
            &self.trust,
            &self.floor,
            &self.device,
            &self.host,
            self.now,
        )
    }
}

pub(crate) fn unsigned(release: &Release) -> Package {
    let config = serde_json::to_vec(release).unwrap();
    let manifest = Manifest::of(release, &config).to_bytes().unwrap();
    Package {
        manifest,
        config,
        bundles: vec![],
    }
}

pub(crate) fn sign(package: &mut Package, keys: &[&SigningKey]) {
    package.bundles = keys
        .iter()
        .map(|key| key.sign_bundle(&package.manifest).unwrap())
        .collect();
}

/// A trust root with the keys under the names a, b, c, ..., each of which may sign `ocr`.
pub(crate) fn trust(threshold: usize, keys: &[&SigningKey]) -> TrustRoot {
    let entry = |(key, name): (&&SigningKey, char)| {
        TrustRoot::key_entry(&name.to_string(), &key.public_key().unwrap(), &["ocr"])
    };
    let entries: String = keys.iter().zip('a'..).map(entry).collect();
    TrustRoot::parse(&format!("threshold = {threshold}\n{entries}")).unwrap()
}

/// A case that passes: `release` signed by `key`, the only one trusted.
pub(crate) fn case(release: &Release, key: &SigningKey) -> Case {
    let mut package = unsigned(release);
    sign(&mut package, &[key]);
    Case {
        package,
        trust: trust(1, &[key]),
        floor: Floor::none(),
        device: Device {
            name: "cam-1".into(),
            site: "lab".into(),
            labels: [("line".into(), "a".into())].into(),
        },
        host: "0.1.0".parse().unwrap(),
        now: time(NOW),
    }
}

/// A `release.toml` that makes [`release`].
pub(crate) const RELEASE_TOML: &str = r#"name = "ocr"
generation = 7
expires-in = "90d"
hotshoe = ">=0.1"
[devices]
names = ["cam-*"]
labels = { line = "a" }
[components.read]
file = "stage.wasm"
world = "stage"
grants = ["log", "infer", "data", "config"]
models = ["detect"]
data = ["characters"]
config = { language = "en" }
limits = { memory-mib = 64, deadline-ms = 1000, tensor-mib = 256 }
[components.label]
file = "policy.wasm"
world = "policy"
grants = ["log"]
[models.detect]
file = "detect.onnx"
[data.characters]
file = "characters.txt"
media-type = "text/plain"
[[pipeline]]
stage = "read"
[[pipeline]]
policy = "label"
"#;

/// The blobs of the files that [`RELEASE_TOML`] names.
pub(crate) fn blobs() -> BTreeMap<String, Blob> {
    let files: [(&str, &[u8]); 4] = [
        ("stage.wasm", b"stage wasm"),
        ("policy.wasm", b"policy wasm"),
        ("detect.onnx", b"onnx"),
        ("characters.txt", b"abc"),
    ];
    files
        .into_iter()
        .map(|(file, bytes)| (file.to_owned(), Blob::of(bytes)))
        .collect()
}
