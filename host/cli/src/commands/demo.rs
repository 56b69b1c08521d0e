use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_daemon::ZenohConfig;
use hotshoe_devkit::{Environment, Progress, find_root, set_up};
use serde::Deserialize;

use crate::demo::feed::{Collected, Picture, feed};
use crate::demo::prepare::prepare;
use crate::demo::process::{DaemonProcess, free_endpoint};
use crate::demo::report::{Percentiles, Summary};
use crate::terminal::Terminal;

/// Most character errors in the page's text, as a share of the reference's characters.
const MAX_CHARACTER_ERROR_RATE: f64 = 0.01;
/// The picture whose text must be read.
const PAGE: &str = "page.png";

/// Read a scanned page through a daemon on this machine, from nothing
///
/// Run it in a checkout of Hotshoe. It gets the WebAssembly toolchain, models and pictures if they are not there yet, builds
/// the components, packs, signs and installs the OCR release, starts a daemon, feeds it pictures over Zenoh on loopback, and
/// prints what they say. What it made stays under target/demo.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe demo                # or `cargo demo`
  hotshoe demo --seconds 5 --json

Exit code 0 only if every sample is accounted for and the text of page.png was read.")]
pub struct Args {
    /// How long to feed the daemon
    #[arg(long, value_name = "N", default_value_t = 15)]
    seconds: u64,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let root = find_root(&here)
        .context("the demo needs a checkout of Hotshoe: run it in the repository's folder")?;
    let environment = set_up(&root, &Progress::automatic()).context("cannot set up the demo")?;
    let endpoint = free_endpoint()?;
    let bench = prepare(&environment, &endpoint, terminal)?;
    let mut daemon = DaemonProcess::start(&bench.config, &bench.log)?;
    let zenoh = ZenohConfig {
        connect: vec![endpoint],
        ..ZenohConfig::default()
    };
    let (client, device) = daemon.ready(&zenoh)?;
    terminal.note(format!(
        "daemon           hotshoe/{}/{} serves {} generation {}, log in {}\n",
        device.site,
        device.device,
        device.release.name,
        device.release.generation,
        bench.log.display()
    ));

    let pictures = pictures(&environment)?;
    let time = Duration::from_secs(args.seconds);
    let collected = feed(&client, &device, &pictures, time, terminal)?;
    let counters = client
        .statuses(
            Some(&device.site),
            Some(&device.device),
            Duration::from_secs(5),
        )?
        .pop()
        .context("the daemon did not tell its status")?
        .counters;
    client.close();
    daemon.stop()?;

    let expected = expected_page(&environment.root)?;
    let summary = summarise(collected, counters, &expected);
    if terminal.json {
        terminal.json_line(&summary)?;
    } else {
        terminal.print(format!("\n{}\n", summary.tables(terminal)))?;
        terminal.print(format!(
            "{} samples in {:.1} s: {} results, {} dropped, {} failed",
            summary.samples, summary.seconds, summary.results, summary.dropped, summary.failed
        ))?;
    }
    judge(&summary)?;
    if !terminal.json {
        terminal.print(next_steps(&root, &bench.release, &bench.trust))?;
    }
    Ok(ExitCode::SUCCESS)
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

/// What the reference implementation read in a picture.
#[derive(Deserialize)]
struct Recorded {
    lines: Vec<RecordedLine>,
}

#[derive(Deserialize)]
struct RecordedLine {
    text: String,
}

/// The lines of `page.png` as the reference implementation read them.
fn expected_page(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("examples/label-reader/expected/page.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let recorded: Recorded = serde_json::from_str(&text)
        .with_context(|| format!("{} is no recording", path.display()))?;
    Ok(recorded.lines.into_iter().map(|line| line.text).collect())
}

fn summarise(
    collected: Collected,
    counters: hotshoe_daemon::Counters,
    expected: &[String],
) -> Summary {
    let total =
        |of: fn(&crate::demo::report::Input) -> u64| collected.inputs.values().map(of).sum();
    let (samples, results): (u64, u64) = (total(|i| i.samples), total(|i| i.results));
    let (dropped, failed): (u64, u64) = (total(|i| i.dropped), total(|i| i.failed));
    let accounted = samples == results + dropped + failed
        && counters.add_up()
        && counters.accepted == samples
        && counters.in_flight == 0;
    let error_rate = collected.text.get(PAGE).map(|lines| {
        let expected = expected.join("\n");
        let errors = strsim::levenshtein(&lines.join("\n"), &expected);
        errors as f64 / expected.chars().count().max(1) as f64
    });
    Summary {
        samples,
        results,
        dropped,
        failed,
        accounted,
        seconds: collected.elapsed.as_secs_f64(),
        text: collected.text,
        page_character_error_rate: error_rate,
        stages: collected
            .stages
            .into_iter()
            .filter_map(|(name, times)| Some((name, Percentiles::of(&times)?)))
            .collect(),
        inputs: collected.inputs,
        daemon: counters,
    }
}

fn judge(summary: &Summary) -> anyhow::Result<()> {
    if !summary.accounted {
        bail!(
            "not every sample is accounted for: {} sent, {} results, {} dropped, {} failed; the daemon says {:?}",
            summary.samples,
            summary.results,
            summary.dropped,
            summary.failed,
            summary.daemon
        );
    }
    match summary.page_character_error_rate {
        Some(rate) if rate <= MAX_CHARACTER_ERROR_RATE => Ok(()),
        Some(rate) => bail!(
            "{PAGE} was read with a character error rate of {:.1}%; at most {:.0}% is right",
            rate * 100.0,
            MAX_CHARACTER_ERROR_RATE * 100.0
        ),
        None => bail!("{PAGE} was not read"),
    }
}

fn next_steps(root: &Path, release: &Path, trust: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = |path: &Path| -> PathBuf {
        path.strip_prefix(&here)
            .map_or_else(|_| path.to_owned(), Path::to_owned)
    };
    let (release, trust) = (short(release), short(trust));
    let page = short(&root.join("target/fixtures/pictures/page.png"));
    format!(
        "\nTry next:
  cargo hotshoe inspect {release}
  cargo hotshoe exec {release} {page} --trust {trust}",
        release = release.display(),
        trust = trust.display(),
        page = page.display()
    )
}
