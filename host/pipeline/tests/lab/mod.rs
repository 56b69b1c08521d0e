//! Releases of the components that ship, packed and signed in a folder of their own, and loaded.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod onnx;

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hotshoe_config::InferenceConfig;
use hotshoe_devkit::{Environment, Progress, find_root, set_up};
use hotshoe_engine::{Engine, EngineOptions, Sample};
use hotshoe_infer::Models;
use hotshoe_pipeline::{LoadError, Outcome, Pipeline, Worker};
use hotshoe_store::{Layout, LayoutError, pack};
use hotshoe_trust::{Allowed, Blob, Device, Floor, Grant, SigningKey, Time, TrustRoot, verify};
use tempfile::TempDir;

/// Components, built once for all tests of a binary.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a checkout");
        set_up(&root, &Progress::plain()).expect("fixtures and components")
    })
}

pub struct Lab {
    folder: TempDir,
    key: SigningKey,
    trust: TrustRoot,
    engine: Engine,
    models: Models,
    pub inference: InferenceConfig,
}

/// A loaded release, with the folder that its blobs are in.
pub struct Loaded {
    pub pipeline: Arc<Pipeline>,
    layout: Layout,
}

impl Loaded {
    pub fn read(&self) -> impl Fn(&Blob) -> Result<Vec<u8>, LayoutError> {
        |blob| self.layout.read(blob)
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::with(InferenceConfig::default())
    }

    pub fn with(inference: InferenceConfig) -> Self {
        let key = SigningKey::generate().unwrap();
        let trust = format!(
            "threshold = 1\n[keys.test]\nscheme = \"ecdsa-p256-sha256\"\nreleases = [\"*\"]\npublic-key = \"\"\"\n{}\"\"\"\n",
            key.public_key().unwrap().to_pem()
        );
        Self {
            folder: TempDir::new().unwrap(),
            key,
            trust: TrustRoot::parse(&trust).unwrap(),
            engine: Engine::new(EngineOptions::default()).unwrap(),
            models: Models::new(inference.options()),
            inference,
        }
    }

    /// Writes a file that a release may name.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Where that file is.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// As [`Self::load_text`], of what [`release_with`] makes.
    pub fn load(&self, release: &str) -> Result<Loaded, LoadError> {
        let release = release.replace("{guests}", &environment().guests.display().to_string());
        self.load_text(&format!("name = \"test\"\nexpires-in = \"1d\"\n{release}"))
    }

    /// Packs, signs, verifies and loads the release that this text describes.
    pub fn load_text(&self, release_toml: &str) -> Result<Loaded, LoadError> {
        self.file("release.toml", release_toml.as_bytes());
        let out = self.folder.path().join("release");
        let packed = pack(&self.folder.path().join("release.toml"), Time::now(), &out).unwrap();
        let manifest = packed.layout.package().unwrap().manifest;
        let bundle = self.key.sign_bundle(&manifest).unwrap();
        packed.layout.attach(&bundle).unwrap();
        let layout = Layout::open(&out).unwrap();
        let release = verify(
            &layout.package().unwrap(),
            &self.trust,
            &Floor::none(),
            &device(),
            &env!("CARGO_PKG_VERSION").parse().unwrap(),
            Time::now(),
        )
        .unwrap();
        let read = |blob: &Blob| layout.read(blob);
        let grants = [
            Grant::State,
            Grant::Data,
            Grant::Config,
            Grant::Vision,
            Grant::Infer,
        ]
        .into();
        let allowed = Allowed {
            grants,
            ..Allowed::default()
        };
        let pipeline = {
            let (engine, models) = (&self.engine, &self.models);
            Pipeline::load(release, read, engine, models, &allowed, &self.inference)?
        };
        Ok(Loaded { pipeline, layout })
    }
}

pub fn device() -> Device {
    Device {
        name: "device".to_owned(),
        site: "site".to_owned(),
        labels: [].into(),
    }
}

pub fn process(worker: &mut Worker, content_type: &str, payload: &[u8]) -> Outcome {
    process_from(worker, "test", content_type, payload)
}

pub fn process_from(
    worker: &mut Worker,
    source: &str,
    content_type: &str,
    payload: &[u8],
) -> Outcome {
    let sample = Sample {
        id: "sample".to_owned(),
        source: source.to_owned(),
        content_type: content_type.to_owned(),
        timestamp_us: 0,
        payload: payload.into(),
    };
    worker.process(&sample, &device())
}

/// `measure` with one policy after it; `{guests}` stands for the folder of components.
pub fn release_with(generation: u64, policy: &str, component: &str, step: &str) -> String {
    format!(
        r#"generation = {generation}
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[components.{policy}]
file = "{{guests}}/{policy}.wasm"
world = "policy"
{component}
[[pipeline]]
stage = "measure"
[[pipeline]]
policy = "{policy}"
{step}
"#
    )
}
