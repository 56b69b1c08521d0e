use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_config::check_name;
use serde::Serialize;

use super::ACL;
use super::add::write_rules;
use crate::fleet::site_dir::{BUNDLES, DEVICES, REGISTRY, SiteDir};
use hotshoe_release::terminal::Terminal;

/// Remove a device from a site
///
/// Removes the device's public key from the site's list, so that nothing that it says counts as signed any more, and its bundle with the
/// copies of its keys. Updates the registry's access rules, which then refuse its certificate. What the device has stays on it:
/// `hotshoe reset --erase` removes that there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe site remove --site-dir lab --device line-4
  scp lab/registry/acl.json registry:/etc/hotshoe

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(super) struct Args {
    /// The site's folder
    #[arg(long, value_name = "DIR")]
    site_dir: PathBuf,
    /// The device's name; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    device: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    site: String,
    removed: Vec<String>,
    /// The access rules that the registry has to get.
    rules: PathBuf,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let site = SiteDir::open(&args.site_dir)?;
    // Before anything is removed.
    for device in &args.device {
        check_name("device", device)?;
        ensure!(
            listed(&site, device).exists(),
            "device {device} is not on the list of site {}",
            site.file.site
        );
    }
    for device in &args.device {
        // First: from then on, the device is not one of the site.
        remove(&listed(&site, device))?;
        remove(&site.folder.join(BUNDLES).join(device))?;
    }
    let site = SiteDir::open(&args.site_dir)?;
    write_rules(&site)?;
    let report = Report {
        site: site.file.site.clone(),
        removed: args.device.clone(),
        rules: site.folder.join(REGISTRY).join(ACL),
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} {} from site {}",
        terminal.good("removed"),
        report.removed.join(", "),
        report.site
    ))?;
    terminal.print(format!(
        "Copy {} to the registry, and restart it to refuse the certificate.",
        report.rules.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn listed(site: &SiteDir, device: &str) -> PathBuf {
    site.folder.join(DEVICES).join(format!("{device}.pub"))
}

/// Removes a file or a folder; a missing one is not an error.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
