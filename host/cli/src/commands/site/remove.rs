use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_config::check_name;
use serde::Serialize;
use serde_json::Value;

use super::ACL;
use super::add::write_rules;
use crate::fleet::site_dir::{BUNDLES, DEPLOYER, DEVICES, REGISTRY, SiteDir};
use hotshoe_release::files::read_text;
use hotshoe_release::terminal::Terminal;

/// Remove a device from a site
///
/// Removes the device's public key from the site's list, so that nothing that it says counts as signed any more, and its bundle with the
/// copies of its keys. Updates the registry's access rules, which then refuse its certificate, so the name cannot be used again. What the
/// device has stays on it: `hotshoe reset --erase` removes that there.
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
            listed(&site, device).exists()
                || bundle(&site, device).exists()
                || has_rule(&site, device)?,
            "device {device} is not on the list of site {}",
            site.file.site
        );
    }
    // First the rules: what was interrupted after them leaves a device that is still listed, and can be removed again.
    site.note_removed(&args.device)?;
    write_rules(&site)?;
    for device in &args.device {
        remove(&listed(&site, device))?;
        remove(&bundle(&site, device))?;
    }
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

fn bundle(site: &SiteDir, device: &str) -> PathBuf {
    site.folder.join(BUNDLES).join(device)
}

/// Whether the registry's access rules name a device that is not the site's own.
fn has_rule(site: &SiteDir, device: &str) -> anyhow::Result<bool> {
    let path = site.folder.join(REGISTRY).join(ACL);
    if !path.exists() || [DEPLOYER, REGISTRY].contains(&device) {
        return Ok(false);
    }
    let rules: Value = serde_json::from_str(&read_text(&path)?)
        .with_context(|| format!("cannot use {}", path.display()))?;
    let subjects = rules.get("subjects").and_then(Value::as_array);
    Ok(subjects.into_iter().flatten().any(|subject| {
        let names = subject.get("cert_common_names").and_then(Value::as_array);
        names.into_iter().flatten().any(|name| name == device)
    }))
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
