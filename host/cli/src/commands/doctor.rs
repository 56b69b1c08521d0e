mod door;
mod engine;
mod network;
mod python;
mod runtime;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hotshoe_config::{Config, ConfigError};
use hotshoe_engine::MemoryChoice;
use hotshoe_store::{OpenError, Store};
use hotshoe_trust::Time;
use serde::Serialize;

use crate::bench::machine::Machine;
use crate::device::trust_root;
use crate::fleet::local::CONFIG;
use crate::logging;
use crate::terminal::{Terminal, size};

/// Below this the data folder has no room for a release.
const LEAST_FREE_BYTES: u64 = 64 << 20;
/// Below this it has no room for a release of the size that the examples have and the one before.
const FEW_FREE_BYTES: u64 = 1 << 30;
/// Below this a model and the daemon hardly fit.
const LITTLE_MEMORY_BYTES: u64 = 256 << 20;
/// No clock that is set stands before this program was written.
const WRITTEN: &str = "2026-01-01T00:00:00Z";

/// Say what this machine has for Hotshoe, and what it lacks
///
/// Looks at the machine, whether components have room in it, ONNX Runtime and its execution providers, the configuration, the
/// trusted keys, who may come in over Zenoh, the data folder, the clock, and the ports of the Open Inference Protocol and of
/// Prometheus with their tokens and certificates. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe doctor --config hotshoe.toml
  hotshoe doctor --json | jq -r '.findings[] | select(.state != \"ok\") | .found'

Exit code 1 if the daemon could not serve.")]
pub struct Args {
    /// The device's configuration [default: hotshoe.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    /// Nothing has failed.
    can_serve: bool,
    machine: Machine,
    /// How the linear memories of components lie; none where there is no room for any.
    memory: Option<MemoryChoice>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It serves all the same.
    Warn,
    /// It cannot serve.
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What to do about it.
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

pub fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("off")?;
    let mut findings = vec![
        Finding::ok("version", concat!("hotshoe ", env!("CARGO_PKG_VERSION"))),
        memory(),
    ];
    let config = configuration(args.config.as_deref(), &mut findings);
    if let Some(config) = &config {
        findings.push(trust(&config.trust));
        findings.push(network::network(config));
        let is_used = data(&config.data, &mut findings);
        findings.extend(door::doors(config, is_used));
    }
    let (memory, engine) = engine::engine(config.as_ref());
    findings.push(engine);
    findings.extend(runtime::runtime(config.as_ref()));
    findings.push(python::python());
    let report = Report {
        can_serve: findings.iter().all(|it| it.state != State::Fail),
        machine: Machine::here(),
        memory,
        findings,
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        print(&report, terminal)?;
    }
    Ok(if report.can_serve {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
    terminal.print(if report.can_serve {
        terminal.good("this machine can serve")
    } else {
        terminal.bad("this machine cannot serve yet")
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
            "a model and its plans take a few times its size; end something else, or use a smaller model",
        ),
        Some(bytes) => Finding::ok("memory", format!("{} are free", size(bytes))),
        None => Finding::ok("memory", "the system does not tell"),
    }
}

/// Reads the configuration that was named, or the one that is here.
fn configuration(named: Option<&Path>, findings: &mut Vec<Finding>) -> Option<Config> {
    const WHAT: &str = "configuration";
    let path = named.unwrap_or(Path::new(CONFIG));
    if named.is_none() && !path.exists() {
        findings.push(Finding::bad(
            WHAT,
            State::Warn,
            format!("there is no {CONFIG} here, so that only the machine was looked at"),
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
                    "make it, or change [watch] folder",
                ));
            }
            Some(config)
        }
        Err(error) => {
            let advice = match &error {
                ConfigError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                    "name another with --config, or write it: `site`, `device` and `trust` are what it needs at first"
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
                "{}: version {}, {} of {} keys must have signed",
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
            "write it with `hotshoe trust`",
        ),
    }
}

/// The data folder, the space on its disk, what it holds, and the clock, which may not stand before what it has seen. Returns
/// whether a daemon uses it.
fn data(folder: &Path, findings: &mut Vec<Finding>) -> bool {
    findings.push(writable(folder));
    findings.push(space(folder));
    let (mut floor, mut is_used) = (None, false);
    if folder.join("ledger.json").exists() {
        match Store::open(folder) {
            Ok(store) => {
                let ledger = store.ledger();
                floor = ledger.clock_floor;
                findings.push(match &ledger.live {
                    Some(slot) => Finding::ok(
                        "release",
                        format!("{} generation {} is live", slot.name, slot.generation),
                    ),
                    None => nothing_live(),
                });
            }
            Err(OpenError::InUse { .. }) => {
                is_used = true;
                findings.push(Finding::ok(
                    "release",
                    "a daemon uses this data folder; `hotshoe status` asks it",
                ));
            }
            Err(error) => findings.push(Finding::bad(
                "release",
                State::Fail,
                format!("{:#}", anyhow::Error::from(error)),
                "restore the data folder, or begin with an empty one",
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
        "`hotshoe install` one, or let the daemon take one with `hotshoe publish`",
    )
}

/// The folder itself, or where it is going to be made.
fn nearest(folder: &Path) -> &Path {
    let mut ancestors = folder.ancestors();
    ancestors.find(|it| it.is_dir()).unwrap_or(Path::new("."))
}

fn writable(folder: &Path) -> Finding {
    let place = nearest(folder);
    let will = if place == folder {
        ""
    } else {
        ", which will be made"
    };
    // A temporary file says more than permissions do: a disk may be mounted to be read alone.
    match tempfile::tempfile_in(place) {
        Ok(_) => Finding::ok("data", format!("{} can be written{will}", folder.display())),
        Err(error) => Finding::bad(
            "data",
            State::Fail,
            format!("{} cannot be written: {error}", place.display()),
            "give it to the user that the daemon runs as, or change `data`",
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
            "make room: a release is kept twice, the live one and the one before",
        ),
        Ok(free) if free < FEW_FREE_BYTES => Finding::bad(
            "disk",
            State::Warn,
            format!("{} are free", size(free)),
            "a release is kept twice, the live one and the one before",
        ),
        Ok(free) => Finding::ok("disk", format!("{} are free", size(free))),
        Err(error) => Finding::ok("disk", format!("the system does not tell: {error}")),
    }
}

fn clock(floor: Option<Time>, now: Time) -> Finding {
    let written: Option<Time> = WRITTEN.parse().ok();
    match floor.max(written) {
        Some(least) if now < least => Finding::bad(
            "clock",
            State::Fail,
            format!("it says {now}, but it is {least} at least"),
            "set the clock: releases would be refused",
        ),
        _ => Finding::ok("clock", format!("it says {now}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs;

    #[test]
    fn a_clock_before_what_was_seen_is_wrong() {
        let time = |text: &str| text.parse::<Time>().unwrap();
        let now = time("2026-06-01T00:00:00Z");
        assert_eq!(clock(None, now).state, State::Ok);
        let seen = Some(time("2026-06-02T00:00:00Z"));
        assert_eq!(clock(seen, now).state, State::Fail);
        assert_eq!(clock(None, time("1970-01-02T00:00:00Z")).state, State::Fail);
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        assert_eq!(nearest(&data), folder.path());
        assert_eq!(writable(&data).state, State::Ok);
        assert!(!data.exists());
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
