use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use anyhow::{Context, bail};
use hotshoe_daemon::config::ZenohMode;
use hotshoe_daemon::registry::{Registry, RegistryConfig};
use hotshoe_trust::Digest;
use serde::Serialize;

use crate::fleet::error::FleetError;
use crate::fleet::reach::ReachArgs;
use crate::terminal::{Terminal, size};
use crate::{logging, signals};

/// What a registry is called where nothing else is said: what `hotshoe zenoh-acl` expects in its certificate.
const DEFAULT_NAME: &str = "registry";

/// Hold a site's releases
///
/// Takes every release that is published to its site and that trusted keys signed, keeps it in its data folder, and answers for
/// it, so that devices find it when the publisher has gone. Two registries of one site are redundant. With --router it also
/// passes messages on between all that connect to it, so that a site needs no other server. It runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the one server of a site
  hotshoe registry --site lab --data /var/lib/hotshoe-registry --trust trust.toml --router --listen tcp/0.0.0.0:7447
  hotshoe publish my-release --site lab --connect tcp/192.0.2.7:7447

Example: with TLS, from a file; flags win over it
  hotshoe registry --config registry.toml

registry.toml:
  site = \"lab\"
  name = \"registry\"
  data = \"data\"
  trust = \"trust.toml\"
  quota-mib = 16384
  [zenoh]
  mode = \"router\"
  listen = [\"tls/0.0.0.0:7447\"]
  access-control = \"acl.json\"          # see `hotshoe zenoh-acl`
  [zenoh.tls]
  ca = \"ca.pem\"
  certificate = \"registry.pem\"
  key = \"registry.key\"

With --json, a line when it listens, and a line with what it holds at the end.")]
pub struct Args {
    /// The site
    #[arg(long, value_name = "SITE", required_unless_present = "config")]
    site: Option<String>,
    /// Its folder; it is created
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Whose signatures it accepts (trust.toml)
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    trust: Option<PathBuf>,
    /// Its name, different from that of the site's other registries [default: registry]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A Zenoh endpoint to listen on; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Pass messages on between all that connect to it
    #[arg(long)]
    router: bool,
    /// Most that its releases may take on the disk; the oldest go first
    #[arg(long, value_name = "MIB")]
    quota_mib: Option<u64>,
    /// Take all of this from a file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
}

/// A line when it has begun.
#[derive(Serialize)]
struct Begun<'a> {
    site: &'a str,
    name: &'a str,
    locators: Vec<String>,
}

/// A release that it holds.
#[derive(Serialize)]
struct Row {
    name: String,
    generation: u64,
    release: Digest,
}

/// A line at the end.
#[derive(Serialize)]
struct Ended {
    held: Vec<Row>,
    /// Bytes of releases that were sent.
    sent: u64,
    /// Statements and releases that were refused.
    refused: u64,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("info,zenoh=warn")?;
    let config = args.settings()?;
    let (sender, signals) = channel();
    signals::on_first(move |name| {
        // Where nobody receives it, the run is ending anyway.
        let _ = sender.send(name);
    })?;
    let (site, name) = (config.site.clone(), config.name.clone());
    let registry = Registry::start(&config).context("cannot start the registry")?;
    let begun = Begun {
        site: &site,
        name: &name,
        locators: registry.locators(),
    };
    if terminal.json {
        terminal.json_line(&begun)?;
    } else {
        for locator in &begun.locators {
            terminal.print(format!("registry {name} of site {site} at {locator}"))?;
        }
    }
    let signal = signals.recv().context("nobody waits for signals")?;
    tracing::info!(signal, "ending");
    let ended = Ended {
        held: held(&registry),
        sent: registry.sent(),
        refused: registry.refused(),
    };
    registry.stop();
    if terminal.json {
        terminal.json_line(&ended)?;
    } else {
        terminal.note(format!(
            "{} releases kept, {} sent, {} refused",
            ended.held.len(),
            size(ended.sent),
            ended.refused
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn held(registry: &Registry) -> Vec<Row> {
    let held = registry.held().into_iter();
    held.map(|it| Row {
        name: it.name,
        generation: it.generation,
        release: it.release,
    })
    .collect()
}

impl Args {
    /// The file, with the flags over it.
    fn settings(&self) -> anyhow::Result<RegistryConfig> {
        let mut config = match (&self.config, &self.site, &self.data, &self.trust) {
            (Some(path), ..) => RegistryConfig::load(path)
                .with_context(|| format!("cannot use {}", path.display()))?,
            (None, Some(site), Some(data), Some(trust)) => {
                let mut config = RegistryConfig::new(site, DEFAULT_NAME);
                config.data.clone_from(data);
                config.trust.clone_from(trust);
                config
            }
            _ => bail!("give --site, --data and --trust, or --config"),
        };
        if self.config.is_some() {
            config.site = self.site.clone().unwrap_or(config.site);
            config.data = self.data.clone().unwrap_or(config.data);
            config.trust = self.trust.clone().unwrap_or(config.trust);
        }
        if let Some(name) = &self.name {
            config.name.clone_from(name);
        }
        if let Some(quota) = self.quota_mib {
            config.quota_mib = quota;
        }
        self.reach.apply(&mut config.zenoh);
        config.zenoh.listen.extend(self.listen.iter().cloned());
        if self.router {
            config.zenoh.mode = ZenohMode::Router;
        }
        let zenoh = &config.zenoh;
        if zenoh.listen.is_empty() && zenoh.connect.is_empty() && !zenoh.scouting {
            return Err(FleetError::Nowhere { may_listen: true }.into());
        }
        Ok(config)
    }
}
