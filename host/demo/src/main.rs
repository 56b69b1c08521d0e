//! `hotshoe demo`: prepare a device, run its daemon, feed it, update it, report.
#![forbid(unsafe_code)]

mod feed;
mod page;
mod prepare;
mod report;
mod summary;
mod updates;
mod versions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use hotshoe_base::chain;
use hotshoe_config::ZenohConfig;
use hotshoe_devkit::runtime::{Fetched, VERSION};
use hotshoe_devkit::{
    Environment, Progress, cache, fetch_runtime, find_root, installed, set_up, share,
};
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_release::daemon_process::{DaemonProcess, end_with_this_process, free_endpoint};
use hotshoe_release::serve::serve;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{exit, logging};

use crate::feed::{FeedResults, Picture, feed};
use crate::page::PAGE_ENDPOINT;
use crate::prepare::prepare;
use crate::summary::{PAGE, expected_page, judge, summarise};
use crate::updates::{Delivered, deliver};
use crate::versions::Version;

/// How long the daemon may take to answer with its status.
const ANSWER: Duration = Duration::from_secs(5);

/// Run OCR on a scanned page on this machine, from scratch, and update it while it runs
///
/// Run it in a checkout of Hotshoe, or after `pip install`. It downloads models, pictures and ONNX Runtime if they are missing, and in a
/// checkout the WebAssembly toolchain, and builds the components. It packs, signs and installs the OCR release, starts a daemon, sends it pictures over
/// Zenoh on loopback, and prints the text. Meanwhile it publishes three more versions: a good one, which is confirmed; one that traps, which
/// is rolled back; and one with an untrusted signature, which is refused. Its files stay under target/demo, or ~/.cache/hotshoe.
#[derive(Debug, Parser)]
#[command(name = "hotshoe-demo", bin_name = "hotshoe demo", version)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe demo                # or `cargo demo`
  hotshoe demo --seconds 5 --json
  hotshoe demo --seconds 120 --page   # and look at it with a browser

Exit code 0 only if every sample is accounted for, the text of page.png is correct, and each version ended as expected.")]
struct Cli {
    /// Seconds of samples before the first update
    #[arg(long, value_name = "N", default_value_t = 8)]
    seconds: u64,
    /// Serve the device's page while the demo runs, and print its address
    #[arg(long)]
    page: bool,
    /// Print results and errors as JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    daemon: Option<Daemon>,
}

#[derive(Debug, Subcommand)]
enum Daemon {
    /// Run the daemon, as the child process that the demo starts
    #[command(hide = true)]
    Run {
        /// The device's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    // First: this process may be a compile worker.
    if let Some(done) = hotshoe_engine::compile_worker() {
        return done;
    }
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.json);
    let done = match cli.daemon {
        Some(Daemon::Run { config }) => serve(&config, &PAGE_ENDPOINT, &terminal).map(drop),
        None => demo(cli.seconds, cli.page, &terminal),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(&error, |_| None, &terminal),
    };
    logging::flush();
    code
}

fn demo(seconds: u64, with_page: bool, terminal: &Terminal) -> anyhow::Result<()> {
    logging::init("error")?;
    end_with_this_process()?;
    let environment = environment()?;
    let runtime = runtime(&environment.root, terminal);
    let endpoint = free_endpoint()?;
    let page = with_page.then(page::free_address).transpose()?;
    let files = prepare(
        &environment,
        &endpoint,
        page.as_deref(),
        runtime.as_ref(),
        terminal,
    )?;
    let mut daemon = DaemonProcess::start(&files.config, &files.log)?;
    let zenoh = ZenohConfig {
        connect: vec![endpoint],
        ..ZenohConfig::default()
    };
    let (client, device) = daemon.ready(&zenoh)?;
    let release = device
        .release
        .as_ref()
        .context("the daemon serves no release")?;
    terminal.note(format!(
        "daemon           hotshoe/{}/{} serves {} generation {}, log in {}\n",
        device.site,
        device.device,
        release.name,
        release.generation,
        files.log.display()
    ));
    if let Some(address) = &page {
        terminal.note(format!("page             http://{address}/\n"));
    }

    let pictures = pictures(&environment)?;
    let time = Duration::from_secs(seconds);
    let run = Run {
        client: &client,
        zenoh: &zenoh,
        device: &device,
        versions: &files.versions,
        terminal,
    };
    let (collected, delivered) = run.feed_and_update(&pictures, time)?;
    let status = client
        .statuses(Some(&device.site), Some(&device.device), ANSWER)?
        .pop()
        .context("the daemon did not answer with its status")?;
    client.close();
    daemon.stop()?;

    let expected = expected_page(&environment.root)?;
    let serving = status.release.as_ref().map(|release| release.generation);
    let summary = summarise(collected, status, &files.versions, &delivered, &expected);
    if terminal.json {
        terminal.json_line(&summary)?;
    } else {
        terminal.print(summary.text(terminal))?;
    }
    judge(&summary, &files.versions, serving)?;
    if !terminal.json {
        terminal.print(next_steps(&environment.root, &files.release, &files.trust))?;
    }
    Ok(())
}

