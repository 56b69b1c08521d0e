use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_release::install::{LeftOut, install};
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::Time;
use serde::Serialize;

use crate::data_folder::check_owner;
use crate::device_args::DeviceArgs;
use crate::release_summary::Summary;

/// Install a release on this device, offline
///
/// Verifies the release for this device, loads it as the daemon does, runs its self-tests, copies its blobs, and makes it the live
/// release; the one that was live becomes the previous one. It refuses a release that cannot serve here or fails its self-tests, and a
/// generation below the floor, and then changes nothing. The daemon must not be running.
///
/// Self-tests check a release on this device and choose between backends. Without them, models are not checked: a model runs on the only
/// backend, or on the faster one if two agree on synthetic inputs. If they disagree, the release is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe install my-release --config hotshoe.toml
  hotshoe install my-release --data /var/lib/hotshoe --trust trust.toml --device line-4 --site lab")]
pub(crate) struct Args {
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

#[derive(Serialize)]
struct Previous {
    name: String,
    generation: u64,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let identity = args.device.identity()?;
    let data = args
        .data
        .clone()
        .or_else(|| identity.data.clone())
        .context("give --data or --config")?;
    check_owner(&data)?;
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
