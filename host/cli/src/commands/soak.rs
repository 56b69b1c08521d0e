mod aging;
mod judge;
mod load;
mod page;
mod site;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use hotshoe_config::DEFAULT_MAX_SAMPLE_BYTES;
use hotshoe_engine::Sample;
use hotshoe_release::logging;
use hotshoe_release::machine::Machine;
use hotshoe_release::signals;
use hotshoe_release::terminal::Terminal;
use serde::Serialize;

use super::exec::read;
use crate::minutes::minutes;
use judge::Verdict;
use load::LoadReport;
use site::Workshop;

/// Run a release under load for long, and check that nothing grows
///
/// Starts a daemon with the release in a temporary folder, loads it to 95% of what it can, swaps the release each minute, rolls back each ten,
/// lets sources come and go, and keeps the page open. It records memory, file handles, threads, disk and latencies, and judges whether they
/// grow over the second half. With --swaps, it swaps as fast as possible instead, and compares the daemon with a fresh one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe soak examples/label-reader/release.toml --sample page.png --minutes 20 --json > soak.json

Example: what 10,000 swaps leave behind
  hotshoe soak light.toml --sample page.png --swaps 10000 --json

With --json, `points` over time and `verdicts`. A run of less than five minutes is too short to judge growth. Exit code 1 if a
verdict is bad, or the daemon ends (error `daemon_ended`) or gives no result (`no_result`). A signal such as Ctrl-C ends a run
under load early, which is then judged by what there is; with --swaps, it ends it with the error `interrupted`.")]
pub(crate) struct Args {
    /// The release.toml of the release
    #[arg(value_name = "RELEASE.TOML", default_value = "release.toml")]
    release: PathBuf,
    /// A sample; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    sample: Vec<PathBuf>,
    /// Length in minutes
    #[arg(long, value_name = "N", default_value = "20", value_parser = minutes, conflicts_with = "swaps")]
    minutes: Duration,
    /// Number of swaps, as fast as possible, in place of load
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    swaps: Option<u64>,
}

/// Why a soak has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoakError {
    /// The daemon ended by itself.
    #[error("the daemon ended by itself; its last log lines are: {log}")]
    DaemonEnded {
        /// The end of its log.
        log: String,
    },
    /// A signal ended it before there was anything to compare.
    #[error("a signal ended the run after {swaps} swaps; nothing is compared")]
    Interrupted {
        /// Swaps that were done.
        swaps: u64,
    },
    /// No sample got a result.
    #[error(
        "no sample got a result, the first one with {reason}; correct the release or the samples"
    )]
    NoResult {
        /// The first failure.
        reason: String,
    },
}

impl SoakError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::DaemonEnded { .. } => "daemon_ended",
            Self::Interrupted { .. } => "interrupted",
            Self::NoResult { .. } => "no_result",
        }
    }
}

#[derive(Serialize)]
struct Report<T> {
    machine: Machine,
    #[serde(flatten)]
    measured: T,
    verdicts: Vec<Verdict>,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    signals::on_first(move |_| stop.store(true, Ordering::Release))?;
    let samples: Vec<Sample> = args
        .sample
        .iter()
        .map(|path| read(path, None, DEFAULT_MAX_SAMPLE_BYTES))
        .collect::<anyhow::Result<_>>()
        .context("cannot use the samples")?;
    let mut workshop = Workshop::new(&args.release, args.swaps.is_some())?;
    if let Some(swaps) = args.swaps {
        let aged = aging::run(&mut workshop, &samples, swaps, &stopped, terminal)?;
        let verdicts = judge::aging(&aged);
        return finish(aged, verdicts, terminal);
    }
    let loaded: LoadReport = load::run(&mut workshop, &samples, args.minutes, &stopped, terminal)?;
    let verdicts = judge::load(&loaded);
    finish(loaded, verdicts, terminal)
}

fn finish<T: Serialize>(
    measured: T,
    verdicts: Vec<Verdict>,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    let is_good = verdicts.iter().all(|it| it.is_good);
    let report = Report {
        machine: Machine::here(),
        measured,
        verdicts,
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        terminal.print(report.machine.text())?;
        for Verdict {
            what,
            is_good,
            found,
        } in &report.verdicts
        {
            let state = if *is_good {
                terminal.good("ok  ")
            } else {
                terminal.bad("fail")
            };
            terminal.print(format!("{state}  {what:<14} {found}"))?;
        }
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
