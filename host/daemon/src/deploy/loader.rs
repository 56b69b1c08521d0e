//! The loader: verifies, compiles and loads the release in a slot. No other part of the daemon does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hotshoe_base::Clock;
use hotshoe_base::chain;
use hotshoe_config::{Config, InferenceConfig, SecretsConfig};
use hotshoe_drift::{Baseline, BaselineError, MonitorError};
use hotshoe_engine::{
    CompileInterrupt, CompileLimits, Engine, EngineOptions, KeptBack, MemoryChoice, PrepareError,
    SharedTexts, StateSnapshot,
};
use hotshoe_infer::Models;
use hotshoe_pipeline::{Backends, LoadError, Pipeline, SelfTestError};
use hotshoe_sealing::SecretSource;
use hotshoe_store::{BlobError, Cause, ReadError, Slot, Store, Transition};
use hotshoe_trust::{
    Allowed, Device, Floor, Package, Release, Time, TrustRoot, Verified, VerifyError,
    check_hardware,
};

use crate::deploy::error::DeployError;
use crate::hardware::hardware;
use crate::serving::{DriftWatch, ServingRelease};

/// Least number of instances of the engine.
const MIN_INSTANCES: usize = 64;
/// Largest number of instances: each may reserve 4 GiB of addresses, of the 128 TiB that a process usually has.
const MAX_INSTANCES: usize = 1_024;
/// Most expected steps of a pipeline. With more steps, fewer threads fit.
const STEPS: usize = 16;
/// Pipelines at the same time: the one that serves, its successor, and a shadow or self-test.
const OVERLAP: usize = 3;

/// Loads releases on this device.
pub(super) struct Loader {
    engine: Engine,
    models: Models,
    host: semver::Version,
    device: Device,
    allowed: Allowed,
    inference: InferenceConfig,
    threads: usize,
    clock: Clock,
    /// The keys that releases are verified with. Shared data reads them, too.
    trust: Arc<ArcSwap<TrustRoot>>,
}

/// The release that serves if there is no trial.
#[derive(Default)]
pub(super) struct LoadedLive {
    /// The live release, or the previous one.
    pub served: Option<Arc<ServingRelease>>,
    /// What the ledger has to record about it.
    pub transition: Option<Transition>,
    /// The live release that cannot serve, where none before it can either.
    pub failed: Option<(Slot, Cause)>,
}

