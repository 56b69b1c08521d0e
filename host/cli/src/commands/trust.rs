mod floor;
mod publish;
mod sign;

use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::trust_file::TrustFile;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Create or update trust.toml, the keys that a device trusts
///
/// Writes public keys (ECDSA P-256 or Ed25519, in PEM) into a trust.toml. Devices receive its next version as an update that the signers of
/// both versions sign: `hotshoe trust sign` and `hotshoe trust publish`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
#[command(after_help = "\
Example: two of three must sign
  hotshoe trust --key alice=alice.pub --key bob=bob.pub --key carol=carol.pub --threshold 2 --out trust.toml

Example: a key was stolen, and signed `labels` with generation 9999999999
  hotshoe trust --key alice=alice.pub --key bob=bob.pub --version 2 --reset labels=12 --out new.toml
  hotshoe trust sign new.toml --key alice.key --out update.json --current trust.toml
  hotshoe trust publish update.json --site lab --connect tcp/192.0.2.7:7447

trust.toml:
  version = 1                      # the next one is 2
  threshold = 2
  [reset]                          # optional: floors that this version sets
  labels = 12
  [keys.alice]
  scheme = \"ecdsa-p256-sha256\"   # or \"ed25519\"
  releases = [\"*\"]               # the names of releases that this key may sign; * matches anything
  rollouts = [\"labels\"]          # releases whose rollouts this key may also advance, pause and abort; default: none
  rotates = true                   # whether it counts for the next version; default: if it may sign \"*\"
  public-key = \"\"\"...\"\"\"")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Floor(floor::Args),
    Sign(sign::Args),
    Publish(publish::Args),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// A name and a public key to trust; may be repeated
    #[arg(long = "key", value_name = "NAME=FILE", required = true, value_parser = named_file)]
    keys: Vec<(String, PathBuf)>,
    /// Number of different keys that must sign a release
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threshold: u16,
    /// The names of releases that the keys may sign (globs); may be repeated
    #[arg(long = "release", value_name = "GLOB", default_values_t = ["*".to_owned()])]
    releases: Vec<String>,
    /// The version of the file; devices accept only the one after theirs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    version: u64,
    /// The new lowest generation of a release, after a stolen key signed one that is too high; may be repeated
    #[arg(long = "reset", value_name = "NAME=GENERATION", value_parser = reset)]
    resets: Vec<(String, u64)>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "trust.toml")]
    out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    trust: &'a Path,
    version: u64,
    threshold: usize,
    /// Fingerprints by name.
    keys: BTreeMap<String, String>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let Some(action) = args.action else {
        return write(&args.file, terminal);
    };
    logging::init("error")?;
    match action {
        Action::Floor(args) => floor::run(&args, terminal),
        Action::Sign(args) => sign::run(&args, terminal),
        Action::Publish(args) => publish::run(&args, terminal),
    }
}

fn write(args: &FileArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let releases: Vec<&str> = args.releases.iter().map(String::as_str).collect();
    let trust = TrustFile {
        keys: &args.keys,
        threshold: args.threshold.into(),
        releases: &releases,
        version: args.version,
        resets: &args.resets,
    };
    let root = trust.write(&args.out, args.force)?;
    let report = Report {
        trust: &args.out,
        version: root.version(),
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
        "{}: {} of {} keys must sign",
        args.out.display(),
        report.threshold,
        report.keys.len()
    ))?;
    for (name, fingerprint) in &report.keys {
        terminal.print(format!("  {name}  {}", terminal.dim(fingerprint)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        _ => Err("expected NAME=FILE, such as alice=keys/alice.pub".to_owned()),
    }
}

fn reset(text: &str) -> Result<(String, u64), String> {
    let wrong = || "expected NAME=GENERATION, such as labels=12".to_owned();
    let (name, generation) = text.split_once('=').ok_or_else(wrong)?;
    let generation = generation.parse().map_err(|_| wrong())?;
    if name.is_empty() {
        return Err(wrong());
    }
    Ok((name.to_owned(), generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_name_and_a_generation() {
        assert_eq!(reset("labels=12"), Ok(("labels".to_owned(), 12)));
        for wrong in ["labels", "=12", "labels=", "labels=-1", "labels=x"] {
            assert!(reset(wrong).is_err(), "{wrong}");
        }
    }
}
