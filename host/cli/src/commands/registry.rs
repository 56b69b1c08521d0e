mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{ZenohMode, descriptors};
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_page::SiteServer;
use hotshoe_trust::Digest;
use serde::Serialize;

use crate::fleet::error::FleetError;
use crate::fleet::network::NetworkArgs;
use hotshoe_release::logging::{self, Log};
use hotshoe_release::signals::{self, End, Task};
use hotshoe_release::terminal::{Terminal, size};

/// The default name of a registry, which `hotshoe zenoh-acl` expects in its certificate.
const DEFAULT_NAME: &str = "registry";

/// Run a site's registry
///
/// Stores every release that is published to its site and signed by trusted keys, and serves it to devices after the publisher has
/// ended. Two registries of one site are redundant. With --router it also forwards messages between all sessions that connect to it, so
/// that a site needs no other server. Runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the one server of a site, with the configuration from `hotshoe site init`; options override it
  hotshoe registry --config lab/registry/registry.toml
  hotshoe publish my-release --site-dir lab

Example: on this machine alone, without certificates
  hotshoe registry --site lab --data registry --trust trust.toml --router --listen tcp/127.0.0.1:7447
  hotshoe publish my-release --site lab --connect tcp/127.0.0.1:7447

registry.toml:
  site = \"lab\"
  name = \"registry\"
  data = \"data\"
  trust = \"trust.toml\"
  quota-mib = 16384                   # of releases on the disk; default 16384
  keep = 16                           # releases of each name; default 16
  max-bytes-per-second = 1000000      # of fetching; default: no limit
  device-keys = \"devices\"             # NAME.pub of each device, for the page; default: none, so that all is only claimed
  [page]                              # all devices of the site at http://127.0.0.1:8080; default: none
  listen = \"127.0.0.1:8080\"           # beyond loopback it needs TLS with a token or certificates
  [zenoh]
  mode = \"router\"
  listen = [\"tls/0.0.0.0:7447\"]
  access-control = \"acl.json\"          # see `hotshoe zenoh-acl`
  [zenoh.tls]
  ca = \"ca.pem\"
  certificate = \"registry.pem\"
  key = \"registry.key\"
  [log]
  filter = \"info,zenoh=warn,tract=warn\" # RUST_LOG takes precedence
  lines-per-second = 5                # of each kind

SIGHUP reads the file again and applies `quota-mib`, `keep`, `max-bytes-per-second`, `device-keys`, the token, certificates and limits of
`[page]`, and `[log]`. The log names other keys that changed, which need a restart.

With --json, one line when it listens, and one line with its releases at the end.")]
pub(crate) struct Args {
    /// The site
    #[arg(long, value_name = "SITE", required_unless_present = "config")]
    site: Option<String>,
    /// The registry's data folder, created if missing
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// The trusted keys (trust.toml)
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    trust: Option<PathBuf>,
    /// The registry's name, unique in the site [default: registry]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A Zenoh endpoint to listen on; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Forward messages between all sessions that connect
    #[arg(long)]
    router: bool,
    /// Maximum size of its releases on the disk, in MiB; the oldest are removed first
    #[arg(long, value_name = "MIB")]
    quota_mib: Option<u64>,
    /// Read the configuration from a file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// The line at the start.
#[derive(Serialize)]
struct StartedLine<'a> {
    site: &'a str,
    name: &'a str,
    locators: Vec<String>,
    /// The address of the page, with the actual port.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

/// A release in the registry.
#[derive(Serialize)]
struct HeldRelease {
    name: String,
    generation: u64,
    release: Digest,
}

/// The line at the end.
#[derive(Serialize)]
struct EndedLine {
    held: Vec<HeldRelease>,
    /// Bytes of releases sent.
    sent: u64,
    /// Statements and releases that were refused.
    refused: u64,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::default();
    let log = logging::serve(&supervisor)?;
    let config = args.settings()?;
    log.apply(&config.log)?;
    let tasks = signals::serve(&supervisor)?;
    let (site, name) = (config.site.clone(), config.name.clone());
    let bound = page::BoundPage::bind(&config)?;
    let registry =
        Registry::start_with(&config, supervisor).context("cannot start the registry")?;
    let server = bound
        .map(|bound| bound.serve(&config, &registry))
        .transpose()?;
    let started = StartedLine {
        site: &site,
        name: &name,
        locators: registry.locators(),
        page: server.as_ref().map(SiteServer::url),
    };
    print_started(&started, terminal).unwrap_or_else(|error| warn_not_written(&error));
    let end = loop {
        match tasks.next() {
            Task::Reload => reload(&registry, server.as_ref(), &log, &args),
            Task::End(end) => break end,
        }
    };
    match &end {
        End::Signal(signal) => tracing::info!(signal, "ending"),
        End::Dead(dead) => tracing::error!(part = dead.name, cause = dead.cause, "ending"),
        // A registry asks for none.
        End::Restart => {}
    }
    let ended = EndedLine {
        held: held_releases(&registry),
        sent: registry.sent(),
        refused: registry.refused(),
    };
    if let Some(server) = server {
        page::end(server);
    }
    registry.stop();
    if terminal.json {
        terminal
            .json_line(&ended)
            .unwrap_or_else(|error| warn_not_written(&error));
    } else {
        terminal.note(format!(
            "{} releases kept, {} sent, {} refused",
            ended.held.len(),
            size(ended.sent),
            ended.refused
        ));
    }
    if let End::Dead(dead) = end {
        bail!(
            "the registry ended because its part {} ended: {}; start it again",
            dead.name,
            dead.cause
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print_started(started: &StartedLine<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json_line(started);
    }
    let StartedLine { site, name, .. } = started;
    for locator in &started.locators {
        terminal.print(format!("registry {name} of site {site} at {locator}"))?;
    }
    if let Some(page) = &started.page {
        terminal.print(format!("page of site {site} at {page}"))?;
    }
    Ok(())
}

/// Logs that standard output cannot be written. The registry serves all the same.
fn warn_not_written(error: &anyhow::Error) {
    tracing::warn!(
        error = format!("{error:#}"),
        "cannot write to standard output"
    );
}

/// Reads the configuration again. After an error the registry continues with the old one.
fn reload(registry: &Registry, page: Option<&SiteServer>, log: &Log, args: &Args) {
    let Some(path) = &args.config else {
        tracing::warn!(
            "there is no configuration file to reload: this registry was started with options only; restart it to change them"
        );
        return;
    };
    if let Err(error) = try_reload(registry, page, log, args, path) {
        tracing::error!(
            path = %path.display(),
            error = format!("{error:#}"),
            "the configuration was not reloaded; the old one stays in effect"
        );
    }
}

fn try_reload(
    registry: &Registry,
    page: Option<&SiteServer>,
    log: &Log,
    args: &Args,
    path: &Path,
) -> anyhow::Result<()> {
    // Reading a pipe would block this thread, and so the shutdown.
    let kind = path.metadata().context("cannot read the configuration")?;
    if !kind.is_file() {
        bail!("the configuration is not a file");
    }
    let new = args.settings()?;
    let renewal = page::renew(page, &new)?;
    let reloaded = registry.reload(&new)?;
    if let Some(renewal) = renewal {
        renewal.apply();
    }
    log.apply(&new.log)?;
    if logging::is_pinned() {
        tracing::info!(
            "`log.filter` is ignored: the environment variable RUST_LOG takes precedence"
        );
    }
    if reloaded.trust_changed {
        tracing::warn!(
            "the trusted keys have changed and are not reloaded: publish them with `hotshoe trust publish`, or restart the registry"
        );
    }
    let words = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>().join(", ");
    tracing::info!(
        applied = words(reloaded.applied),
        path = %path.display(),
        "the configuration was reloaded"
    );
    if !reloaded.needs_restart.is_empty() {
        tracing::warn!(
            keys = words(reloaded.needs_restart),
            "these keys changed and need a restart"
        );
    }
    Ok(())
}

fn held_releases(registry: &Registry) -> Vec<HeldRelease> {
    let held = registry.held().into_iter();
    held.map(|it| HeldRelease {
        name: it.name,
        generation: it.generation,
        release: it.release,
    })
    .collect()
}

impl Args {
    /// The configuration file, overridden by the options.
    fn settings(&self) -> anyhow::Result<RegistryConfig> {
        if let Some(folder) = &self.network.site_dir {
            bail!(
                "--site-dir is for publishers; give --config {}",
                folder.join("registry/registry.toml").display()
            );
        }
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
        if let Some(keys) = &self.network.device_keys {
            config.device_keys = Some(keys.clone());
        }
        self.network.apply(&mut config.zenoh);
        config.zenoh.listen.extend(self.listen.iter().cloned());
        if self.router {
            config.zenoh.mode = ZenohMode::Router;
        }
        let zenoh = &config.zenoh;
        if zenoh.listen.is_empty() && zenoh.connect.is_empty() && !zenoh.scouting {
            return Err(FleetError::Nowhere { may_listen: true }.into());
        }
        descriptors::fit_registry(&mut config.zenoh, config.page.as_mut());
        Ok(config)
    }
}
