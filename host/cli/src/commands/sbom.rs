mod bom;
mod program;
mod release;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_config::Config;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_store::read_live;
use hotshoe_trust::Time;

use crate::fleet::local::CONFIG;
use bom::Bom;
pub(crate) use program::SbomError;

/// List what this program and the live release are made of
///
/// Prints a bill of materials as JSON, in the format CycloneDX 1.6: this program with its digest and the crates that it was built from, and
/// the live release with each component, model and data file, their digests, and who signed it. It needs no daemon and no network, and
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe sbom --config hotshoe.toml > device.cdx.json

Example: the models of the live release, with their digests
  hotshoe sbom | jq -r '.components[] | select(.type == \"application\") | .components[] | select(.type == \"machine-learning-model\") | [.name, .hashes[0].content] | @tsv'

A program that was not built by `cargo auditable` does not know its crates; `compositions` then says `unknown`. Without a configuration,
only this program is listed. Exit code 1 if the program, the configuration or the data folder cannot be read.")]
pub(crate) struct Args {
    /// The device's configuration [default: hotshoe.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let mut bom = Bom::new(Time::now());
    if !program::add(&mut bom)? {
        terminal.note(
            "this program was not built by `cargo auditable`, so that its crates are not listed",
        );
    }
    if let Some(config) = configuration(args.config.as_deref())? {
        let live = read_live(&config.data)
            .with_context(|| format!("cannot read {}", config.data.display()))?;
        match live {
            Some(live) => release::add(&mut bom, &live, &config)?,
            None => terminal.note("no release is live"),
        }
    }
    terminal.json(&bom)?;
    Ok(ExitCode::SUCCESS)
}

/// The given configuration, or the one in the current folder.
fn configuration(named: Option<&Path>) -> anyhow::Result<Option<Config>> {
    let path = named.unwrap_or(Path::new(CONFIG));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let config = Config::load(path).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(Some(config))
}
