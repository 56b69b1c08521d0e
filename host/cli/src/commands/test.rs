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

use self::lines::LogLines;
use self::runner::{TestOptions, TestRun};
use super::build::{release_toml, tools};
use hotshoe_release::exit::Namer;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// The relative difference up to which two numbers are shown as equal.
const TOLERANCE: f64 = 1e-3;

/// Run a release's tests and recordings
///
/// Builds the components that have a `source`, packs and signs a temporary release, and loads it like a device that allows everything.
/// Then runs each [[tests]] entry of release.toml and each entry of the recordings, and shows all differences. A test passes if its
/// insight reaches `min-agreement`, as on a device. With `tolerance`, every number must also be within it, and the rest must be equal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe test my-policy
  hotshoe test my-policy --update      # make the current results the expected ones
  hotshoe test my-policy --watch       # run again whenever a file is saved

Example: the samples of a device
  hotshoe record --site lab --device line-4 --stage pre --count 20 -o line-4 --connect tcp/192.0.2.7:7447
  hotshoe test . --recorded line-4

Exit code 1 if a test failed, or none ran.")]
pub(crate) struct Args {
    /// The folder of the release.toml, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A recording of `hotshoe record` to run as well; may be repeated
    #[arg(long, value_name = "DIR")]
    recorded: Vec<PathBuf>,
    /// Show only tests with this text in their name. Earlier tests run too, since tests share the state of components
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the result of each [[tests]] entry to its `expected` file, if it differs
    #[arg(long)]
    update: bool,
    /// Run again whenever a source or a file of the release changes, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Keep the names of functions, so that the message of a trap has them
    #[arg(long)]
    debug: bool,
    /// Download missing build tools without asking
    #[arg(long)]
    yes: bool,
    /// The relative tolerance of every number [default: that of the test; 0.001 for shown differences]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    tolerance: Option<f64>,
    /// The device's name, if release.toml is for some devices only [default: one that matches]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The folder that components see at a path [default: an empty one]
    #[arg(long, value_name = "PATH=DIR", value_parser = folder)]
    folder: Vec<(String, PathBuf)>,
}

/// Why no test ran.
#[derive(Debug, Error)]
pub(crate) enum TestError {
    /// There are no tests.
    #[error(
        "{release_toml} has no [[tests]]{}; add one, or give --recorded DIR",
        filtered(filter)
    )]
    NoTests {
        /// The file.
        release_toml: String,
        /// The value of `--filter`.
        filter: Option<String>,
    },
}

impl TestError {
    /// A stable error code.
    pub(crate) const fn name(&self) -> &'static str {
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

/// `names` has the stable names of this program's errors, for those that `--watch` shows.
pub(crate) fn run(args: Args, terminal: &Terminal, names: Namer) -> anyhow::Result<ExitCode> {
    let lines = LogLines::default();
    logging::init_with("warn", lines.clone())?;
    let options = TestOptions {
        release_toml: release_toml(&args.dir),
        recorded: args.recorded,
        filter: args.filter,
        update: args.update,
        tolerance: args.tolerance,
        device: args.device,
        debug: args.debug,
        folders: args.folder.into_iter().collect::<BTreeMap<_, _>>(),
        engine: Engine::new(EngineOptions::default()).context("cannot start the engine")?,
        lines,
    };
    if args.watch {
        return watch::run(&options, args.yes, terminal, names);
    }
    let run = once(&options, args.yes, terminal)?;
    report::print(&run, terminal)?;
    Ok(if run.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the components with sources, and runs all tests.
fn once(options: &TestOptions, yes: bool, terminal: &Terminal) -> anyhow::Result<TestRun> {
    let manifest = Manifest::read(&options.release_toml)?;
    let mut jobs = build::jobs(&manifest, None)?;
    if !jobs.is_empty() {
        let progress = terminal.progress();
        let tools = tools(yes, &progress)?;
        for job in &mut jobs {
            job.project.debug = options.debug;
            build::build(job, &tools, &progress)?;
        }
    }
    runner::run(options, &manifest.release)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share >= 0.0 => Ok(share),
        _ => Err("expected 0 or more, such as 0.001".to_owned()),
    }
}

fn folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((path, folder)) if path.starts_with('/') && !folder.is_empty() => {
            Ok((path.to_owned(), folder.into()))
        }
        _ => Err("expected PATH=DIR, such as /models=models".to_owned()),
    }
}
