//! From a slot of the ledger to a release that can serve. Nothing else in the daemon compiles or loads.

use std::path::Path;
use std::sync::Arc;

use hotshoe_base::chain;
use hotshoe_config::{Config, InferenceConfig};
use hotshoe_engine::{CompileLimits, Engine, EngineOptions, MemoryChoice, StateSnapshot};
use hotshoe_infer::Models;
use hotshoe_pipeline::{Backends, LoadError, Pipeline, SelfTestError};
use hotshoe_store::{Cause, ReadError, Slot, Store};
use hotshoe_trust::{
    Allowed, Device, Floor, Package, Release, Time, TrustRoot, Verified, VerifyError,
};

use crate::deploy::error::DeployError;
use crate::deploy::served::Served;

/// Fewest instances that the engine has room for.
const MIN_INSTANCES: usize = 64;
/// Most of them: each reserves 4 GiB of addresses where there are enough, of which a process mostly has 128 TiB.
const MAX_INSTANCES: usize = 1_024;
/// Steps that a pipeline is expected to have at most; one with more needs fewer threads.
const STEPS: usize = 16;
/// Pipelines that overlap: the one that serves, the one that is about to, and a shadow or a self-test.
const OVERLAP: usize = 3;

/// What is needed to load a release on this device.
pub struct Loader {
    engine: Engine,
    models: Models,
    host: semver::Version,
    device: Device,
    allowed: Allowed,
    inference: InferenceConfig,
    threads: usize,
}

