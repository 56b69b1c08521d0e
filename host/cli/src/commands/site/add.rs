use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use hotshoe_config::check_name;
use hotshoe_daemon::device_key;
use hotshoe_link::acl::{AclOptions, access_control};
use hotshoe_link::device_list::public_key;
use hotshoe_trust::{Digest, PublicKey, SigningKey};
use serde::Serialize;

use super::authority::Authority;
use super::{ACL, CA_KEY, TRUST, certificate};
use crate::fleet::site_dir::{BUNDLES, CA, DEPLOYER, DEVICES, REGISTRY, SiteDir};
use hotshoe_release::files::{Readers, read_text, write_new};
use hotshoe_release::terminal::Terminal;

/// Add a device to a site
///
/// Creates the device's bundle: a certificate with its name, a configuration that accepts only signed statements, and its signing key,
/// whose public key is added to the site's list. With --key, the device has created its own key at its first start, and only the public
/// key is added. Updates the registry's access rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe site add --site-dir lab --device line-4
  scp -r lab/bundles/line-4 line-4:/etc/hotshoe

Example: a device that has already started; its public key is DATA/device.pub
  hotshoe site add --site-dir lab --device line-4 --key device.pub")]
pub(super) struct Args {
    /// The site's folder
    #[arg(long, value_name = "DIR")]
    site_dir: PathBuf,
    /// The device's name; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    device: Vec<String>,
    /// The device's own public key, in PEM [default: create a new key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A host name or address of the device, if others connect to it; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Replace the certificate and the key of a listed device
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report {
    site: String,
    devices: Vec<Added>,
}

/// A device that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Added {
    /// The device's name.
    pub device: String,
    /// The folder of its bundle.
    pub bundle: PathBuf,
    /// The fingerprint of its signing key.
    pub fingerprint: Digest,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let site = SiteDir::open(&args.site_dir)?;
    ensure!(
        args.key.is_none() || args.device.len() == 1,
        "--key is for one device; add the devices one by one"
    );
    let key = args.key.as_deref().map(read_public).transpose()?;
    let mut devices = Vec::new();
    for device in &args.device {
        devices.push(add(&site, device, key.as_ref(), &args.host, args.force)?);
    }
    write_rules(&site)?;
    let report = Report {
        site: site.file.site.clone(),
        devices,
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Added {
        device,
        bundle,
        fingerprint,
    } in &report.devices
    {
        terminal.print(format!(
            "{device}  {}  {}",
            bundle.display(),
            terminal.dim(&fingerprint.to_string())
        ))?;
    }
    terminal.print("\nCopy each folder to its device, and start the daemon there: `hotshoe run --config hotshoe.toml`.")?;
    terminal.print(format!(
        "Copy {} to the registry, and restart it to allow the device.",
        site.folder.join(REGISTRY).join(ACL).display()
    ))?;
    if args.force {
        terminal.print(
            "The old certificate of each device stays valid: the access rules go by its name. If its key may be in other hands, add the device by another name, and remove the old one: `hotshoe site remove`.",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_public(path: &Path) -> anyhow::Result<PublicKey> {
    public_key(&read_text(path)?)
        .with_context(|| format!("{} is not a device's public key", path.display()))
}

/// Adds a device to the list, and creates its bundle.
pub(super) fn add(
    site: &SiteDir,
    device: &str,
    key: Option<&PublicKey>,
    hosts: &[String],
    force: bool,
) -> anyhow::Result<Added> {
    check_name("device", device)?;
    ensure!(
        !device.starts_with('.'),
        "`{device}` is not a valid folder name; choose one that does not start with `.`"
    );
    // The access rules depend on the names in certificates.
    if [DEPLOYER, REGISTRY].contains(&device) {
        bail!(
            "a device cannot be called `{device}`: its certificate would have the rights of the {device}; choose another name"
        );
    }
    // The rules go by the name in a certificate, so that a new device of that name would let the old certificate in.
    if site.removed()?.contains(device) {
        bail!(
            "device {device} was removed from site {}, and its certificate is still valid; choose another name, or create a site with a new authority: `hotshoe site init`",
            site.file.site
        );
    }
    let listed = site.folder.join(DEVICES).join(format!("{device}.pub"));
    if listed.exists() && !force {
        bail!(
            "device {device} is already on the list of site {}; give --force to replace its certificate and its key",
            site.file.site
        );
    }
    let bundle = site.folder.join(BUNDLES).join(device);
    let authority = Authority::open(&site.file.site, &site.folder.join(CA_KEY))?;
    let issued = authority.issue(device, hosts)?;
    certificate(&bundle, device, &issued, force)?;
    for (file, readers) in [(CA, Readers::Anyone), (TRUST, Readers::Owner)] {
        let text = read_text(&site.folder.join(file))?;
        write_new(&bundle.join(file), text.as_bytes(), readers, force)?;
    }
    let secret = bundle.join("data").join(device_key::SECRET);
    let public = match key {
        Some(public) => {
            // An earlier key must not be used again.
            if secret.exists() {
                fs::remove_file(&secret)
                    .with_context(|| format!("cannot remove {}", secret.display()))?;
            }
            public.clone()
        }
        None => {
            let made = SigningKey::generate().context("cannot create the device's key")?;
            let pem = made.to_pem(None).context("cannot write the device's key")?;
            write_new(&secret, pem.as_bytes(), Readers::Owner, force)?;
            made.public_key().context("cannot derive the public key")?
        }
    };
    let config = config(site, device);
    write_new(
        &bundle.join("hotshoe.toml"),
        config.as_bytes(),
        Readers::Anyone,
        force,
    )?;
    // Last: a device is on the list only when its bundle is complete.
    write_new(&listed, public.to_pem().as_bytes(), Readers::Anyone, force)?;
    Ok(Added {
        device: device.to_owned(),
        bundle,
        fingerprint: public.fingerprint(),
    })
}

/// Writes the registry's access rules for the listed devices that were not removed.
pub(super) fn write_rules(site: &SiteDir) -> anyhow::Result<()> {
    let removed = site.removed()?;
    let listed = site.devices()?;
    let devices = listed.names().filter(|name| !removed.contains(*name));
    let options = AclOptions {
        devices: devices.map(str::to_owned).collect(),
        deployers: vec![DEPLOYER.to_owned()],
        registries: vec![REGISTRY.to_owned()],
        applications: Vec::new(),
        collectors: Vec::new(),
    };
    let rules = serde_json::to_string_pretty(&access_control(&site.file.site, &options))?;
    let path = site.folder.join(REGISTRY).join(ACL);
    write_new(&path, rules.as_bytes(), Readers::Anyone, true)
}

fn config(site: &SiteDir, device: &str) -> String {
    let name = &site.file.site;
    let connect = toml::Value::from(site.file.connect.clone());
    format!(
        "# Device {device} of site {name}, by `hotshoe site add`.\n\
         site = \"{name}\"\n\
         device = \"{device}\"\n\
         data = \"data\"                  # holds device.key, by which the site knows what this device says\n\
         trust = \"trust.toml\"\n\
         \n\
         [zenoh]\n\
         connect = {connect}\n\
         \n\
         [zenoh.tls]\n\
         ca = \"{CA}\"\n\
         certificate = \"{device}.pem\"\n\
         key = \"{device}.key\"\n\
         \n\
         [deploy]\n\
         statements = \"signed\"\n"
    )
}
