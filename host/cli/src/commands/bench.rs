use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_devkit::{find_root, set_up};

use crate::bench::report::{Counts, Report};
use crate::bench::{delivery, infer, languages, pipeline, swap};
use crate::demo::process::end_with_this_process;
use crate::logging;
use crate::terminal::Terminal;

/// Measure against the same work in plain Rust
///
/// Run it in a checkout of Hotshoe, on a machine that does nothing else. Both sides of a comparison are measured in the same
/// run, by turns, with the same loaded models; each figure is the median. `met` says whether the ratio, or the value where there
/// is nothing to compare with, is within the target.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe bench pipeline
  hotshoe bench swap --json
  HOTSHOE_PYTHON=venv/bin/python hotshoe bench pipeline --json
  hotshoe bench infer --python venv/bin/python --rounds 10
  hotshoe bench languages --yes

Some rows need a Python that can import what they compare with: pip install rapidocr-onnxruntime==1.4.4 for `pipeline`,
onnxruntime==1.31.1 and 'tritonclient[http,grpc]' for `infer`")]
pub struct Args {
    /// What to measure
    #[arg(value_name = "NAME")]
    name: Name,
    /// Fewer repetitions: a first impression
    #[arg(long)]
    quick: bool,
    /// Turns of each side; for `infer`
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The folder of the models, where it is not the checkout's own; for `infer`
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Fetch compilers that are missing, into HOTSHOE_TOOLS or target/tools; for `languages`
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Components against plain Rust: the angle classifier, the recogniser and the page; calls; the daemon's start
    Pipeline,
    /// A stream of samples while releases are delivered and rolled back; publish to first result
    Swap,
    /// Verified delivery against a plain Zenoh query; a changed model; many devices at one site
    Delivery,
    /// Models by tract and ONNX Runtime against ONNX Runtime's own package; the ways to a model; memory; starts
    Infer,
    /// The templates in every language: size, builds, loading, instances, calls, memory
    Languages,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    end_with_this_process()?;
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let root = find_root(&here)
        .context("a bench needs a checkout of Hotshoe: run it in the repository's folder")?;
    let environment = || set_up(&root, &terminal.progress()).context("cannot set up the bench");
    let report = match args.name {
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
        Name::Languages => {
            let outcome = languages::measure(&root, args.yes, args.quick, terminal)?;
            if !terminal.json {
                terminal.print(outcome.text(terminal))?;
                return Ok(ExitCode::SUCCESS);
            }
            outcome.report()
        }
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        terminal.print(report.text(terminal))?;
    }
    Ok(ExitCode::SUCCESS)
}
