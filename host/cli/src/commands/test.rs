mod cases;
mod differ;
mod lines;
mod report;
mod runner;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_author::build;
use hotshoe_author::manifest::Manifest;
use hotshoe_engine::{Engine, EngineOptions};
use thiserror::Error;

use self::lines::Lines;
use self::runner::{TestOptions, TestRun};
use super::build::{release_toml, tools};
use crate::logging;
use crate::terminal::Terminal;

/// How far two numbers may lie apart to be shown as equal.
const TOLERANCE: f64 = 1e-3;

/// Try a release on its tests, and on what was recorded
///
/// Builds the components that have a `source`, packs the release into a folder that goes away, signs it with a key that never leaves this
/// process, and loads it as a device would that allows all that it asks for. Then each [[tests]] entry of release.toml, and each entry of the
/// recordings, is run and compared with what is expected. A test passes where its insight agrees by `min-agreement`, as on a device;
/// where `tolerance` is given, every number must also lie within it and all else be equal. What differs is shown in any case.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe test my-policy
  hotshoe test my-policy --update      # take what it does now for what is expected
  hotshoe test my-policy --watch       # again whenever a file is saved

Example: what a device saw
  hotshoe record --site lab --device line-4 --stage pre --count 20 -o line-4 --connect tcp/192.0.2.7:7447
  hotshoe test . --recorded line-4

Exit code 1 if a test failed, or none ran.")]
pub struct Args {
    /// The folder of the release.toml, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A recording to try as well, as `hotshoe record` writes it; may be repeated
    #[arg(long, value_name = "DIR")]
    recorded: Vec<PathBuf>,
    /// Only tests with this in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write what each [[tests]] entry gives now to its `expected` file, where it differs
    #[arg(long)]
    update: bool,
    /// Run again whenever a source or a file of the release changes, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Fetch what building needs without asking
    #[arg(long)]
    yes: bool,
    /// How far any number may be off, as a share of it, for a test to pass [default: what the test says; 0.001 for what is shown]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    tolerance: Option<f64>,
    /// The device's name, where release.toml is for some devices alone [default: one that fits]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The folder that components see under a path [default: an empty one]
    #[arg(long, value_name = "PATH=DIR", value_parser = folder)]
    folder: Vec<(String, PathBuf)>,
}

/// Why nothing was tried.
#[derive(Debug, Error)]
pub enum TestError {
    /// There is nothing to try.
    #[error(
        "{release_toml} has no [[tests]]{}; add one, or give --recorded DIR",
        filtered(filter)
    )]
    NoTests {
        /// The file.
        release_toml: String,
        /// What was asked for.
        filter: Option<String>,
    },
}

impl TestError {
    /// A stable word for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoTests { .. } => "no_tests",
        }
    }
}

fn filtered(filter: &Option<String>) -> String {
    match filter {
        Some(filter) => format!(" with `{filter}` in the name"),
        None => String::new(),
    }
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let lines = Lines::default();
    logging::init_with("warn", lines.clone())?;
    let options = TestOptions {
        release_toml: release_toml(&args.dir),
        recorded: args.recorded,
        filter: args.filter,
        update: args.update,
        tolerance: args.tolerance,
        device: args.device,
        folders: args.folder.into_iter().collect::<BTreeMap<_, _>>(),
        engine: Engine::new(EngineOptions::default()).context("cannot start the engine")?,
        lines,
    };
    if args.watch {
        return watch::run(&options, args.yes, terminal);
    }
    let run = once(&options, args.yes, terminal)?;
    report::print(&run, terminal)?;
    Ok(if run.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what there are sources of, and tries all.
fn once(options: &TestOptions, yes: bool, terminal: &Terminal) -> anyhow::Result<TestRun> {
    let manifest = Manifest::read(&options.release_toml)?;
    let jobs = build::jobs(&manifest, None)?;
    if !jobs.is_empty() {
        let progress = terminal.progress();
        let tools = tools(yes, &progress)?;
        for job in &jobs {
            build::build(job, &tools, &progress)?;
        }
    }
    runner::run(options, &manifest.release)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share >= 0.0 => Ok(share),
        _ => Err("a tolerance is 0 or more, such as 0.001".to_owned()),
    }
}

fn folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((path, folder)) if path.starts_with('/') && !folder.is_empty() => {
            Ok((path.to_owned(), folder.into()))
        }
        _ => Err("a folder is PATH=DIR, such as /models=models".to_owned()),
    }
}
