use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::{Device, Time};
use serde::Serialize;

use crate::device_args::label;
use crate::fleet::network::NetworkArgs;
use crate::fleet::overview::{DeviceReport, Overview};
use crate::fleet::select;
use crate::fleet::survey::survey;

/// List the devices of one or many sites
///
/// Shows of each device its labels, hardware, backends, release and health, and whether it answers. With --site-dir or --device-keys, the
/// devices of the list are there too, and each answer is signed or only claimed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe devices --site-dir lab
  hotshoe devices --site lab --site plant --connect tcp/192.0.2.7:7447 --select line=4 --json

Exit codes: 0 done; 1 no device was found; 2 wrong usage.")]
pub(crate) struct Args {
    /// A site; may be repeated [default: that of --config or --site-dir]
    #[arg(long, value_name = "SITE")]
    site: Vec<String>,
    /// Only devices with this name (* matches anything); may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Only devices with these labels
    #[arg(long, value_name = "LABEL=VALUE,...", value_delimiter = ',', value_parser = label)]
    select: Vec<(String, String)>,
    /// Timeout in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    timeout: u64,
    /// Read the network and the site from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A device of the list.
#[derive(Debug, Serialize)]
struct Row {
    site: String,
    device: String,
    answered: bool,
    /// Whether the answer is not signed by the device; none without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// The hardware class.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<usize>,
    version: Option<String>,
    /// The backends that its models run on.
    backends: Vec<String>,
    release: Option<String>,
    generation: Option<u64>,
    samples: Option<u64>,
    errors: Option<u64>,
    /// When the device answered, by its clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
}

impl Row {
    fn of(overview: Overview) -> Self {
        let Overview {
            site,
            device,
            answer,
        } = overview;
        let mut row = Self {
            site,
            device,
            answered: answer.is_some(),
            claimed: None,
            labels: BTreeMap::new(),
            class: None,
            cores: None,
            version: None,
            backends: Vec::new(),
            release: None,
            generation: None,
            samples: None,
            errors: None,
            time: None,
        };
        if let Some(answer) = answer {
            row.claimed = Some(answer.unproven.is_some());
            row.fill(answer.status);
        }
        row
    }

    fn fill(&mut self, status: Status) {
        let backends = status.models.into_iter().map(|model| model.backend);
        self.backends = backends.collect();
        self.backends.sort();
        self.backends.dedup();
        self.labels = status.labels;
        self.version = Some(status.version);
        self.time = status.time;
        if let Some(hardware) = status.hardware {
            self.class = Some(hardware.class);
            self.cores = Some(hardware.cores);
        }
        if let Some(live) = status.slots.live {
            self.release = Some(live.name);
            self.generation = Some(live.generation);
        }
        if let Some(health) = status.health {
            self.samples = Some(health.samples);
            self.errors = Some(health.errors);
        }
    }

    fn cells(&self, terminal: &Terminal) -> Vec<String> {
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let release = match (&self.release, self.generation) {
            (Some(name), Some(generation)) => format!("{name} {generation}"),
            _ => "-".to_owned(),
        };
        let health = match (self.samples, self.errors) {
            (Some(samples), Some(errors)) => format!("{errors} of {samples} failed"),
            _ => "-".to_owned(),
        };
        vec![
            self.site.clone(),
            self.device.clone(),
            labels.collect::<Vec<_>>().join(" "),
            text(&self.class),
            self.backends.join(" "),
            release,
            health,
            match (self.answered, self.claimed) {
                (false, _) => terminal.warning("no answer"),
                (true, Some(false)) => terminal.good("signed"),
                (true, _) => "claimed".to_owned(),
            },
        ]
    }
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let network = args.network.resolve(args.config.as_deref(), None)?;
    let list = args.network.devices()?;
    let selector = select::selector(&args.device, &args.select)?;
    let mut sites: Vec<Option<String>> = args.site.iter().cloned().map(Some).collect();
    if sites.is_empty() {
        sites.push(network.site);
    }
    let client = Client::open(&network.zenoh).with_context(|| args.network.cannot_open())?;
    let mut rows = Vec::new();
    for site in &sites {
        let site = site.as_deref();
        let found = survey(&client, site, None, Duration::from_secs(args.timeout))?;
        let answers = DeviceReport::of(found.statuses, list.as_ref());
        let overviews = Overview::of_site(answers, found.present, site, list.as_ref());
        rows.extend(overviews.into_iter().map(Row::of));
    }
    client.close();
    // The labels of a device that does not answer are not known.
    rows.retain(|row| {
        let device = Device {
            name: row.device.clone(),
            site: row.site.clone(),
            labels: row.labels.clone(),
        };
        selector.matches(&device).is_ok()
    });
    if rows.is_empty() {
        bail!("no such device was found within {} s", args.timeout);
    }
    if terminal.json {
        terminal.json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "site", "device", "labels", "class", "backends", "release", "health", "said",
    ];
    let cells = rows.iter().map(|row| row.cells(terminal));
    terminal.print(terminal.table(&head, cells))?;
    Ok(ExitCode::SUCCESS)
}