/// The checkout, set up; outside of one, a folder with what came with this program.
fn environment() -> anyhow::Result<Environment> {
    let here = std::env::current_dir().context("cannot determine the current folder")?;
    let progress = Progress::automatic();
    let done = if let Some(root) = find_root(&here) {
        set_up(&root, &progress)
    } else {
        let (share, root) = share().zip(cache()).context(
            "the demo needs a checkout of Hotshoe, or a package of it; run it in the repository's folder",
        )?;
        installed(&share, &root, &progress)
    };
    done.context("cannot set up the demo")
}

/// ONNX Runtime's library. The demo also runs without it, so that what is missing is only said.
fn runtime(root: &Path, terminal: &Terminal) -> Option<Fetched> {
    let reason = match fetch_runtime(root, &Progress::automatic()) {
        Ok(Some(fetched)) => {
            terminal.note(format!(
                "ONNX Runtime     {VERSION}; each model runs on it or on tract, whichever is faster"
            ));
            return Some(fetched);
        }
        Ok(None) => "there is none for this system".to_owned(),
        Err(error) => chain(&error),
    };
    terminal.note(format!(
        "ONNX Runtime     none, so that tract runs the models: {reason}"
    ));
    None
}

/// The state that both threads share.
struct Run<'a> {
    client: &'a Client,
    zenoh: &'a ZenohConfig,
    device: &'a Status,
    versions: &'a [Version],
    terminal: &'a Terminal,
}

impl Run<'_> {
    /// Sends samples for `time`, and then until all versions are delivered.
    fn feed_and_update(
        &self,
        pictures: &[Picture],
        time: Duration,
    ) -> anyhow::Result<(FeedResults, Vec<Delivered>)> {
        let (fed, over) = sync_channel(0);
        thread::scope(|scope| {
            let (zenoh, device, versions, terminal) =
                (self.zenoh, self.device, self.versions, self.terminal);
            let updates =
                scope.spawn(move || deliver(zenoh, device, versions, time, &over, terminal));
            let enough = |_| updates.is_finished();
            let collected = feed(self.client, device, pictures, enough, terminal);
            drop(fed);
            let delivered = updates
                .join()
                .map_err(|_| anyhow!("the thread that publishes panicked"))?;
            Ok((collected?, delivered?))
        })
    }
}

fn pictures(environment: &Environment) -> anyhow::Result<Vec<Picture>> {
    [
        (PAGE, "image/png"),
        ("text.png", "image/png"),
        ("china.jpg", "image/jpeg"),
        ("flower.jpg", "image/jpeg"),
    ]
    .into_iter()
    .map(|(name, content_type)| {
        let path = environment.picture(name);
        Ok(Picture {
            name: name.to_owned(),
            content_type,
            bytes: std::fs::read(&path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        })
    })
    .collect()
}

fn next_steps(root: &Path, release: &Path, trust: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = |path: &Path| -> PathBuf {
        path.strip_prefix(&here)
            .map_or_else(|_| path.to_owned(), Path::to_owned)
    };
    let (release, trust) = (short(release), short(trust));
    let page = short(&root.join("target/fixtures/pictures/page.png"));
    let is_checkout = find_root(&here).is_some();
    let (program, remark) = if is_checkout {
        let remark = "\nThe first of them compiles the other commands, for some minutes.";
        ("cargo hotshoe", remark)
    } else {
        ("hotshoe", "")
    };
    format!(
        "\nTry next:
  {program} inspect {release}
  {program} exec {release} {page} --trust {trust}{remark}",
        release = release.display(),
        trust = trust.display(),
        page = page.display()
    )
}
