//! Releases of the data folder, loaded in this process as the daemon does it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use hotshoe_config::Config;
use hotshoe_daemon::deploy::device_options;
use hotshoe_engine::{Engine, Sample};
use hotshoe_infer::Models;
use hotshoe_pipeline::{Backends, Pipeline};
use hotshoe_release::device::{host_version, trust_root};
use hotshoe_store::{Slot, Store};
use hotshoe_trust::{Device, MAX_TRUST_BYTES, TrustRoot, verify_installed};

use crate::commands::exec::read;

/// A device in this process.
pub(super) struct Rehearsal<'a> {
    pub(super) config: &'a Config,
    pub(super) store: Store,
    pub(super) device: Device,
    trust: TrustRoot,
    engine: Engine,
    models: Models,
}

/// A release that loads and passes its self-tests.
pub(super) struct LoadedRelease {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) self_tests: usize,
}

impl<'a> Rehearsal<'a> {
    /// The device of a configuration. The store is open until this is dropped, so that no daemon starts meanwhile.
    pub(super) fn new(config: &'a Config, store: Store) -> anyhow::Result<Self> {
        // Compiled code is kept, as by a start of the daemon.
        let options = device_options(
            config.workers.threads,
            config.compile.limits(),
            &config.secrets,
            &store,
        );
        Ok(Self {
            trust: trusted_keys(config, &store)?,
            engine: Engine::new(options).context("cannot start the engine")?,
            models: Models::new(config.inference.options()),
            device: config.identity(),
            config,
            store,
        })
    }

    /// Verifies, loads and tests the release in a slot.
    pub(super) fn load(&self, slot: &Slot) -> anyhow::Result<LoadedRelease> {
        let package = self.store.read_package(slot)?;
        let release = verify_installed(
            &package,
            &self.trust,
            slot.release,
            &self.device,
            &host_version()?,
        )
        .context("the trusted keys of today do not verify it")?;
        let read = |blob: &_| self.store.blob(blob);
        let (allowed, inference) = (self.config.allowed(), &self.config.inference);
        let pipeline = Pipeline::load(
            release,
            read,
            &self.engine,
            &self.models,
            &allowed,
            inference,
        )?;
        // Not saved: only the daemon writes its choices.
        let mut backends = Backends::open(self.store.folder(), inference);
        let tests = pipeline
            .prove(read, &self.device, &mut backends)
            .context("it fails its self-tests")?;
        Ok(LoadedRelease {
            self_tests: tests.len(),
            pipeline,
        })
    }

    /// The samples of a measurement: these files, or those of the release's self-tests.
    pub(super) fn samples(
        &self,
        loaded: &LoadedRelease,
        files: &[PathBuf],
    ) -> anyhow::Result<Vec<Sample>> {
        let most = self.config.intake.max_sample_bytes;
        if !files.is_empty() {
            return files.iter().map(|file| read(file, None, most)).collect();
        }
        let tests = loaded.pipeline.release().tests.iter();
        tests
            .map(|test| {
                Ok(Sample {
                    id: format!("doctor/{}", test.name),
                    source: format!("doctor/{}", test.name),
                    content_type: test.media_type.clone(),
                    timestamp_us: 0,
                    payload: Arc::from(self.store.blob(&test.sample)?),
                })
            })
            .collect()
    }
}

/// The operator's keys, or those of a later rotation.
fn trusted_keys(config: &Config, store: &Store) -> anyhow::Result<TrustRoot> {
    let own = trust_root(&config.trust)?;
    let Some(entry) = &store.ledger().trust else {
        return Ok(own);
    };
    if entry.version <= own.version() {
        return Ok(own);
    }
    let cannot = || format!("cannot use version {} of the trusted keys", entry.version);
    let text = store.blobs().read_any(entry.file, MAX_TRUST_BYTES);
    let text = String::from_utf8(text.with_context(cannot)?).with_context(cannot)?;
    TrustRoot::parse(&text).with_context(cannot)
}
