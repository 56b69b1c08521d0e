//! `hotshoe bench`: set up, measure alternately, report.
#![forbid(unsafe_code)]

mod calls;
mod delivery;
mod first_result;
mod fleet;
mod governor;
mod infer;
mod languages;
mod lines;
mod modes;
mod neighbours;
mod outbox;
mod page;
mod pipeline;
mod private;
mod process;
mod push;
mod python;
mod reference;
mod report;
mod setup;
mod site;
mod start;
mod stream;
mod swap;
mod throughput;
mod timings;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use hotshoe_author::build::ComponentError;
use hotshoe_author::{NewError, ToolError};
use hotshoe_devkit::{find_root, set_up};
use hotshoe_oip::{Bound, OipError, Server};
use hotshoe_release::daemon_process::end_with_this_process;
use hotshoe_release::exit::find;
use hotshoe_release::serve::{Endpoint, Renew, serve};
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{exit, logging};

use crate::report::{Counts, Report};

/// Compare Hotshoe's speed with plain Rust and other runtimes
///
/// Run it in a checkout of Hotshoe, on an idle machine. Both sides of a comparison run alternately, in the same run, with the same
/// loaded models; each figure is the median. `met` says whether the ratio, or the value of a row without a comparison, is within the
/// target.
#[derive(Debug, Parser)]
#[command(name = "hotshoe-bench", bin_name = "hotshoe bench", version)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
#[command(after_help = "\
Example:
  hotshoe bench pipeline
  hotshoe bench swap --json
  HOTSHOE_PYTHON=venv/bin/python hotshoe bench pipeline --json
  hotshoe bench infer --python venv/bin/python --rounds 10
  hotshoe bench languages --yes
  hotshoe bench outbox --json

Some rows need a Python with the packages that they compare with: pip install rapidocr-onnxruntime==1.4.4 for `pipeline`,
onnxruntime==1.31.1 and 'tritonclient[http,grpc]' for `infer`")]
struct Cli {
    /// The benchmark
    #[arg(value_name = "NAME", required = true)]
    name: Option<Name>,
    /// Fewer repetitions, for a first impression
    #[arg(long)]
    quick: bool,
    /// Rounds per side, for `infer`
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The folder of the models, for `infer` [default: the checkout's]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Download missing compilers into HOTSHOE_TOOLS or target/tools, for `languages`
    #[arg(long)]
    yes: bool,
    /// The Python interpreter that has the packages to compare with
    #[arg(
        long,
        value_name = "FILE",
        env = "HOTSHOE_PYTHON",
        default_value = "python3"
    )]
    python: PathBuf,
    /// Print results and errors as JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Debug, Subcommand)]
