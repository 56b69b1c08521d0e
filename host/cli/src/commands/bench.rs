use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_devkit::{find_root, set_up};

use crate::bench::report::{Counts, Report};
use crate::bench::{delivery, infer, languages, pipeline, swap};
use crate::demo::process::end_with_this_process;
use crate::logging;
use crate::terminal::Terminal;

/// Compare Hotshoe's speed with plain Rust and other runtimes
///
/// Run it in a checkout of Hotshoe, on an idle machine. Both sides of a comparison run alternately, in the same run, with the same
/// loaded models; each figure is the median. `met` says whether the ratio, or the value of a row without a comparison, is within the
/// target.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe bench pipeline
  hotshoe bench swap --json
  HOTSHOE_PYTHON=venv/bin/python hotshoe bench pipeline --json
  hotshoe bench infer --python venv/bin/python --rounds 10
  hotshoe bench languages --yes

Some rows need a Python with the packages that they compare with: pip install rapidocr-onnxruntime==1.4.4 for `pipeline`,
onnxruntime==1.31.1 and 'tritonclient[http,grpc]' for `infer`")]
pub struct Args {
    /// The benchmark
    #[arg(value_name = "NAME")]
    name: Name,
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
    /// The templates in every language: size, builds, loading, instances, calls, memory
    Languages,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    end_with_this_process()?;
    let here = std::env::current_dir().context("cannot determine the current folder")?;
    let root = find_root(&here).context(
        "`hotshoe bench` needs a checkout of Hotshoe; run it in the repository's folder",
    )?;
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