/// Why a slot's release cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// Its manifest, config or signatures cannot be read back.
    #[error("the release cannot be read")]
    Package(#[source] ReadError),
    /// It is not trusted on this device.
    #[error("the release is not accepted on this device")]
    Verify(#[source] VerifyError),
    /// A part of it cannot be loaded.
    #[error("the release cannot serve on this device")]
    Load(#[source] LoadError),
    /// It does not give what it says that it gives.
    #[error("the release does not pass its own tests")]
    SelfTest(#[source] SelfTestError),
}

impl LoadFailure {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Package(error) => error.name(),
            Self::Verify(error) => error.name(),
            Self::Load(error) => error.name(),
            Self::SelfTest(error) => error.name(),
        }
    }

    /// As the ledger and events carry it.
    pub fn cause(&self) -> Cause {
        Cause {
            name: self.name().to_owned(),
            message: chain(self),
        }
    }
}

impl Loader {
    /// Sets up the engine, which keeps compiled code in `aot`.
    pub fn new(config: &Config, aot: &Path) -> Result<Self, DeployError> {
        let version = env!("CARGO_PKG_VERSION");
        let host = version.parse().map_err(|_| DeployError::Version(version))?;
        let threads = config.workers.threads;
        let options = engine_options(threads, config.compile.limits(), Some(aot));
        let engine = Engine::new(options).map_err(DeployError::Engine)?;
        Ok(Self {
            engine,
            models: Models::new(config.inference.options()),
            host,
            device: config.identity(),
            allowed: config.allowed(),
            inference: config.inference.clone(),
            threads,
        })
    }

    /// How the memories of components lie, and why.
    pub const fn memory(&self) -> &MemoryChoice {
        self.engine.memory()
    }

    /// The device that releases are judged for.
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Threads that a release serves with.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Judges a release that has just arrived.
    pub fn admit(
        &self,
        package: &Package,
        trust: &TrustRoot,
        floor: &Floor,
        now: Time,
    ) -> Result<Verified<Release>, VerifyError> {
        hotshoe_trust::verify(package, trust, floor, &self.device, &self.host, now)
    }

    /// Judges a release again that was admitted before.
    pub fn verified(
        &self,
        store: &Store,
        slot: &Slot,
        trust: &TrustRoot,
    ) -> Result<Verified<Release>, LoadFailure> {
        let package = store.read_package(slot).map_err(LoadFailure::Package)?;
        hotshoe_trust::verify_installed(&package, trust, slot.release, &self.device, &self.host)
            .map_err(LoadFailure::Verify)
    }

    /// Loads a verified release, with the state that it left on the disk, and decides what runs its models.
    pub fn load(
        &self,
        store: &Store,
        release: Verified<Release>,
    ) -> Result<Arc<Served>, LoadFailure> {
        let pipeline = self.pipeline(store, release)?;
        self.decide(store, &pipeline);
        settle(store, &pipeline);
        Ok(Served::new(pipeline))
    }

    fn pipeline(
        &self,
        store: &Store,
        release: Verified<Release>,
    ) -> Result<Arc<Pipeline>, LoadFailure> {
        let digest = release.digest();
        let read = |blob: &_| store.blob(blob);
        let (engine, models) = (&self.engine, &self.models);
        let pipeline = Pipeline::load(
            release,
            read,
            engine,
            models,
            &self.allowed,
            &self.inference,
        )
        .map_err(LoadFailure::Load)?;
        let saved = store
            .load_state(digest)
            .map_err(|error| chain(&error))
            .and_then(|bytes| {
                bytes
                    .map(|bytes| StateSnapshot::parse(&bytes))
                    .transpose()
                    .map_err(|error| chain(&error))
            });
        match saved {
            Ok(Some(state)) => pipeline.restore_state(&state),
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(%digest, reason, "saved state is lost; components begin anew")
            }
        }
        Ok(pipeline)
    }

    /// Decides what runs the models.
    fn decide(&self, store: &Store, pipeline: &Pipeline) {
        let mut backends = Backends::open(store.folder(), &self.inference);
        pipeline.decide(|blob| store.blob(blob), &self.device, &mut backends);
        backends.save();
    }

    /// Keeps for the next start which backends took over from ones that failed.
    pub fn remember_switches(&self, store: &Store, pipeline: &Pipeline) {
        if pipeline.has_switched() {
            let mut backends = Backends::open(store.folder(), &self.inference);
            pipeline.remember_switches(&mut backends);
            backends.save();
        }
    }

    /// Judges and loads what is in a slot.
    pub fn load_slot(
        &self,
        store: &Store,
        slot: &Slot,
        trust: &TrustRoot,
    ) -> Result<Arc<Served>, LoadFailure> {
        let release = self.verified(store, slot, trust)?;
        self.load(store, release)
    }

    /// Loads a release that is to take over from `serving`, gives it a copy of its state, and runs its own tests.
    pub fn prove(
        &self,
        store: &Store,
        slot: &Slot,
        trust: &TrustRoot,
        serving: Option<&Served>,
    ) -> Result<Arc<Served>, LoadFailure> {
        let release = self.verified(store, slot, trust)?;
        let pipeline = self.pipeline(store, release)?;
        if let Some(serving) = serving {
            let state = serving.pipeline().state_snapshot();
            pipeline.restore_state(&state);
        }
        let mut backends = Backends::open(store.folder(), &self.inference);
        let reports = pipeline.prove(|blob| store.blob(blob), &self.device, &mut backends);
        backends.save();
        let reports = reports.map_err(LoadFailure::SelfTest)?;
        settle(store, &pipeline);
        let served = Served::new(pipeline);
        if let Some(serving) = serving {
            served.pipeline().warm_up_like(serving.pipeline());
        }
        tracing::info!(
            release = slot.name,
            generation = slot.generation,
            tests = reports.len(),
            "self-tested"
        );
        Ok(served)
    }
}

/// The engine of a device with so many worker threads. Whatever else loads releases for that device makes the same one, so that it finds
/// the same mode of memories, and the daemon finds the compiled code.
pub fn engine_options(
    threads: usize,
    compile: CompileLimits,
    cache: Option<&Path>,
) -> EngineOptions {
    EngineOptions {
        cache: cache.map(Path::to_owned),
        instances: instances(threads),
        compile,
        ..EngineOptions::default()
    }
}

/// A backend that fails gives way to the other one, which reads the model from the store again.
fn settle(store: &Store, pipeline: &Pipeline) {
    let blobs = store.blobs().unlocked();
    pipeline.settle_with_standbys(move |blob| blobs.read(blob).ok());
}

/// Every worker has one instance for each step of each pipeline that overlaps.
fn instances(threads: usize) -> u32 {
    let wanted = threads.saturating_mul(STEPS).saturating_mul(OVERLAP);
    u32::try_from(wanted.clamp(MIN_INSTANCES, MAX_INSTANCES)).unwrap_or(u32::MAX)
}
