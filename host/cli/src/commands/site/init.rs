use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_config::check_name;
use hotshoe_trust::TrustRoot;
use serde::Serialize;

use super::add::{Added, add, write_rules};
use super::authority::{Authority, CERTIFICATE_YEARS};
use super::{ACL, CA_KEY, TRUST, certificate};
use crate::fleet::site_dir::{
    BUNDLES, CA, DEPLOYER, DEVICES, REGISTRY, SIGNING_KEY, SITE_FILE, SiteDir, SiteFile,
};
use hotshoe_release::files::{Readers, read_text, write_new};
use hotshoe_release::keys::keygen;
use hotshoe_release::passphrase;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::trust_file::write_trust;

/// The registry's default port: Zenoh's own.
const DEFAULT_PORT: u16 = 7447;
/// The registry's default host, for a site on this machine only.
const DEFAULT_SERVER: &str = "127.0.0.1";

/// Create a site: certificates, access rules and keys
///
/// Creates a folder with the site's certificate authority, the files for its registry and deployers, a key that signs releases and
/// statements, and the trust.toml that makes devices trust it. All traffic is then encrypted, every client needs a certificate, and each
/// device writes only its own keys and signs its messages. Keep the folder secret: anyone who has it controls the site.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: a registry at 192.0.2.7, and two devices
  hotshoe site init --site lab --out lab --server 192.0.2.7 --device line-3 --device line-4
  hotshoe registry --config lab/registry/registry.toml              # at 192.0.2.7, with a copy of lab/registry
  hotshoe run --config hotshoe.toml                                 # on line-4, with a copy of lab/bundles/line-4
  hotshoe sign my-release --key lab/signing.key
  hotshoe publish my-release --site-dir lab

Example: releases with other signers
  hotshoe site init --site lab --out lab --server 192.0.2.7 --trust trust.toml

The signing key is encrypted with a passphrase, which is asked for or read from HOTSHOE_PASSPHRASE.")]
pub(super) struct Args {
    /// The site's name
    #[arg(long, value_name = "SITE")]
    site: String,
    /// The folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The address of the registry for devices and deployers; may be repeated [default: 127.0.0.1:7447, this machine only]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    server: Vec<Server>,
    /// A device to add; may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// The keys that may sign releases and statements (trust.toml) [default: a new key]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Leave the new signing key unencrypted, for tests, or if the machine protects it in another way
    #[arg(long, conflicts_with = "trust")]
    no_passphrase: bool,
}

/// An address of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    /// A host name or an IP address, without brackets.
    host: String,
    port: u16,
}

