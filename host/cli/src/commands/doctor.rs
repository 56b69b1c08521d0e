mod encryption;
mod engine;
mod installed;
mod limits;
mod network;
mod ports;
#[cfg(feature = "full")]
mod python;
mod runtime;
mod shipping;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hotshoe_config::{Config, ConfigError};
use hotshoe_engine::MemoryChoice;
use hotshoe_store::{OpenError, Store};
use hotshoe_trust::Time;
use serde::Serialize;

use crate::fleet::local::CONFIG;
use crate::minutes::minutes;
use hotshoe_release::device::trust_root;
use hotshoe_release::logging;
use hotshoe_release::machine::Machine;
use hotshoe_release::terminal::{Terminal, size};

/// Free bytes on the data folder's disk below which there is no space for a release.
const LEAST_FREE_BYTES: u64 = 64 << 20;
/// Free bytes on the data folder's disk below which there is no space for two releases of the examples' size.
const FEW_FREE_BYTES: u64 = 1 << 30;
/// Available memory below which a model and the daemon hardly fit.
const LITTLE_MEMORY_BYTES: u64 = 256 << 20;
/// The earliest time that a correct clock can show: this program was written then.
const WRITTEN: &str = "2026-01-01T00:00:00Z";

/// Check whether this machine can run Hotshoe
///
/// Checks the machine, its limits, the memory for components, ONNX Runtime and its execution providers, the configuration, the trusted
/// keys, the access over Zenoh, the data folder and who can read it, the live release, the clock, and the ports of the Open Inference Protocol and of Prometheus with their tokens and
/// certificates. It changes nothing.
///
/// With --before-shipping, it also starts the live release from the disk alone, loads the one that a rollback brings back, runs samples on all
/// worker threads for some minutes, and judges latency, memory, heat, keys, clock, disk and outbox. The daemon must not run meanwhile; only
/// compiled code is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe doctor --config hotshoe.toml
  hotshoe doctor --json | jq -r '.findings[] | select(.state != \"ok\") | .found'

Example: before a device leaves the workshop, in the housing and the warmth that it will have
  hotshoe doctor --before-shipping --minutes 30 --config hotshoe.toml

