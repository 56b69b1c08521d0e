use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotshoe_author::Tools;
use hotshoe_author::manifest::Manifest;
use hotshoe_devkit::Progress;
use serde::Serialize;
use serde_json::Value;

use super::build::{build_release, release_toml, tools};
use crate::dev::{Device, Sample, SampleResult};
use crate::watch::Changes;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{logging, signals};

/// How often to check for Ctrl-C while nothing changes.
const LOOK: Duration = Duration::from_millis(200);
/// The most characters of a result on one line; --json shows all of it.
const LINE: usize = 240;

/// Rebuild, swap and test on every change
///
/// Starts a daemon on this machine. On every change below DIR it builds the components, swaps them in while the daemon serves, and shows
/// the results of the samples in release.toml's [[tests]]. A failed build does not change the daemon. Signs with a temporary key
/// `development`, which no other device trusts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe new count-people --lang rust --world policy
  hotshoe dev count-people

Example: on samples of your own
  hotshoe dev count-people --sample street.jpg --sample square.jpg

Example: record what it serves, if release.toml has a [data-contract]
  hotshoe record --config count-people/.hotshoe/dev/hotshoe.toml --device dev --stage post --count 1 -o seen

The log of the daemon and of its components is .hotshoe/dev/daemon.log beside release.toml. Ctrl-C ends the command.
With --json, one line with an object per round.")]
pub(crate) struct Args {
    /// The folder of the release.toml, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A sample to run after every change, instead of the release's tests; may be repeated
    #[arg(long, value_name = "FILE")]
    sample: Vec<PathBuf>,
    /// Download missing tools without asking
    #[arg(long)]
    yes: bool,
    /// Keep the names of functions, so that the message of a trap has them
    #[arg(long)]
    debug: bool,
    /// Number of rounds; exit code 1 if the last one failed [default: until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
}

/// One change and its outcome.
#[derive(Serialize)]
struct Round {
    /// From 1.
    round: u32,
    /// How long the build took, in milliseconds.
    build_ms: u64,
    /// How long packing, signing, delivery and the swap took, in milliseconds. None if the build failed.
    swap_ms: Option<u64>,
    /// From the change to the first result, in milliseconds. None without a result.
    first_result_ms: Option<u64>,
    /// Why the daemon still serves the release before.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    samples: Vec<SampleResult>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    signals::on_first(move |_| flag.store(true, Ordering::Relaxed))?;
    let progress = if terminal.json {
        Progress::silent()
    } else {
        terminal.progress()
    };
    let mut session = DevSession {
        manifest: release_toml(&args.dir),
        tools: tools(args.yes, &progress)?,
        own: args.sample,
        progress,
        device: None,
        debug: args.debug,
    };
    let folder = session
        .manifest
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned();
    let folder = if folder.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        folder
    };
    let changes = Changes::below(&folder)?;
    let mut number = 0;
    let mut since = Instant::now();
    let mut failed = false;
    while !ended.load(Ordering::Relaxed) {
        number += 1;
        let round = session.round(number, since);
        failed = round.error.is_some();
        show(&round, session.serves(), terminal)?;
        if args.rounds.is_some_and(|most| number >= most) {
            break;
        }
        if !terminal.json {
            terminal.note(terminal.dim("waiting for a change"));
        }
        while !ended.load(Ordering::Relaxed) {
            if changes.next(LOOK).is_some() {
                since = Instant::now();
                break;
            }
        }
    }
    if let Some(device) = session.device {
        device.stop()?;
    }
    // With --rounds, the exit code is that of the last round; Ctrl-C is not a failure.
    Ok(if failed && args.rounds.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The state that lasts from round to round.
struct DevSession {
    manifest: PathBuf,
    tools: Tools,
    own: Vec<PathBuf>,
    progress: Progress,
    device: Option<Device>,
    debug: bool,
}

impl DevSession {
    /// Whether any release serves.
    fn serves(&self) -> bool {
        self.device.as_ref().is_some_and(|it| it.client().is_some())
    }

    fn round(&mut self, number: u32, since: Instant) -> Round {
        let mut round = Round {
            round: number,
            build_ms: 0,
            swap_ms: None,
            first_result_ms: None,
            error: None,
            samples: Vec::new(),
        };
        if let Err(error) = self.try_round(&mut round, since) {
            round.error = Some(format!("{error:#}"));
        }
        round
    }

    fn try_round(&mut self, round: &mut Round, since: Instant) -> anyhow::Result<()> {
        let started = Instant::now();
        let manifest = Manifest::read(&self.manifest)?;
        let built = build_release(&manifest, None, self.debug, &self.tools, &self.progress);
        round.build_ms = millis(started.elapsed());
        built?;
        let device = match &mut self.device {
            Some(device) => device,
            none => none.insert(Device::new(&self.manifest)?),
        };
        round.swap_ms = Some(millis(device.serve()?));
        let Some((client, status)) = device.client() else {
            return Ok(());
        };
        let folder = self.manifest.parent().unwrap_or(Path::new("."));
        let samples = if self.own.is_empty() {
            Sample::of_tests(&manifest.release, folder)
        } else {
            self.own.iter().map(|file| Sample::of_file(file)).collect()
        };
        for sample in samples {
            round.samples.push(sample.show(client, status)?);
            round
                .first_result_ms
                .get_or_insert_with(|| millis(since.elapsed()));
        }
        Ok(())
    }
}

fn show(round: &Round, serves: bool, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json_line(round);
    }
    let mut line = format!("round {}: built in {} ms", round.round, round.build_ms);
    if let Some(ms) = round.swap_ms {
        line.push_str(&format!(", serving after {ms} ms"));
    }
    if let Some(ms) = round.first_result_ms {
        line.push_str(&format!(", first result {ms} ms after the change"));
    }
    terminal.print(terminal.bold(&line))?;
    if let Some(error) = &round.error {
        terminal.print(terminal.bad(error))?;
        if round.swap_ms.is_none() {
            terminal.print(if serves {
                "the previous build still serves"
            } else {
                "nothing serves yet"
            })?;
        }
    }
    for shown in &round.samples {
        let text = match (&shown.result, &shown.error) {
            (Some(result), _) => terminal.good(&shortened(result)),
            (None, error) => terminal.bad(error.as_deref().unwrap_or("no answer")),
        };
        terminal.print(format!("  {}  {} ms  {text}", shown.sample, shown.ms))?;
    }
    Ok(())
}

/// Insight and actions on one line.
fn shortened(result: &Value) -> String {
    let part = |key: &str| result.get(key).map(Value::to_string).unwrap_or_default();
    let whole = format!("{} {}", part("insight"), part("actions"));
    if whole.chars().count() <= LINE {
        return whole;
    }
    whole.chars().take(LINE).chain(" ...".chars()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