#[derive(Serialize)]
struct Report<'a> {
    site: &'a str,
    folder: &'a Path,
    connect: &'a [String],
    /// The configuration of its registry.
    registry: PathBuf,
    devices: Vec<Added>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    check_name("site", &args.site)?;
    if fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some())
        || args.out.is_file()
    {
        bail!(
            "{} already exists and is not overwritten; choose another --out",
            args.out.display()
        );
    }
    let passphrase = match (&args.trust, args.no_passphrase) {
        (None, false) => Some(passphrase::choose()?),
        _ => None,
    };
    // Create it under a temporary name, so that it appears complete or not at all.
    let parent = match args.out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let made = tempfile::Builder::new()
        .prefix(".site-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_str());
    let (site, mut devices) = make(args, made.path(), passphrase)?;
    fs::rename(made.path(), &args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    // The temporary folder was renamed, so there is nothing to remove.
    drop(made.keep());
    for added in &mut devices {
        added.bundle = args.out.join(BUNDLES).join(&added.device);
    }
    let report = Report {
        site: &args.site,
        folder: &args.out,
        connect: &site.file.connect,
        registry: args.out.join(REGISTRY).join("registry.toml"),
        devices,
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        report.show(args, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make(
    args: &Args,
    folder: &Path,
    passphrase: Option<&str>,
) -> anyhow::Result<(SiteDir, Vec<Added>)> {
    let default = [Server {
        host: DEFAULT_SERVER.to_owned(),
        port: DEFAULT_PORT,
    }];
    let servers = if args.server.is_empty() {
        &default[..]
    } else {
        &args.server
    };
    let site = SiteDir {
        folder: folder.to_owned(),
        file: SiteFile {
            site: args.site.clone(),
            connect: servers.iter().map(Server::endpoint).collect(),
        },
    };
    let write = |name: &str, text: &str, readers| {
        write_new(&folder.join(name), text.as_bytes(), readers, false)
    };
    let (authority, own) = Authority::new(&args.site)?;
    write(CA, &own.certificate, Readers::Anyone)?;
    write(CA_KEY, &own.key, Readers::Owner)?;
    certificate(folder, DEPLOYER, &authority.issue(DEPLOYER, &[])?, false)?;
    write_trusted(args, folder, passphrase)?;
    write(
        SITE_FILE,
        &format!(
            "# Site {}, by `hotshoe site init`.\n{}",
            args.site,
            toml::to_string(&site.file)?
        ),
        Readers::Anyone,
    )?;
    let registry = folder.join(REGISTRY);
    let hosts: Vec<String> = servers.iter().map(|server| server.host.clone()).collect();
    certificate(
        &registry,
        REGISTRY,
        &authority.issue(REGISTRY, &hosts)?,
        false,
    )?;
    for (name, readers) in [(CA, Readers::Anyone), (TRUST, Readers::Owner)] {
        let text = read_text(&folder.join(name))?;
        write(&format!("{REGISTRY}/{name}"), &text, readers)?;
    }
    let config = registry_config(&args.site, servers);
    write(
        &format!("{REGISTRY}/registry.toml"),
        &config,
        Readers::Anyone,
    )?;
    fs::create_dir_all(folder.join(DEVICES))
        .context("cannot create the folder of the devices' keys")?;
    let devices = args.device.iter();
    let devices = devices
        .map(|device| add(&site, device, None, &[], false))
        .collect::<Result<Vec<_>, _>>()?;
    write_rules(&site)?;
    Ok((site, devices))
}

/// Writes the keys that devices and the registry trust: those of a file, or a new one.
fn write_trusted(args: &Args, folder: &Path, passphrase: Option<&str>) -> anyhow::Result<()> {
    let out = folder.join(TRUST);
    if let Some(given) = &args.trust {
        let text = read_text(given)?;
        TrustRoot::parse(&text).with_context(|| format!("cannot use {}", given.display()))?;
        return write_new(&out, text.as_bytes(), Readers::Owner, false);
    }
    let name = SIGNING_KEY.trim_end_matches(".key");
    let pair = keygen(folder, name, passphrase, false)?;
    let keys = [(DEPLOYER.to_owned(), pair.public)];
    write_trust(&keys, 1, &["*"], &out, false).map(drop)
}

fn registry_config(site: &str, servers: &[Server]) -> String {
    let listen: Vec<String> = servers.iter().map(Server::listener).collect();
    // Several hosts may be names of one machine, which listens only once.
    let mut once = Vec::new();
    for endpoint in listen {
        if !once.contains(&endpoint) {
            once.push(endpoint);
        }
    }
    format!(
        "# The registry of site {site}, by `hotshoe site init`.\n\
         site = \"{site}\"\n\
         name = \"{REGISTRY}\"\n\
         data = \"data\"\n\
         trust = \"{TRUST}\"\n\
         \n\
         [zenoh]\n\
         mode = \"router\"\n\
         listen = {}\n\
         access-control = \"{ACL}\"       # `hotshoe site add` writes it again\n\
         \n\
         [zenoh.tls]\n\
         ca = \"{CA}\"\n\
         certificate = \"{REGISTRY}.pem\"\n\
         key = \"{REGISTRY}.key\"\n",
        toml::Value::from(once)
    )
}

impl Server {
    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// The endpoint that others connect to.
    fn endpoint(&self) -> String {
        format!("tls/{}", self.authority())
    }

    /// The endpoint that the registry listens on: all addresses, because the known one may be translated (NAT).
    fn listener(&self) -> String {
        if self.is_loopback() {
            return self.endpoint();
        }
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("tls/[::]:{}", self.port),
            _ => format!("tls/0.0.0.0:{}", self.port),
        }
    }
}

/// Parses `HOST`, `HOST:PORT`, `ADDRESS` or `[V6-ADDRESS]:PORT`.
fn server(text: &str) -> Result<Server, String> {
    let wrong =
        || "expected HOST or HOST:PORT, such as 192.0.2.7 or registry.example:7447".to_owned();
    let of = |host: &str, port| Server {
        host: host.to_owned(),
        port,
    };
    if text.parse::<IpAddr>().is_ok() {
        return Ok(of(text, DEFAULT_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (text, DEFAULT_PORT),
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let host = match bare {
        Some(inner) if inner.parse::<IpAddr>().is_ok() => inner,
        Some(_) => return Err(wrong()),
        None => host,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_address = host.parse::<IpAddr>().is_ok();
    if host.is_empty() || port == 0 || !(is_address || host.chars().all(plain)) {
        return Err(wrong());
    }
    Ok(of(host, port))
}

impl Report<'_> {
    fn show(&self, args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
        let folder = self.folder.display();
        terminal.print(format!(
            "site {}  {folder}  (keep it secret; its certificates are valid for {CERTIFICATE_YEARS} years)",
            self.site
        ))?;
        for device in &self.devices {
            terminal.print(format!(
                "device {}  {}",
                device.device,
                device.bundle.display()
            ))?;
        }
        if args.server.is_empty() {
            terminal.note("no --server was given: this site works on this machine only");
        }
        let mut steps = Vec::new();
        if self.devices.is_empty() {
            steps.push(format!(
                "hotshoe site add --site-dir {folder} --device NAME"
            ));
        }
        steps.push(format!(
            "hotshoe registry --config {}",
            self.registry.display()
        ));
        let bundle = self.devices.first().map_or_else(
            || self.folder.join(BUNDLES).join("NAME"),
            |device| device.bundle.clone(),
        );
        steps.push(format!(
            "hotshoe run --config {}",
            bundle.join("hotshoe.toml").display()
        ));
        if args.trust.is_none() {
            steps.push(format!("hotshoe sign RELEASE --key {folder}/{SIGNING_KEY}"));
            steps.push(format!("hotshoe publish RELEASE --site-dir {folder}"));
        } else {
            steps.push(format!(
                "hotshoe publish RELEASE --site-dir {folder} --key KEY"
            ));
        }
        terminal.print("\nNext, each on its own machine:")?;
        for step in steps {
            terminal.print(format!("  {step}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_server_has_a_host_and_a_port() {
        for (text, endpoint, listener) in [
            ("192.0.2.7", "tls/192.0.2.7:7447", "tls/0.0.0.0:7447"),
            (
                "registry.example:9000",
                "tls/registry.example:9000",
                "tls/0.0.0.0:9000",
            ),
            ("127.0.0.1:7000", "tls/127.0.0.1:7000", "tls/127.0.0.1:7000"),
            ("localhost", "tls/localhost:7447", "tls/localhost:7447"),
            ("2001:db8::1", "tls/[2001:db8::1]:7447", "tls/[::]:7447"),
            (
                "[2001:db8::1]:9000",
                "tls/[2001:db8::1]:9000",
                "tls/[::]:9000",
            ),
            ("[::1]:9000", "tls/[::1]:9000", "tls/[::1]:9000"),
        ] {
            let server = server(text).unwrap();
            assert_eq!(server.endpoint(), endpoint);
            assert_eq!(server.listener(), listener);
        }
        for wrong in [
            "", ":7447", "a:b", "a:0", "a:70000", "a/b", "a b", "[a]:1", "tls/a:1", "a\"b",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
