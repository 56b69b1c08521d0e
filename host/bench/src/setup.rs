use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::InferenceConfig;
use hotshoe_config::default_allowed;
use hotshoe_devkit::Environment;
use hotshoe_engine::{Engine, EngineOptions, Sample};
use hotshoe_infer::{Model, ModelOptions, Models, Options};
use hotshoe_pipeline::{Decision, Pipeline, RunMode, Worker};
use hotshoe_store::Layout;
use hotshoe_trust::{Device, Digest, Floor, Release, Time, TrustRoot, Verified};
use tempfile::TempDir;

use super::timings::{Timings, timing};
use hotshoe_release::{keys, pack, sign, trust_file, verify};

/// The label-reader application in the checkout.
const APPLICATION: &str = "examples/label-reader";

/// The file of trusted keys in a [`BenchSetup`]'s folder.
pub(crate) const TRUST: &str = "trust.toml";
/// Name of the time of a whole run.
pub(crate) const TOTAL: &str = "total";

/// A packed and signed release.
pub(crate) struct PackedRelease {
    /// Its folder.
    pub layout: PathBuf,
    /// Its parsed `release.json`.
    pub release: Release,
}

/// Signed releases of the label reader in a temporary folder, with an engine and a model cache.
pub(crate) struct BenchSetup<'a> {
    environment: &'a Environment,
    folder: TempDir,
    secret: PathBuf,
    trust: TrustRoot,
    /// The engine for the components.
    pub engine: Engine,
    /// The models, which both sides of a comparison share.
    models: Models,
}

impl<'a> BenchSetup<'a> {
    /// Creates a key and a `trust.toml` that trusts it.
    pub(crate) fn prepare(environment: &'a Environment) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("cannot create a temporary folder")?;
        let pair = keys::keygen(folder.path(), "bench", None, true)?;
        let keys = [("bench".to_owned(), pair.public)];
        let trust = trust_file::write_trust(&keys, 1, &["*"], &folder.path().join(TRUST), true)?;
        Ok(Self {
            environment,
            secret: pair.secret,
            trust,
            engine: Engine::new(EngineOptions::default()).context("cannot start the engine")?,
            models: Models::new(Options::default()),
            folder,
        })
    }

    /// The temporary folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The trusted keys.
    pub(crate) const fn trust(&self) -> &TrustRoot {
        &self.trust
    }

    /// Packs and signs the release of a recipe file in the application's folder.
    pub(crate) fn release(&self, file: &str) -> anyhow::Result<PathBuf> {
        let out = self.folder().join(file).with_extension("release");
        if !out.exists() {
            let source = self.environment.root.join(APPLICATION).join(file);
            pack::pack(&source, &out, Time::now())?;
            sign::sign(&out, &keys::read_key(&self.secret)?)?;
        }
        Ok(out)
    }

    /// Packs and signs a recipe under the name `name`.
    pub(crate) fn make(&self, name: &str, recipe: &str) -> anyhow::Result<PackedRelease> {
        let source = self.folder().join(format!("{name}.toml"));
        fs::write(&source, recipe).with_context(|| format!("cannot write {}", source.display()))?;
        let layout = self.folder().join(format!("{name}.release"));
        // Some models are noise, which nothing loads.
        let packed = hotshoe_store::pack(&source, Time::now(), &layout)?;
        sign::sign(&layout, &keys::read_key(&self.secret)?)?;
        Ok(PackedRelease {
            layout,
            release: packed.release,
        })
    }

    /// The file of a component.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        self.environment.guests.join(name).with_extension("wasm")
    }

    /// The file of one of the application's models.
    pub(crate) fn model_path(&self, name: &str) -> PathBuf {
        self.environment.model(name)
    }

    /// Verifies that release, as a device does.
    pub(crate) fn verified(&self, file: &str) -> anyhow::Result<(Layout, Verified<Release>)> {
        let path = self.release(file)?;
        let device = Device::default();
        verify::verify(&path, &self.trust, &Floor::none(), &device, Time::now())
    }

    /// Verifies that release and loads it, as a device does.
    pub(crate) fn load(&self, file: &str) -> anyhow::Result<(Layout, Arc<Pipeline>)> {
        self.load_with(file, &self.models, &InferenceConfig::default())
    }

    /// As [`Self::load`], with other models and another configuration.
    pub(crate) fn load_with(
        &self,
        file: &str,
        models: &Models,
        inference: &InferenceConfig,
    ) -> anyhow::Result<(Layout, Arc<Pipeline>)> {
        let (layout, release) = self.verified(file)?;
        let pipeline = Pipeline::load(
            release,
            |blob| layout.read(blob),
            &self.engine,
            models,
            &default_allowed(),
            inference,
        )
        .with_context(|| format!("cannot load {file}"))?;
        Ok((layout, pipeline))
    }

    /// One of the application's models.
    pub(crate) fn model(&self, name: &str) -> anyhow::Result<Arc<Model>> {
        let bytes = read(&self.environment.model(name))?;
        self.models
            .load(Digest::of(&bytes), &bytes, &ModelOptions::default())
            .with_context(|| format!("cannot load the model {name}"))
    }

    /// One of the application's pictures.
    pub(crate) fn picture(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        read(&self.environment.picture(name))
    }

    /// A file of the application's folder.
    pub(crate) fn application_file(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        read(&self.environment.root.join(APPLICATION).join(name))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A PNG picture as a sample.
pub(crate) fn sample(picture: &[u8]) -> Sample {
    Sample {
        id: "bench".to_owned(),
        source: "bench".to_owned(),
        content_type: "image/png".to_owned(),
        timestamp_us: 0,
        payload: Arc::from(picture),
    }
}

/// Runs one sample and returns the decision, the total time and the time of each stage.
pub(crate) fn process(worker: &mut Worker, sample: &Sample) -> anyhow::Result<(Decision, Timings)> {
    let device = Device::default();
    let started = Instant::now();
    let outcome = worker.process(sample, &device, &RunMode::default());
    let total = started.elapsed();
    let mut timings = vec![timing(TOTAL, total)];
    timings.extend(
        outcome
            .stages
            .into_iter()
            .map(|stage| timing(stage.name, Duration::from_micros(stage.micros))),
    );
    match outcome.result {
        Ok(decision) => Ok((decision, timings)),
        Err(error) => bail!(error),
    }
}
