mod error;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_daemon::media::extension;
use hotshoe_daemon::recording::{Counts, EndReason, NextItem, Opened, RecordWhy, Request};
use hotshoe_link::Client;
use hotshoe_sealing::{AtRest, DeviceKey};
use hotshoe_store::{
    MAX_RECORDED, RECORDING_FILE, RecordStage, RecordingError, RecordingHead, RecordingWriter,
};
use hotshoe_trust::RecordKind;
use serde::Serialize;

use self::session::Session;
use crate::fleet::network::NetworkArgs;
use hotshoe_release::signals;
use hotshoe_release::terminal::Terminal;

pub(crate) use self::error::RecordError;

/// Record a device's samples, tensors and insights
///
/// Writes real samples, tensors and insights of a running daemon to a folder, for `hotshoe test --recorded`, for [[tests]] of
/// release.toml, and for `hotshoe model compare --inputs`. Both the device's hotshoe.toml ([record] allow) and the release's data
/// contract ([data-contract] record) must allow each kind. Recording never slows the device down: samples that do not fit into its
/// buffer are dropped and counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe record --site lab --device line-4 --stage pre --count 100 -o line-4 --connect tcp/192.0.2.7:7447
  hotshoe record --site lab --device line-4 --stage sample --why drift --timeout 86400 -o to-label --connect tcp/192.0.2.7:7447
  hotshoe test . --recorded line-4
  hotshoe model compare detect.onnx detect-int8.onnx --inputs line-4/inputs/detect

What is recorded at each stage, and can be replayed:
  sample   samples and insights
  pre      also the preprocessor's output, and the first model's inputs
  infer    also the models' outputs, and the inputs of each
  post     only insights and actions, to test policies

On the device, in hotshoe.toml:         In release.toml:
  [record]                                [data-contract]
  allow = [\"sample\", \"insight\"]           record = [\"sample\", \"insight\"]

It ends after --count samples, after --timeout or with Ctrl-C, and keeps what was recorded. Exit code 1 if that is nothing.")]
pub(crate) struct Args {
    /// The device's site [default: that of --config]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// The device
    #[arg(long, value_name = "NAME")]
    device: String,
    /// The stage of the pipeline: sample, pre, infer or post
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: RecordStage,
    /// Omit the sample, tensors or insight; may be repeated
    #[arg(long, value_name = "KIND", value_parser = kind)]
    without: Vec<RecordKind>,
    /// Number of samples
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MAX_RECORDED))]
    count: u64,
    /// Only these samples: drift, those that are rare in the baseline of the release, while the device drifts [default: all]
    #[arg(long, value_name = "WHY", value_parser = why)]
    why: Option<RecordWhy>,
    /// The folder to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Encrypt the recording with the key in this file; `hotshoe secret decrypt` makes a copy that other commands read
    #[arg(long, value_name = "FILE")]
    encrypt_with: Option<PathBuf>,
    /// Timeout in seconds; keep what was recorded [default: none]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Read the site and the endpoints from a device's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    recording: &'a Path,
    entries: usize,
    /// Why it ended: `count`, `asked`, `release-changed`.
    ended: EndReason,
    #[serde(flatten)]
    counts: Counts,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if args.out.join(RECORDING_FILE).exists() {
        let folder = args.out;
        return Err(RecordingError::Exists { folder }.into());
    }
    let key = args.encrypt_with.as_deref().map(DeviceKey::read);
    let at_rest = key.transpose()?.map(|key| AtRest::sealed(key, true));
    let (zenoh, site) = args
        .network
        .site(args.site.as_deref(), args.config.as_deref(), None)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    signals::on_first(move |_| stopped.store(true, Ordering::Relaxed))?;
    let client = Client::open(&zenoh).with_context(|| args.network.cannot_open())?;
    let most = zenoh.max_message_bytes;
    let recorded = record(&args, at_rest, &client, &site, most, &stop, terminal);
    client.close();
    let report = recorded?;
    if terminal.json {
        terminal.json(&report)?;
    } else {
        print_report(&report, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn record<'a>(
    args: &'a Args,
    at_rest: Option<AtRest>,
    client: &Client,
    site: &str,
    most: usize,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> anyhow::Result<Report<'a>> {
    let request = Request::Open {
        stage: args.stage,
        without: args.without.iter().copied().collect(),
        count: args.count,
        why: args.why,
    };
    let (mut session, opened) = Session::open(client, site, &args.device, most, &request)?;
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
    let at_rest = at_rest.unwrap_or_default();
    let mut writer = RecordingWriter::create_at_rest(&args.out, head, at_rest)?;
    let taken = take(args, &mut session, &mut writer, stop, terminal);
    // Keep what has arrived, even after an error.
    let finished = writer.finish();
    if taken.is_err() {
        // The device has room for the next recording at once.
        let _ = session.end();
    }
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

/// Receives samples until the device ends the recording.
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
            // Samples that the device has already recorded are still fetched.
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
                // The writer names the files.
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

fn print_report(report: &Report<'_>, terminal: &Terminal) -> anyhow::Result<()> {
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
        (
            dropped,
            "did not fit into the device's buffer ([record] buffer-mib)",
        ),
        (too_large, "are larger than [record] buffer-mib"),
    ] {
        if count > 0 {
            terminal.print(terminal.warning(&format!("{count} were not recorded: they {why}")))?;
        }
    }
    if report.ended == EndReason::ReleaseChanged {
        terminal
            .print(terminal.warning("it ended early: the device serves another release now"))?;
    }
    Ok(())
}

fn stage(word: &str) -> Result<RecordStage, String> {
    let found = RecordStage::ALL
        .into_iter()
        .find(|it| it.to_string() == word);
    found.ok_or_else(|| "expected sample, pre, infer or post".to_owned())
}

fn why(word: &str) -> Result<RecordWhy, String> {
    match word {
        "drift" => Ok(RecordWhy::Drift),
        _ => Err("expected drift".to_owned()),
    }
}

fn kind(word: &str) -> Result<RecordKind, String> {
    let found = RecordKind::ALL
        .into_iter()
        .find(|it| it.to_string() == word);
    found.ok_or_else(|| "expected sample, tensors or insight".to_owned())
}
