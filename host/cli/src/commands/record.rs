mod error;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_daemon::media::extension;
use hotshoe_daemon::recording::{Counts, EndReason, NextItem, Opened};
use hotshoe_link::Client;
use hotshoe_store::{
    MAX_RECORDED, RECORDING_FILE, RecordStage, RecordingError, RecordingHead, RecordingWriter,
};
use hotshoe_trust::RecordKind;
use serde::Serialize;

use self::session::Session;
use crate::fleet::reach::ReachArgs;
use crate::signals;
use crate::terminal::Terminal;

pub use self::error::RecordError;

/// Record what a device is given and what it makes of it
///
/// Takes real samples, tensors and insights from a running daemon and writes them to a folder, for `hotshoe test --recorded`, for
/// [[tests]] of release.toml, and for `hotshoe model compare --inputs`. Only what both the device's hotshoe.toml ([record] allow) and the
/// release's data contract ([data-contract] record) allow is given out. The device never waits: what finds no room is counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe record --site lab --device line-4 --stage pre --count 100 -o line-4 --connect tcp/192.0.2.7:7447
  hotshoe test . --recorded line-4
  hotshoe model compare detect.onnx detect-int8.onnx --inputs line-4/inputs/detect

What is recorded at each stage, and so what it can be replayed from:
  sample   the samples and the insights
  pre      also what the preprocessor made, and what the first model was given
  infer    also what the models made, and what each was given
  post     the insights and actions alone, to try policies on

On the device, in hotshoe.toml:         In release.toml:
  [record]                                [data-contract]
  allow = [\"sample\", \"insight\"]           record = [\"sample\", \"insight\"]

It ends after --count samples, after --timeout, or with Ctrl-C, with what there is. Exit code 1 if that is nothing.")]
pub struct Args {
    /// The device's site [default: that of --config]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// The device
    #[arg(long, value_name = "NAME")]
    device: String,
    /// How far into the pipeline: sample, pre, infer or post
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: RecordStage,
    /// Leave out the samples, the tensors or the insights; may be repeated
    #[arg(long, value_name = "KIND", value_parser = kind)]
    without: Vec<RecordKind>,
    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MAX_RECORDED))]
    count: u64,
    /// The folder to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// End after so long, whatever there is [default: never]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Take the site and the endpoints from a device's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    recording: &'a Path,
    entries: usize,
    /// What ended it: `count`, `asked`, `release-changed`.
    ended: EndReason,
    #[serde(flatten)]
    counts: Counts,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if args.out.join(RECORDING_FILE).exists() {
        let folder = args.out;
        return Err(RecordingError::Exists { folder }.into());
    }
    let (zenoh, site) = args
        .reach
        .site(args.site.as_deref(), args.config.as_deref(), None)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    signals::on_first(move |_| stopped.store(true, Ordering::Relaxed))?;
    let client = Client::open(&zenoh).with_context(|| args.reach.cannot_open())?;
    let most = zenoh.max_message_bytes;
    let recorded = record(&args, &client, &site, most, &stop, terminal);
    client.close();
    let report = recorded?;
    if terminal.json {
        terminal.json(&report)?;
    } else {
        tell(&report, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn record<'a>(
    args: &'a Args,
    client: &Client,
    site: &str,
    most: usize,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> anyhow::Result<Report<'a>> {
    let without = args.without.iter().copied().collect();
    let (mut session, opened) = Session::open(
        client,
        site,
        &args.device,
        most,
        args.stage,
        without,
        args.count,
    )?;
    let Opened {
        device,
        site: at,
        release,
        ..
    } = opened;
    ensure!(
        device == args.device && at == site,
        RecordError::OtherDevice { device, site: at }
    );
    let head = RecordingHead::new(at, device, release, args.stage);
    let mut writer = RecordingWriter::create(&args.out, head)?;
    let taken = take(args, &mut session, &mut writer, stop, terminal);
    // What has arrived is kept, however it ended.
    let finished = writer.finish();
    let reason = taken?;
    finished?;
    ensure!(!writer.is_empty(), RecordError::Nothing(session.counts));
    Ok(Report {
        recording: &args.out,
        entries: writer.len(),
        ended: reason,
        counts: session.counts,
    })
}

/// Takes what the device gives until it says that this is all.
fn take(
    args: &Args,
    session: &mut Session<'_>,
    writer: &mut RecordingWriter,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> anyhow::Result<EndReason> {
    let count = args.count;
    let progress = terminal.progress();
    let task = (!terminal.json).then(|| progress.spinner("recording"));
    let until = args
        .timeout
        .map(|it| Instant::now() + Duration::from_secs(it));
    let mut ending = false;
    loop {
        let over = until.is_some_and(|until| Instant::now() >= until);
        if !ending && (over || stop.load(Ordering::Relaxed)) {
            // What the device has already taken is still fetched.
            session.end()?;
            ending = true;
        }
        match session.next()? {
            NextItem::Entry {
                number,
                mut entry,
                files,
            } => {
                ensure!(
                    (writer.len() as u64) < count,
                    RecordError::TooMany { count }
                );
                // Which files there are is for the writer to say, who names them.
                entry.files.clear();
                let parts = session.files(number, files)?;
                let ending = extension(&entry.content_type);
                writer.add(entry, ending, &parts)?;
                session.arrived(number);
                if let Some(task) = &task {
                    task.detail(&format!("{} of {count}", writer.len()));
                }
            }
            NextItem::Waiting => {}
            NextItem::Ended { reason } => return Ok(reason),
        }
    }
}

fn tell(report: &Report<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    let Counts {
        failed,
        dropped,
        too_large,
        ..
    } = report.counts;
    terminal.print(format!(
        "{} samples in {}",
        report.entries,
        report.recording.display()
    ))?;
    for (count, why) in [
        (failed, "gave no result"),
        (dropped, "found no room on the device ([record] buffer-mib)"),
        (too_large, "are larger than [record] buffer-mib"),
    ] {
        if count > 0 {
            terminal.print(terminal.warning(&format!("{count} were not recorded: they {why}")))?;
        }
    }
    if report.ended == EndReason::ReleaseChanged {
        terminal
            .print(terminal.warning("it ended early: another release serves the device now"))?;
    }
    Ok(())
}

fn stage(word: &str) -> Result<RecordStage, String> {
    let found = RecordStage::ALL
        .into_iter()
        .find(|it| it.to_string() == word);
    found.ok_or_else(|| "it may be sample, pre, infer or post".to_owned())
}

fn kind(word: &str) -> Result<RecordKind, String> {
    let found = RecordKind::ALL
        .into_iter()
        .find(|it| it.to_string() == word);
    found.ok_or_else(|| "it may be sample, tensors or insight".to_owned())
}
