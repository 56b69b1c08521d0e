//! A release that is loaded as a device does it, without a daemon.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use hotshoe_daemon::deploy::engine_options;
use hotshoe_engine::Engine;
use hotshoe_infer::{BackendChoice, Models};
use hotshoe_pipeline::{Backends, Pipeline, SelfTestError};
use hotshoe_release::device::Identity;
use hotshoe_release::verify::verify;
use hotshoe_store::Layout;
use hotshoe_trust::{Device, Floor, Time};

use crate::device_args::DeviceArgs;

/// The release, the device that it runs as, and the backend.
#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// The release
    #[arg(value_name = "RELEASE")]
    pub layout: PathBuf,
    /// The backend: tract; ort; or auto, which measures both first [default: that of --config, with the choice that the device
    /// stored; without --config tract, and ort for models that tract cannot run]
    #[arg(long, value_name = "BACKEND", value_parser = backend)]
    pub backend: Option<BackendChoice>,
    /// The library of ONNX Runtime [default: that of --config, else ORT_DYLIB_PATH, else that of
    /// `hotshoe runtime fetch` or a package, else the system's]
    #[arg(long, value_name = "FILE")]
    pub ort_library: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A loaded release, whose backends are chosen.
pub(crate) struct Loaded {
    /// Its pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Its files.
    pub layout: Layout,
    /// The device that it runs as.
    pub device: Device,
    /// Largest sample, in bytes.
    pub max_sample_bytes: usize,
}

/// Verifies and loads a release.
pub(crate) fn load(args: &ReleaseArgs) -> anyhow::Result<Loaded> {
    let Identity {
        trust,
        device,
        allow,
        data,
        mut inference,
        threads,
        compile,
        max_sample_bytes,
        ..
    } = args.device.identity()?;
    let (layout, release) = verify(&args.layout, &trust, &Floor::none(), &device, Time::now())?;
    let engine =
        Engine::new(engine_options(threads, compile)).context("cannot start the engine")?;
    if let Some(backend) = args.backend {
        inference.backend = backend;
        inference
            .models
            .values_mut()
            .for_each(|own| own.backend = None);
    }
    inference.library = args.ort_library.clone().or(inference.library);
    let models = Models::new(inference.options());
    let blob = |blob: &_| layout.read(blob);
    let pipeline = Pipeline::load(release, blob, &engine, &models, &allow, &inference)
        .with_context(|| format!("cannot run {}", args.layout.display()))?;
    // Only the device itself writes its stored choices.
    let mut backends = match data {
        Some(data) => Backends::open(&data, &inference),
        None => Backends::in_memory(&inference),
    };
    if args.backend == Some(BackendChoice::Auto) {
        pipeline.decide(blob, &device, &mut backends);
    } else {
        pipeline.recall(&backends);
    }
    if let Some(undecided) = pipeline.undecided() {
        return Err(SelfTestError::from(undecided).into());
    }
    Ok(Loaded {
        pipeline,
        layout,
        device,
        max_sample_bytes,
    })
}

/// Parses `tract`, `ort` or `auto`.
fn backend(text: &str) -> Result<BackendChoice, String> {
    let known = [
        BackendChoice::Auto,
        BackendChoice::Tract,
        BackendChoice::Ort,
    ];
    let found = known.into_iter().find(|choice| choice.to_string() == text);
    found.ok_or_else(|| "expected tract, ort or auto".to_owned())
}
