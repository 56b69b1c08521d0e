//! Installation into a data folder, without a daemon.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use hotshoe_audit::{Actor, AuditKind, Entry, append_offline};
use hotshoe_base::chain;
use hotshoe_config::FleetConfig;
use hotshoe_daemon::deploy::{device_options, releases_of};
use hotshoe_engine::Engine;
use hotshoe_infer::Models;
use hotshoe_pipeline::{Backends, Pipeline};
use hotshoe_protocol::status::ModelStatus;
use hotshoe_store::{Layout, Slot, Store};
use hotshoe_trust::{Release, ReleaseKind, Time, Verified, check_hardware};
use serde::Serialize;

use crate::device::Identity;
use crate::verify::verify;

/// A variant that does not load.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// The model's name in the release.
    pub model: String,
    /// The variant's name.
    pub variant: String,
    /// Why it does not load.
    pub cause: String,
}

/// A release in its slot.
#[derive(Debug)]
pub struct Installed {
    /// The release.
    pub release: Verified<Release>,
    /// Its slot, now live.
    pub slot: Slot,
    /// The slot that was live before.
    pub previous: Option<Slot>,
    /// The number of self-tests that the release passed.
    pub self_tests: usize,
    /// Variants that do not load.
    pub left_out: Vec<LeftOut>,
    /// Models without a self-test, and the backend that runs each.
    pub unproven: BTreeMap<String, String>,
}

/// Verifies a release against a data folder's own history, loads it, and makes it live there.
pub fn install(
    layout: &Path,
    data: &Path,
    identity: &Identity,
    now: Time,
) -> anyhow::Result<Installed> {
    let mut store = Store::open_at_rest(data, identity.encryption.open()?)
        .with_context(|| format!("cannot use the data folder {}", data.display()))?;
    let previous = store.ledger().live.clone();
    let floor = store.ledger().floor();
    let (layout, release) = verify(layout, &identity.trust, &floor, &identity.device, now)?;
    check_hardware(&release, &hotshoe_daemon::hardware().hardware())
        .with_context(|| format!("{} was refused", layout.path().display()))?;
    if release.kind != ReleaseKind::Pipeline {
        return install_kind(&layout, data, identity, now, release.kind);
    }
    let checked = check_loads(&release, &layout, &store, identity)
        .with_context(|| format!("{} cannot serve on this device", layout.path().display()))?;
    let slot = store
        .install(&layout, &release, now)
        .with_context(|| format!("cannot install into {}", data.display()))?;
    audit(data, &release, now);
    let previous = previous.filter(|previous| previous.release != slot.release);
    Ok(Installed {
        release,
        slot,
        previous,
        self_tests: checked.self_tests,
        left_out: checked.left_out,
        unproven: checked.unproven,
    })
}

/// As [`install`], for a release without a pipeline, which has a ledger of its own.
fn install_kind(
    layout: &Layout,
    data: &Path,
    identity: &Identity,
    now: Time,
    kind: ReleaseKind,
) -> anyhow::Result<Installed> {
    let folder = releases_of(data, kind);
    let mut store = Store::open_at_rest(&folder, identity.encryption.open()?)
        .with_context(|| format!("cannot use the data folder {}", folder.display()))?;
    let (previous, floor) = (store.ledger().live.clone(), store.ledger().floor());
    let (layout, release) = verify(
        layout.path(),
        &identity.trust,
        &floor,
        &identity.device,
        now,
    )?;
    let file = release.data.get(ReleaseKind::CONFIG_FILE);
    let file = file.context(
        "a release of kind `host` is always tried: publish it to the device, which runs below hotshoe-supervisor",
    )?;
    let text = String::from_utf8(layout.read(&file.blob)?).context("its file is not text")?;
    FleetConfig::parse(&text).context("its keys cannot be set on this device")?;
    let slot = store
        .install(&layout, &release, now)
        .with_context(|| format!("cannot install into {}", folder.display()))?;
    audit(data, &release, now);
    let previous = previous.filter(|previous| previous.release != slot.release);
    Ok(Installed {
        release,
        slot,
        previous,
        self_tests: 0,
        left_out: Vec::new(),
        unproven: BTreeMap::new(),
    })
}

/// Records an installation in the audit log. The release is in its slot already, so that a failure is only a warning.
fn audit(data: &Path, release: &Verified<Release>, now: Time) {
    let entry = Entry::new(AuditKind::ReleaseInstalled, now)
        .by(Actor::Operator)
        .with("name", &release.name)
        .with("generation", release.generation.to_string())
        .with("release", release.digest().to_string())
        .with("signers", release.signers().join(" "));
    if let Err(error) = append_offline(data, &entry, now) {
        let cause = chain(&error);
        tracing::warn!(cause, "the installation is not in the audit log");
    }
}

/// The outcome of loading a release on this device.
struct LoadCheck {
    self_tests: usize,
    left_out: Vec<LeftOut>,
    unproven: BTreeMap<String, String>,
}

/// Loads the release as the daemon does and runs its self-tests, before the floor rises. The daemon's first start reuses the code
/// that this compiles.
fn check_loads(
    release: &Verified<Release>,
    layout: &Layout,
    store: &Store,
    identity: &Identity,
) -> anyhow::Result<LoadCheck> {
    let options = device_options(identity.threads, identity.compile, &identity.secrets, store);
    let engine = Engine::new(options).context("cannot start the engine")?;
    let (allow, inference) = (&identity.allow, &identity.inference);
    let models = Models::new(inference.options());
    let read = |blob: &_| layout.read(blob);
    let pipeline = Pipeline::load(release.clone(), read, &engine, &models, allow, inference)?;
    // The daemon's first start then knows the fastest backend of each model.
    let mut backends = Backends::open(store.folder(), inference);
    let tests = pipeline
        .prove(read, &identity.device, &mut backends)
        .context("the release fails its self-tests")?;
    backends.save();
    let models = pipeline.model_status();
    let untested = pipeline.untested();
    let unproven = models.iter().filter(|model| untested.contains(&model.name));
    Ok(LoadCheck {
        self_tests: tests.len(),
        unproven: unproven
            .map(|model| (model.name.clone(), model.backend.clone()))
            .collect(),
        left_out: models.into_iter().flat_map(left_out).collect(),
    })
}

fn left_out(status: ModelStatus) -> impl Iterator<Item = LeftOut> {
    let model = status.name;
    status.fallbacks.into_iter().map(move |it| LeftOut {
        model: model.clone(),
        variant: it.variant,
        cause: it.cause,
    })
}

/// Removes what a data folder has installed, except the compiled code, which is cached by digest.
pub fn forget(data: &Path) -> anyhow::Result<()> {
    for part in ["ledger.json", "blobs", "parts", "states"] {
        let path = data.join(part);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else if path.exists() {
            fs::remove_file(&path)
        } else {
            continue;
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
