use std::process::ExitCode;

use anyhow::bail;
use hotshoe_link::acl::{AclOptions, access_control};

use hotshoe_release::terminal::Terminal;

/// Print Zenoh's access control for a site
///
/// With mutual TLS, the common name of a certificate decides its rights: a device, with its name, writes only below its own keys; a deployer
/// publishes; a registry or router forwards all messages. The file belongs to every listener: `[zenoh] access-control` of a registry and of
/// a device that listens, or the configuration of `zenohd`.
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
pub(crate) struct Args {
    /// The site
    #[arg(long, value_name = "SITE")]
    site: String,
    /// A device's name, which is its certificate's common name; may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// The common name of a deployer, which may publish releases and send orders; may be repeated
    #[arg(long, value_name = "NAME", default_values_t = AclOptions::default().deployers)]
    deployer: Vec<String>,
    /// The common name of a registry or router; may be repeated
    #[arg(long, value_name = "NAME", default_values_t = AclOptions::default().registries)]
    registry: Vec<String>,
    /// The common name of an application, which may send samples and read results; may be repeated
    #[arg(long, value_name = "NAME")]
    application: Vec<String>,
    /// The common name of a collector, which may run `hotshoe collect`; may be repeated
    #[arg(long, value_name = "NAME")]
    collector: Vec<String>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let options = AclOptions {
        devices: args.device,
        deployers: args.deployer,
        registries: args.registry,
        applications: args.application,
        collectors: args.collector,
    };
    // A shared name would have the rights of both.
    let others = [
        &options.deployers,
        &options.registries,
        &options.applications,
        &options.collectors,
    ];
    for device in &options.devices {
        if others.iter().any(|names| names.contains(device)) {
            bail!(
                "`{device}` is the name of a device and of another client: its certificate would have the rights of both; give each its own name"
            );
        }
    }
    if options.devices.is_empty() {
        terminal.note("no --device was given: under these rules no device may send anything");
    }
    // The output is a file for another program, so it is always JSON.
    terminal.json(&access_control(&args.site, &options))?;
    Ok(ExitCode::SUCCESS)
}