/// Why a slot's release cannot serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailure {
    /// Its manifest, config or signatures cannot be read back.
    #[error("the release cannot be read")]
    Package(#[source] ReadError),
    /// It is not trusted on this device.
    #[error("the release is not accepted on this device")]
    Verify(#[source] VerifyError),
    /// A component or model cannot be loaded.
    #[error("the release cannot serve on this device")]
    Load(#[source] LoadError),
    /// Its baseline cannot be read back.
    #[error("the baseline of the release cannot be read")]
    BaselineFile(#[source] BlobError),
    /// Its baseline is not valid.
    #[error("the release cannot be watched for drift")]
    Baseline(#[source] BaselineError),
    /// Its baseline does not fit its `[drift]`.
    #[error("the release cannot be watched for drift")]
    Monitor(#[source] MonitorError),
    /// Its self-test fails.
    #[error("the release does not pass its own tests")]
    SelfTest(#[source] SelfTestError),
}

impl LoadFailure {
    /// The stable name, in snake case.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Package(error) => error.name(),
            Self::Verify(error) => error.name(),
            // What is wrong with the blob says more than that it cannot be read.
            Self::Load(error) => match blob_error(error) {
                Some(blob) => blob.name(),
                None => error.name(),
            },
            Self::BaselineFile(error) => error.name(),
            Self::Baseline(error) => error.name(),
            Self::Monitor(error) => error.name(),
            Self::SelfTest(error) => error.name(),
        }
    }

    /// Whether the compilation of a component was interrupted. Nothing is known about the release then.
    pub(super) const fn is_interrupted(&self) -> bool {
        matches!(
            self,
            Self::Load(LoadError::Component(PrepareError::Interrupted { .. }))
        )
    }

    /// Whether it is damage on the disk, and not a fault of the release.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Package(_)
                | Self::BaselineFile(_)
                | Self::Load(LoadError::Blob { .. } | LoadError::Damaged { .. })
                | Self::SelfTest(SelfTestError::Blob(_))
        )
    }

    /// Whether bytes of the release are missing or damaged, which reading again does not mend.
    fn is_lost(&self) -> bool {
        let blob = match self {
            Self::Load(LoadError::Damaged { .. }) => return true,
            Self::Package(ReadError::Blob(error)) | Self::BaselineFile(error) => Some(error),
            Self::Load(error) => blob_error(error),
            _ => None,
        };
        blob.is_some_and(|error| {
            let is_other_file = matches!(
                error,
                BlobError::Size { .. } | BlobError::TooLarge { .. } | BlobError::NotAFile { .. }
            );
            is_other_file || error.is_loss()
        })
    }

    /// The cause for the ledger and events.
    pub(super) fn cause(&self) -> Cause {
        Cause {
            name: self.name().to_owned(),
            message: chain(self),
        }
    }
}

/// Why a blob of the release cannot be read, if that is the reason.
fn blob_error(error: &LoadError) -> Option<&BlobError> {
    match error {
        LoadError::Blob { source, .. } => source.downcast_ref(),
        _ => None,
    }
}

impl Loader {
    /// Sets up the engine of this data folder.
    pub(super) fn new(
        config: &Config,
        store: &Store,
        trust: TrustRoot,
        clock: Clock,
    ) -> Result<Self, DeployError> {
        let version = env!("CARGO_PKG_VERSION");
        let host = version.parse().map_err(|_| DeployError::Version(version))?;
        let threads = config.workers.threads;
        let options = device_options(threads, config.compile.limits(), &config.secrets, store);
        let engine = Engine::new(options).map_err(DeployError::Engine)?;
        Ok(Self {
            clock,
            engine,
            models: Models::new(config.inference.options()),
            host,
            device: config.identity(),
            allowed: config.allowed(),
            inference: config.inference.clone(),
            threads,
            trust: Arc::new(ArcSwap::from_pointee(trust)),
        })
    }

    /// The shared values that components read.
    pub(super) const fn shared_texts(&self) -> &SharedTexts {
        self.engine.shared_texts()
    }

    /// The counts of what data contracts keep on the device.
    pub(super) const fn kept_back(&self) -> &KeptBack {
        self.engine.kept_back()
    }

    /// The mode of component memories, with its reason.
    pub(super) const fn memory(&self) -> &MemoryChoice {
        self.engine.memory()
    }

    /// Ends compilations. None where they cannot be ended.
    pub(super) fn compile_interrupt(&self) -> Option<CompileInterrupt> {
        self.engine.compile_interrupt()
    }

    /// The identity of this device.
    pub(super) const fn device(&self) -> &Device {
        &self.device
    }

    /// Number of worker threads.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// The trusted keys.
    pub(super) fn trust(&self) -> Arc<TrustRoot> {
        self.trust.load_full()
    }

    /// The trusted keys as they are replaced.
    pub(super) const fn trust_cell(&self) -> &Arc<ArcSwap<TrustRoot>> {
        &self.trust
    }

    /// Replaces the trusted keys. What is loaded stays loaded.
    pub(super) fn replace_trust(&self, trust: TrustRoot) {
        self.trust.store(Arc::new(trust));
    }

    /// Verifies a release that has just arrived.
    pub(super) fn admit(
        &self,
        package: &Package,
        floor: &Floor,
        now: Time,
    ) -> Result<Verified<Release>, VerifyError> {
        let trust = self.trust();
        let release = hotshoe_trust::verify(package, &trust, floor, &self.device, &self.host, now)?;
        check_hardware(&release, &hardware().hardware())?;
        Ok(release)
    }

    /// Verifies an installed release again.
    pub(super) fn verified(
        &self,
        store: &Store,
        slot: &Slot,
    ) -> Result<Verified<Release>, LoadFailure> {
        let package = store.read_package(slot).map_err(LoadFailure::Package)?;
        hotshoe_trust::verify_installed(
            &package,
            &self.trust(),
            slot.release,
            &self.device,
            &self.host,
        )
        .map_err(LoadFailure::Verify)
    }

    /// Loads a verified release with its saved state, and selects the backends of its models.
    pub(super) fn load(
        &self,
        store: &Store,
        release: Verified<Release>,
    ) -> Result<Arc<ServingRelease>, LoadFailure> {
        let pipeline = self.pipeline(store, release)?;
        self.decide(store, &pipeline);
        enable_fallbacks(store, &pipeline);
        let drift = self.drift(store, &pipeline)?;
        Ok(ServingRelease::new(pipeline, drift, self.clock.clone()))
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
                tracing::warn!(%digest, reason, "cannot restore the saved state; the components start without it")
            }
        }
        Ok(pipeline)
    }

    /// Makes what watches the samples of a release with `[drift]`.
    fn drift(
        &self,
        store: &Store,
        pipeline: &Pipeline,
    ) -> Result<Option<Arc<DriftWatch>>, LoadFailure> {
        let release = pipeline.release();
        let Some(rules) = &release.drift else {
            return Ok(None);
        };
        let file = store
            .blob(&rules.baseline)
            .map_err(LoadFailure::BaselineFile)?;
        let baseline = Baseline::parse(&file).map_err(LoadFailure::Baseline)?;
        let clock = self.clock.clone();
        let watch = DriftWatch::new(release, &baseline, rules, clock);
        Ok(Some(watch.map_err(LoadFailure::Monitor)?))
    }

    /// Selects the backends that the models begin with.
    fn decide(&self, store: &Store, pipeline: &Pipeline) {
        let mut backends = Backends::open(store.folder(), &self.inference);
        pipeline.decide_first(|blob| store.blob(blob), &self.device, &mut backends);
        backends.save();
    }

    /// Stores which backends were replaced after a failure, or have won, for the next start.
    pub(super) fn remember_switches(&self, store: &Store, pipeline: &Pipeline) {
        if pipeline.has_switched() {
            let mut backends = Backends::open(store.folder(), &self.inference);
            pipeline.remember_switches(&mut backends);
            backends.save();
        }
    }

    /// Verifies and loads the release in a slot.
    pub(super) fn load_slot(
        &self,
        store: &Store,
        slot: &Slot,
    ) -> Result<Arc<ServingRelease>, LoadFailure> {
        let release = self.verified(store, slot)?;
        self.load(store, release)
    }

    /// Loads the live release. If it cannot serve, the previous one. A live release that is damaged on disk is dropped, so that it can
    /// be delivered again; one that is not for this device stays, for the case that the device gets its old name or keys again. So does
    /// one where all blobs are gone, for the case that their disk is mounted later.
    pub(super) fn load_live(&self, store: &Store) -> LoadedLive {
        let ledger = store.ledger();
        let Some(live) = &ledger.live else {
            return LoadedLive::default();
        };
        let error = match self.load_slot(store, live) {
            Ok(served) => {
                return LoadedLive {
                    served: Some(served),
                    ..LoadedLive::default()
                };
            }
            // The daemon stops: the release is not at fault.
            Err(error) if error.is_interrupted() => return LoadedLive::default(),
            Err(error) => error,
        };
        let previous = ledger.previous.as_ref();
        let previous = previous.and_then(|slot| self.load_previous(store, slot));
        if previous.is_some() {
            tracing::error!(
                release = live.name,
                generation = live.generation,
                cause = chain(&error),
                "the live release cannot serve; the previous release is live again"
            );
            return LoadedLive {
                served: previous,
                transition: Some(Transition::Recover(error.cause())),
                failed: None,
            };
        }
        LoadedLive {
            served: None,
            transition: (error.is_lost() && !store.blobs().is_empty())
                .then(|| Transition::DropLive(error.cause())),
            failed: Some((live.clone(), error.cause())),
        }
    }

    fn load_previous(&self, store: &Store, previous: &Slot) -> Option<Arc<ServingRelease>> {
        let loaded = self.load_slot(store, previous);
        loaded
            .inspect_err(|error| {
                tracing::error!(
                    release = previous.name,
                    cause = chain(error),
                    "the previous release cannot serve either"
                );
            })
            .ok()
    }

    /// Loads the successor of `serving` with a copy of its state, and runs its self-test.
    pub(super) fn prove(
        &self,
        store: &Store,
        slot: &Slot,
        serving: Option<&ServingRelease>,
    ) -> Result<Arc<ServingRelease>, LoadFailure> {
        let release = self.verified(store, slot)?;
        let pipeline = self.pipeline(store, release)?;
        if let Some(serving) = serving {
            let state = serving.pipeline().state_snapshot();
            pipeline.restore_state(&state);
        }
        let mut backends = Backends::open(store.folder(), &self.inference);
        let reports = pipeline.prove_first(|blob| store.blob(blob), &self.device, &mut backends);
        backends.save();
        let reports = reports.map_err(LoadFailure::SelfTest)?;
        enable_fallbacks(store, &pipeline);
        let drift = self.drift(store, &pipeline)?;
        let served = ServingRelease::new(pipeline, drift, self.clock.clone());
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

/// Engine options of a device with this data folder. Commands that load releases in it must use them, so that the daemon can use their compiled
/// code, and so that components read the same secrets.
pub fn device_options(
    threads: usize,
    compile: CompileLimits,
    secrets: &SecretsConfig,
    store: &Store,
) -> EngineOptions {
    let (data, at_rest) = (store.folder().to_owned(), store.at_rest());
    let source = SecretSource::new(secrets.folder.clone(), data, at_rest.clone());
    EngineOptions {
        cache: Some(store.aot_dir().to_owned()),
        at_rest,
        secrets: Some(source),
        ..engine_options(threads, compile)
    }
}

/// Engine options of a device with this number of worker threads, without its data folder. They give the same memory mode as
/// [`device_options`].
pub fn engine_options(threads: usize, compile: CompileLimits) -> EngineOptions {
    EngineOptions {
        instances: instances(threads),
        compile,
        ..EngineOptions::default()
    }
}

/// Lets a failed backend be replaced by the other one, which reads the model from the store again.
fn enable_fallbacks(store: &Store, pipeline: &Pipeline) {
    let blobs = store.blobs().unlocked();
    pipeline.settle_with_standbys(move |blob| blobs.read(blob).ok());
}

/// Number of instances: one per worker, step and overlapping pipeline.
fn instances(threads: usize) -> u32 {
    let wanted = threads.saturating_mul(STEPS).saturating_mul(OVERLAP);
    u32::try_from(wanted.clamp(MIN_INSTANCES, MAX_INSTANCES)).unwrap_or(u32::MAX)
}