enum Child {
    /// Run the daemon, as the child process that a benchmark starts
    #[command(hide = true)]
    Run {
        /// The device's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Put messages back by plain Zenoh, as the child process that `throughput` compares with
    #[command(hide = true)]
    Echo {
        /// The endpoint to listen on
        #[arg(long, value_name = "ENDPOINT")]
        listen: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Components and plain Rust: the angle classifier, the recogniser and the page; calls; the daemon's start
    Pipeline,
    /// A stream of samples during delivery and rollback of releases; publish to first result
    Swap,
    /// Verified delivery and a plain Zenoh query; a changed model; many devices at one site
    Delivery,
    /// Models on tract and ONNX Runtime, and ONNX Runtime's own package; the call paths to a model; memory; starts
    Infer,
    /// A push to an OCI registry, and skopeo's of the same release: requests and time
    Push,
    /// The outbox against a file with the same syncs and SQLite: records per second, latency, size, recovery, replay
    Outbox,
    /// Encryption at rest and figures with noise: records per second, blobs, the start, the cost of a figure
    Private,
    /// Small samples from put to result and a plain Zenoh echo: rate, latency, processor time; a thousand sources; memory at rest
    Throughput,
    /// Sensors and plans: their cost, the time to a mode in force, a stream while modes change
    Governor,
    /// A simulated fleet of 10,000 devices: a whole rollout, a bad release, a reversal, a year of weekly releases; memory and cost for each device
    Fleet,
    /// The templates in every language: size, builds, loading, instances, calls, memory
    Languages,
}

/// The Open Inference Protocol of the daemon, to measure calls over it.
const OIP: Endpoint<Bound, Server> = Endpoint {
    bind: |config| Ok(Bound::bind(config)?),
    serve: Bound::serve,
    renew: |server, config| {
        let renewal = server.renew(config)?;
        Ok(renewal.map(|it| -> Renew { Box::new(|| it.apply()) }))
    },
    close: Server::close,
    join: Server::join,
};

fn main() -> ExitCode {
    // First: this process may be a compile worker.
    if let Some(done) = hotshoe_engine::compile_worker() {
        return done;
    }
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.json);
    let done = match &cli.child {
        Some(Child::Run { config }) => serve(config, &OIP, &terminal).map(drop),
        Some(Child::Echo { listen }) => throughput::serve(listen.clone()),
        None => bench(&cli, &terminal),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(&error, error_name, &terminal),
    };
    logging::flush();
    code
}

/// The stable names of errors of crates that only this program has.
fn error_name<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a str> {
    None.or_else(|| find::<NewError>(cause).map(NewError::name))
        .or_else(|| find::<ComponentError>(cause).map(ComponentError::name))
        .or_else(|| find::<ToolError>(cause).map(ToolError::name))
        .or_else(|| find::<OipError>(cause).map(OipError::name))
}

fn bench(args: &Cli, terminal: &Terminal) -> anyhow::Result<()> {
    let name = args.name.context("give the name of a benchmark")?;
    logging::init("error")?;
    end_with_this_process()?;
    let here = std::env::current_dir().context("cannot determine the current folder")?;
    let root = find_root(&here).context(
        "`hotshoe bench` needs a checkout of Hotshoe; run it in the repository's folder",
    )?;
    let environment = || set_up(&root, &terminal.progress()).context("cannot set up the bench");
    let report = match name {
        Name::Pipeline => {
            let rows = pipeline::measure(&environment()?, args.quick, &args.python, terminal)?;
            Report::new("pipeline", Counts::new(), rows)
        }
        Name::Swap => {
            let (counts, rows) = swap::measure(&environment()?, args.quick, terminal)?;
            Report::new("swap", counts, rows)
        }
        Name::Delivery => {
            let (counts, rows) = delivery::measure(&environment()?, args.quick, terminal)?;
            Report::new("delivery", counts, rows)
        }
        Name::Infer => {
            let plan = infer::Plan {
                models: args.models.as_deref(),
                python: &args.python,
                rounds: args.rounds,
                quick: args.quick,
            };
            let (counts, rows) = infer::measure(&environment()?, &plan, terminal)?;
            Report::new("infer", counts, rows)
        }
        Name::Push => {
            let rows = push::measure(&environment()?, args.quick, terminal)?;
            Report::new("push", Counts::new(), rows)
        }
        Name::Outbox => {
            let (counts, rows) = outbox::measure(&root, args.quick)?;
            Report::new("outbox", counts, rows)
        }
        Name::Private => {
            let (counts, rows) = private::measure(&environment()?, args.quick)?;
            Report::new("private", counts, rows)
        }
        Name::Governor => {
            let (counts, rows) = governor::measure(&environment()?, args.quick, terminal)?;
            Report::new("governor", counts, rows)
        }
        Name::Throughput => {
            let (counts, rows) = throughput::measure(&environment()?, args.quick, terminal)?;
            Report::new("throughput", counts, rows)
        }
        Name::Fleet => {
            let (counts, rows) = fleet::measure(args.quick)?;
            Report::new("fleet", counts, rows)
        }
        Name::Languages => {
            let outcome = languages::measure(&root, args.yes, args.quick, terminal)?;
            if !terminal.json {
                terminal.print(outcome.text(terminal))?;
                return Ok(());
            }
            outcome.report()
        }
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        terminal.print(report.text(terminal))?;
    }
    Ok(())
}
