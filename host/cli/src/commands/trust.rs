use crate::files::{Readers, read_text, write_new};
use crate::terminal::Terminal;
use anyhow::{Context, bail};
use hotshoe_trust::{PublicKey, Scheme, TrustRoot};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write trust.toml: whose signatures a device accepts
///
/// Joins public keys (ECDSA P-256 or Ed25519, in PEM) into the file that tells a device whom to trust.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: two of three must sign
  hotshoe trust --key alice=alice.pub --key bob=bob.pub --key carol=carol.pub --threshold 2 --out trust.toml

trust.toml:
  threshold = 2
  [keys.alice]
  scheme = \"ecdsa-p256-sha256\"   # or \"ed25519\"
  releases = [\"*\"]               # the names of releases that this key may sign; * stands for anything
  public-key = \"\"\"...\"\"\"")]
pub struct Args {
    /// A key to trust, and what to call it; may be repeated
    #[arg(long = "key", value_name = "NAME=FILE", required = true, value_parser = named_file)]
    keys: Vec<(String, PathBuf)>,
    /// How many different keys must have signed a release
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threshold: u16,
    /// The names of releases that the keys may sign (globs); may be repeated
    #[arg(long = "release", value_name = "GLOB", default_values_t = ["*".to_owned()])]
    releases: Vec<String>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "trust.toml")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    trust: &'a Path,
    threshold: usize,
    /// Fingerprints by name.
    keys: BTreeMap<String, String>,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let releases: Vec<&str> = args.releases.iter().map(String::as_str).collect();
    let root = write_trust(
        &args.keys,
        args.threshold.into(),
        &releases,
        &args.out,
        args.force,
    )?;
    let report = Report {
        trust: &args.out,
        threshold: root.threshold(),
        keys: root
            .keys()
            .map(|key| (key.name().to_owned(), key.key().fingerprint().to_string()))
            .collect(),
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{}: {} of {} must have signed",
        args.out.display(),
        report.threshold,
        report.keys.len()
    ))?;
    for (name, fingerprint) in &report.keys {
        terminal.print(format!("  {name}  {}", terminal.dim(fingerprint)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a `trust.toml` of the public keys in some files, and returns what a device will read in it.
pub fn write_trust(
    keys: &[(String, PathBuf)],
    threshold: usize,
    releases: &[&str],
    out: &Path,
    force: bool,
) -> anyhow::Result<TrustRoot> {
    let mut text = format!(
        "# Whose signatures this device accepts, and how many it needs.\nthreshold = {threshold}\n"
    );
    let mut names = std::collections::BTreeSet::new();
    for (name, path) in keys {
        if !names.insert(name) {
            bail!("two keys are called `{name}`; give each its own name");
        }
        text.push('\n');
        text.push_str(&TrustRoot::key_entry(name, &public_key(path)?, releases));
    }
    // What a device would refuse is not written.
    let root = TrustRoot::parse(&text).context("these keys make no usable trust.toml")?;
    write_new(out, text.as_bytes(), Readers::Anyone, force)?;
    Ok(root)
}

/// Reads a public key of either scheme.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = read_text(path)?;
    PublicKey::from_pem(&pem, Scheme::EcdsaP256Sha256)
        .or_else(|first| PublicKey::from_pem(&pem, Scheme::Ed25519).map_err(|_| first))
        .with_context(|| format!("{} is no ECDSA P-256 or Ed25519 public key", path.display()))
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        _ => Err("a key is NAME=FILE, as in alice=keys/alice.pub".to_owned()),
    }
}
