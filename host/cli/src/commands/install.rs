use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_daemon::deploy::engine_options;
use hotshoe_engine::Engine;
use hotshoe_infer::Models;
use hotshoe_pipeline::{Backends, Pipeline};
use hotshoe_protocol::status::ModelStatus;
use hotshoe_store::{Layout, Slot, Store};
use hotshoe_trust::{Release, Time, Verified};
use serde::Serialize;

use super::pack::Summary;
use super::verify::verify;
use crate::device::{DeviceArgs, Identity};
use crate::terminal::Terminal;

/// Install a release on this device, offline
///
/// Verifies the release for this device, loads it as the daemon does, runs its self-tests, copies its blobs, and makes it the live
/// release; the one that was live becomes the previous one. It refuses a release that cannot serve here or fails its self-tests, and a
/// generation below the floor, and then changes nothing. The daemon must not be running.
///
/// Self-tests prove a release on this device and decide between backends. Without them, a model runs on the only backend, unproven; if
/// two backends agree on synthetic inputs, on the faster one; if they disagree, the release is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe install my-release --config hotshoe.toml
  hotshoe install my-release --data /var/lib/hotshoe --trust trust.toml --device line-4 --site lab")]
pub struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The device's data folder, created if missing
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    data: &'a Path,
    release: Summary,
    signers: &'a [String],
    installed: Time,
    /// The release that was live before.
    previous: Option<Previous>,
    /// The number of self-tests that it passed.
    self_tests: usize,
    /// Variants of its models that do not load here; the next one serves instead.
    left_out: &'a [LeftOut],
    /// Models without a self-test, and the backend that runs each.
    unproven: &'a BTreeMap<String, String>,
}

/// A variant that does not load.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// The model's name in the release.
    model: String,
    /// The variant's name.
    variant: String,
    /// Why it does not load.
    cause: String,
}

#[derive(Serialize)]
struct Previous {
    name: String,
    generation: u64,
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

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let identity = args.device.identity()?;
    let data = args
        .data
        .clone()
        .or_else(|| identity.data.clone())
        .context("give --data or --config")?;
    let installed = install(&args.layout, &data, &identity, Time::now())?;
    let report = Report {
        data: &data,
        release: Summary::of(&installed.release, installed.release.digest()),
        signers: installed.release.signers(),
        installed: installed.slot.installed,
        previous: installed.previous.as_ref().map(|slot| Previous {
            name: slot.name.clone(),
            generation: slot.generation,
        }),
        self_tests: installed.self_tests,
        left_out: &installed.left_out,
        unproven: &installed.unproven,
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} into {}",
        terminal.good("installed"),
        data.display()
    ))?;
    report.release.print(terminal)?;
    terminal.print(format!("signed by {}", report.signers.join(", ")))?;
    if report.self_tests > 0 {
        terminal.print(format!("self-tests passed: {}", report.self_tests))?;
    }
    for (model, backend) in report.unproven {
        terminal.print(terminal.warning(&format!(
            "{model} runs on {backend} unproven: no self-test of the release covers it"
        )))?;
    }
    for LeftOut {
        model,
        variant,
        cause,
    } in report.left_out
    {
        terminal.print(terminal.warning(&format!("{model} cannot run as {variant}: {cause}")))?;
    }
    if let Some(previous) = &report.previous {
        terminal.print(format!(
            "kept as previous: {} generation {}",
            previous.name, previous.generation
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Verifies a release against a data folder's own history, loads it, and makes it live there.
pub fn install(
    layout: &Path,
    data: &Path,
    identity: &Identity,
    now: Time,
) -> anyhow::Result<Installed> {
    let mut store = Store::open(data)
        .with_context(|| format!("cannot use the data folder {}", data.display()))?;
    let previous = store.ledger().live.clone();
    let floor = store.ledger().floor();
    let (layout, release) = verify(layout, &identity.trust, &floor, &identity.device, now)?;
    let checked = check_loads(&release, &layout, &store, identity)
        .with_context(|| format!("{} cannot serve on this device", layout.path().display()))?;
    let slot = store
        .install(&layout, &release, now)
        .with_context(|| format!("cannot install into {}", data.display()))?;
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
    let options = engine_options(identity.threads, identity.compile, Some(store.aot_dir()));
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