Exit code 1 if the daemon cannot serve, or the device should not be shipped.")]
pub(crate) struct Args {
    /// The device's configuration [default: hotshoe.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also rehearse what the device will do, under load
    #[arg(long)]
    before_shipping: bool,
    /// Length of the load in minutes
    #[arg(long, value_name = "N", default_value = "5", value_parser = minutes, requires = "before_shipping")]
    minutes: Duration,
    /// A sample of the load; may be repeated [default: those of the release's self-tests]
    #[arg(long, value_name = "FILE", requires = "before_shipping")]
    sample: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    /// Whether no finding has the state `fail`.
    can_serve: bool,
    /// The same with the findings of --before-shipping; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    can_ship: Option<bool>,
    machine: Machine,
    /// How the linear memories of components are allocated; none if they do not fit.
    memory: Option<MemoryChoice>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// The daemon can serve all the same.
    Warn,
    /// The daemon cannot serve.
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn bad(what: &'static str, state: State, found: String, advice: impl Into<String>) -> Self {
        Self {
            what,
            state,
            found,
            advice: Some(advice.into()),
        }
    }
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("off")?;
    let mut findings = vec![
        Finding::ok("version", concat!("hotshoe ", env!("CARGO_PKG_VERSION"))),
        memory(),
    ];
    let config = configuration(args.config.as_deref(), &mut findings);
    findings.extend(limits::limits(config.as_ref()));
    if let Some(config) = &config {
        findings.push(trust(&config.trust));
        findings.push(network::network(config));
        findings.push(encryption::encryption(config));
        let is_used = data(config, &mut findings);
        findings.extend(ports::ports(config, is_used));
    }
    let (memory, engine) = engine::engine(config.as_ref());
    findings.push(engine);
    findings.extend(runtime::runtime(config.as_ref()));
    #[cfg(feature = "full")]
    findings.push(python::python());
    let is_good = |findings: &[Finding]| findings.iter().all(|it| it.state != State::Fail);
    let can_serve = is_good(&findings);
    let can_ship = args.before_shipping.then(|| {
        findings.extend(before_shipping(config.as_ref(), args, terminal));
        is_good(&findings)
    });
    let report = Report {
        can_serve,
        can_ship,
        machine: Machine::here(),
        memory,
        findings,
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        print(&report, terminal)?;
    }
    Ok(if can_ship.unwrap_or(can_serve) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Rehearses with the configuration, which it needs.
fn before_shipping(config: Option<&Config>, args: &Args, terminal: &Terminal) -> Vec<Finding> {
    let Some(config) = config else {
        return vec![Finding::bad(
            "start",
            State::Fail,
            "without a configuration, nothing can be rehearsed".to_owned(),
            "give --config",
        )];
    };
    let length = args.minutes;
    terminal.note(format!("running samples for {} s", length.as_secs()));
    shipping::check(config, length, &args.sample)
}

fn print(report: &Report, terminal: &Terminal) -> anyhow::Result<()> {
    terminal.print(report.machine.text())?;
    for it in &report.findings {
        let state = match it.state {
            State::Ok => terminal.good("ok  "),
            State::Warn => terminal.warning("warn"),
            State::Fail => terminal.bad("fail"),
        };
        terminal.print(format!("{state}  {:<14} {}", it.what, it.found))?;
        if let Some(advice) = &it.advice {
            terminal.print(format!("                     {}", terminal.dim(advice)))?;
        }
    }
    let warnings = report
        .findings
        .iter()
        .filter(|it| it.state == State::Warn)
        .count();
    let shipped = match warnings {
        0 => "this device can be shipped".to_owned(),
        1 => "this device can be shipped, with 1 warning".to_owned(),
        many => format!("this device can be shipped, with {many} warnings"),
    };
    terminal.print(match (report.can_serve, report.can_ship) {
        (true, None) => terminal.good("this machine can serve"),
        (false, _) => terminal.bad("this machine cannot serve yet"),
        (true, Some(true)) => terminal.good(&shipped),
        (true, Some(false)) => terminal.bad("this device should not be shipped yet"),
    })
}

fn memory() -> Finding {
    let available = sysinfo::System::new().ok().map(|mut system| {
        system.refresh_memory();
        system.available_memory()
    });
    match available {
        Some(bytes) if bytes < LITTLE_MEMORY_BYTES => Finding::bad(
            "memory",
            State::Warn,
            format!("{} are free", size(bytes)),
            "a model needs a few times its size in memory; end other programs, or use a smaller model",
        ),
        Some(bytes) => Finding::ok("memory", format!("{} are free", size(bytes))),
        None => Finding::ok("memory", "the system does not say"),
    }
}

/// Reads the given configuration, or the one in the current folder.
fn configuration(named: Option<&Path>, findings: &mut Vec<Finding>) -> Option<Config> {
    const WHAT: &str = "configuration";
    let path = named.unwrap_or(Path::new(CONFIG));
    if named.is_none() && !path.exists() {
        findings.push(Finding::bad(
            WHAT,
            State::Warn,
            format!("there is no {CONFIG} here; only the machine was checked"),
            "give --config",
        ));
        return None;
    }
    match Config::load(path) {
        Ok(config) => {
            let found = format!(
                "{}: device {} of site {}",
                path.display(),
                config.device,
                config.site
            );
            findings.push(Finding::ok(WHAT, found));
            if let Some(watch) = config.watch.as_ref().filter(|it| !it.folder.is_dir()) {
                findings.push(Finding::bad(
                    "watch",
                    State::Fail,
                    format!("there is no folder {}", watch.folder.display()),
                    "create it, or change [watch] folder",
                ));
            }
            Some(config)
        }
        Err(error) => {
            let advice = match &error {
                ConfigError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                    "give another with --config, or write it; it needs at least `site`, `device` and `trust`"
                }
                _ => "correct it",
            };
            let error = anyhow::Error::from(error);
            let found = format!("{} cannot be used: {error:#}", path.display());
            findings.push(Finding::bad(WHAT, State::Fail, found, advice));
            None
        }
    }
}

fn trust(path: &Path) -> Finding {
    match trust_root(path) {
        Ok(root) => Finding::ok(
            "trust",
            format!(
                "{}: version {}, {} of {} keys must sign",
                path.display(),
                root.version(),
                root.threshold(),
                root.keys().count()
            ),
        ),
        Err(error) => Finding::bad(
            "trust",
            State::Fail,
            format!("{error:#}"),
            "create it with `hotshoe trust`",
        ),
    }
}

/// Checks the data folder, the space on its disk, its release, and the clock, which must not be before the ledger's times. Returns
/// whether a daemon uses the folder.
fn data(config: &Config, findings: &mut Vec<Finding>) -> bool {
    let folder = &config.data;
    findings.push(writable(folder));
    findings.push(space(folder));
    let (mut floor, mut is_used) = (None, false);
    if folder.join("ledger.json").exists() {
        // A key that cannot be read is a finding of the files that need it.
        let at_rest = config.encryption.open().unwrap_or_default();
        match Store::open_unchanged(folder, at_rest) {
            Ok(store) => {
                let ledger = store.ledger();
                floor = ledger.clock_floor;
                findings.push(match &ledger.live {
                    Some(slot) => installed::live(&store, slot, config),
                    None => nothing_live(),
                });
            }
            Err(OpenError::InUse { .. }) => {
                is_used = true;
                findings.push(installed::serving(folder));
            }
            Err(error) => findings.push(Finding::bad(
                "release",
                State::Fail,
                format!("{:#}", anyhow::Error::from(error)),
                "restore the data folder, or start with an empty one",
            )),
        }
    } else {
        findings.push(nothing_live());
    }
    findings.push(clock(floor, Time::now()));
    is_used
}

fn nothing_live() -> Finding {
    Finding::bad(
        "release",
        State::Warn,
        "none is live yet".to_owned(),
        "install one with `hotshoe install`, or publish one to the daemon with `hotshoe publish`",
    )
}

/// The folder itself, or its nearest existing ancestor.
fn nearest(folder: &Path) -> &Path {
    let mut ancestors = folder.ancestors();
    ancestors.find(|it| it.is_dir()).unwrap_or(Path::new("."))
}

fn writable(folder: &Path) -> Finding {
    let place = nearest(folder);
    let will = if place == folder {
        ""
    } else {
        ", which will be created"
    };
    // Permissions are not enough: the disk may be mounted read-only.
    match tempfile::tempfile_in(place) {
        Ok(_) => Finding::ok("data", format!("{} is writable{will}", folder.display())),
        Err(error) => Finding::bad(
            "data",
            State::Fail,
            format!("{} is not writable: {error}", place.display()),
            "give the daemon's user write access, or change `data`",
        ),
    }
}

fn space(folder: &Path) -> Finding {
    let free =
        rustix::fs::statvfs(nearest(folder)).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    match free {
        Ok(free) if free < LEAST_FREE_BYTES => Finding::bad(
            "disk",
            State::Fail,
            format!("{} are free", size(free)),
            "free some space: the device keeps the live release and the previous one",
        ),
        Ok(free) if free < FEW_FREE_BYTES => Finding::bad(
            "disk",
            State::Warn,
            format!("{} are free", size(free)),
            "the device keeps the live release and the previous one",
        ),
        Ok(free) => Finding::ok("disk", format!("{} are free", size(free))),
        Err(error) => Finding::ok("disk", format!("the system does not say: {error}")),
    }
}

fn clock(floor: Option<Time>, now: Time) -> Finding {
    let written: Option<Time> = WRITTEN.parse().ok();
    match floor.max(written) {
        Some(least) if now < least => Finding::bad(
            "clock",
            State::Fail,
            format!("it shows {now}, but the time is at least {least}"),
            "set the clock; with this time, the device refuses releases",
        ),
        _ => Finding::ok("clock", format!("it shows {now}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs;

    #[test]
    fn a_clock_before_the_ledger_is_wrong() {
        let time = |text: &str| text.parse::<Time>().unwrap();
        let now = time("2026-06-01T00:00:00Z");
        assert_eq!(clock(None, now).state, State::Ok);
        let seen = Some(time("2026-06-02T00:00:00Z"));
        assert_eq!(clock(seen, now).state, State::Fail);
        assert_eq!(clock(None, time("1970-01-02T00:00:00Z")).state, State::Fail);
    }

    #[test]
    fn a_missing_folder_is_checked_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        assert_eq!(nearest(&data), folder.path());
        assert_eq!(writable(&data).state, State::Ok);
        assert!(!data.exists());
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
