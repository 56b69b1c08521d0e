use std::process::ExitCode;

use anyhow::bail;
use hotshoe_link::acl::{AclOptions, access_control};

use crate::terminal::Terminal;

/// Print Zenoh's access control for a site
///
/// With mutual TLS, who may say what is decided by the common name of a certificate: a device's is its name, and it may write
/// below its own keys alone; a deployer publishes; a registry or router passes on what all say. The file stands where messages
/// arrive: `[zenoh] access-control` of a registry and of a device that listens, or the configuration of `zenohd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe zenoh-acl --site lab --device line-3 --device line-4 --application recorder > acl.json

registry.toml and hotshoe.toml:
  [zenoh]
  listen = [\"tls/0.0.0.0:7447\"]
  access-control = \"acl.json\"
  [zenoh.tls]
  ca = \"ca.pem\"
  certificate = \"registry.pem\"
  key = \"registry.key\"")]
pub struct Args {
    /// The site
    #[arg(long, value_name = "SITE")]
    site: String,
    /// A device, by its name, which is its certificate's common name; may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Who may publish releases and order devices, by common name; may be repeated
    #[arg(long, value_name = "NAME", default_values_t = AclOptions::default().deployers)]
    deployer: Vec<String>,
    /// Registries and routers, by common name; may be repeated
    #[arg(long, value_name = "NAME", default_values_t = AclOptions::default().registries)]
    registry: Vec<String>,
    /// Who may feed samples and read results, by common name; may be repeated
    #[arg(long, value_name = "NAME")]
    application: Vec<String>,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let options = AclOptions {
        devices: args.device,
        deployers: args.deployer,
        registries: args.registry,
        applications: args.application,
    };
    // One name would have the rights of both.
    let others = [
        &options.deployers,
        &options.registries,
        &options.applications,
    ];
    for device in &options.devices {
        if others.iter().any(|names| names.contains(device)) {
            bail!(
                "`{device}` is a device's name and another's: its certificate would have the rights of both; give each its own"
            );
        }
    }
    if options.devices.is_empty() {
        terminal.note("no --device was given: no device may say anything under these rules");
    }
    // It is a file for another program, so it is JSON with and without --json.
    terminal.json(&access_control(&args.site, &options))?;
    Ok(ExitCode::SUCCESS)
}
