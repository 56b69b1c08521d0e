use std::path::PathBuf;
use std::process::ExitCode;

use hotshoe_release::device::Identity;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_release::verify::verify;
use hotshoe_trust::{Floor, Time};
use serde::Serialize;

use crate::device_args::DeviceArgs;
use crate::release_summary::Summary;

/// Check a release as a device does
///
/// Checks the signatures, the device selector, the host version, the times and every blob. A device also refuses generations below its
/// floor; `install` checks that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe verify my-release --trust trust.toml --device line-4 --site lab
  hotshoe verify my-release --config hotshoe.toml")]
pub(crate) struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Check the times at this moment instead of now (RFC 3339, such as 2027-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
}

#[derive(Serialize)]
struct Report<'a> {
    verified: bool,
    release: Summary,
    signers: &'a [String],
    threshold: usize,
    blobs: usize,
    bytes: u64,
    /// Self-tests that a device runs before the release serves.
    tests: usize,
    /// Blobs that are transferred in chunks.
    chunked: usize,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let Identity { trust, device, .. } = args.device.identity()?;
    let now = args.at.unwrap_or_else(Time::now);
    let (_, release) = verify(&args.layout, &trust, &Floor::none(), &device, now)?;
    let report = Report {
        verified: true,
        release: Summary::of(&release, release.digest()),
        signers: release.signers(),
        threshold: trust.threshold(),
        blobs: release.blobs().count(),
        bytes: release.blobs().map(|blob| blob.size).sum(),
        tests: release.tests.len(),
        chunked: release.chunks.len(),
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} {}",
        terminal.good("verified"),
        args.layout.display()
    ))?;
    report.release.print(terminal)?;
    terminal.print(format!(
        "signed by {} ({} needed)",
        report.signers.join(", "),
        report.threshold
    ))?;
    terminal.print(format!(
        "{} blobs, {}, all match the manifest; {} self-tests",
        report.blobs,
        size(report.bytes),
        report.tests
    ))?;
    Ok(ExitCode::SUCCESS)
}
