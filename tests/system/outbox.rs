//! Outputs that must arrive: a daemon that is killed, swapped and rolled back, and what a collector has of it at last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hotshoe_config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::dice::Dice;
use super::site::{Packed, Site, light, settled_on};
use super::support::{DEADLINE, Daemon, Device, success};

/// Kills of the daemon.
const KILLS: u64 = 12;
/// The latest moment of a kill after the start, in milliseconds.
const LATEST_MS: u64 = 400;

/// `hotshoe collect` as a process, killed when it is dropped.
struct Collector(Child);

impl Collector {
    fn start(device: &Device, arguments: &[&str]) -> Self {
        let zenoh = Config::load(&device.config).unwrap().zenoh;
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
        command
            .args(["collect", "--site", "lab", "--json", "--connect"])
            .arg(&zenoh.listen[0])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Ends it, and returns its report.
    fn end(mut self) -> Value {
        let id = i32::try_from(self.0.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let stdout = self.0.stdout.take().unwrap();
        let text = std::io::read_to_string(stdout).unwrap();
        assert!(self.0.wait().unwrap().success(), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn device(site: &Site, packed: &Packed, outbox: &str) -> Device {
    let outbox = format!("[outbox]\ndurable = {{ insight = \"normal\" }}\n{outbox}");
    site.device("cam", packed, &outbox)
}

/// Feeds samples with these ids, four at a time. Returns those whose results came before `until`.
fn feed(
    daemon: &Daemon,
    ids: impl IntoIterator<Item = String>,
    until: Instant,
) -> BTreeSet<String> {
    let feeder = daemon.feeder(4);
    let mut answered = BTreeSet::new();
    let mut take = |timeout| {
        let reply = feeder.next(timeout);
        let is_there = reply.is_some();
        if let Some(reply) = reply.filter(|reply| reply.result.is_ok()) {
            answered.insert(reply.id);
        }
        is_there
    };
    for id in ids {
        if Instant::now() >= until {
            break;
        }
        feeder
            .send("test", "application/octet-stream", &id, b"abc".to_vec())
            .unwrap();
        while take(Duration::ZERO) {}
    }
    while feeder.outstanding() > 0 && take(until.saturating_duration_since(Instant::now())) {}
    while take(Duration::ZERO) {}
    answered
}

/// Waits until the daemon has nothing left to deliver.
fn drained(daemon: &Daemon) -> Value {
    daemon.wait_until(|state| {
        let outbox = &state["outbox"];
        outbox["outlet"]["state"] == "idle" && outbox["records"] == 0 && outbox["losses"] == 0
    })
}

/// The lines of a collector's folder.
fn lines(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn numbers<'a>(lines: impl IntoIterator<Item = &'a Value>, key: &str) -> Vec<u64> {
    let lines = lines.into_iter();
    lines.map(|line| line[key].as_u64().unwrap()).collect()
}

fn folder(site: &Site, name: &str) -> (PathBuf, String) {
    let path = site.workspace.path(name);
    let text = path.display().to_string();
    (path, text)
}

#[test]
fn what_was_answered_arrives_once_and_in_order_after_kills_a_swap_and_a_rollback() {
    let (mut dice, seed) = Dice::seeded(20_261_130);
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    // Its ends are of no release's making.
    let device = device(&site, &first, "[deploy]\nmax-crashes = 0\n");
    let mut answered = BTreeSet::new();
    for kill in 0..KILLS {
        let daemon = device.run();
        if kill == KILLS / 3 {
            let second = site.pack(&light(2, ""));
            site.publish(&second);
            daemon.feed_until(settled_on(2));
        }
        if kill == KILLS * 2 / 3 {
            success(["rollback", "--config", &device.config.display().to_string()]);
            daemon.feed_until(settled_on(1));
        }
        let until = Instant::now() + Duration::from_millis(dice.throw(LATEST_MS));
        let ids = (0..).map(|number| format!("{kill}-{number}"));
        answered.extend(feed(&daemon, ids, until));
        daemon.kill();
    }
    assert!(!answered.is_empty(), "seed {seed}");
    let daemon = device.run();
    let (folder, text) = folder(&site, "collected");
    let collector = Collector::start(&device, &["--jsonl", &text]);
    drained(&daemon);
    let report = collector.end();
    let lines = lines(&folder);
    assert_eq!(report["stored"], lines.len() as u64, "{report:#}");
    assert_eq!(report["conflicting"], 0, "{report:#}");
    // Without a loss, each number is there, once and in order.
    let sequences = numbers(&lines, "sequence");
    let all: Vec<u64> = (1..=lines.len() as u64).collect();
    assert_eq!(sequences, all, "seed {seed}");
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for line in &lines {
        assert_eq!(line["source"], "insight", "{line}");
        *times
            .entry(line["payload"]["id"].as_str().unwrap())
            .or_default() += 1;
    }
    for id in &answered {
        assert_eq!(times.get(id.as_str()), Some(&1), "seed {seed}: {id}");
    }
    // What was acknowledged does not come again, whatever the device forgot of it.
    daemon.kill();
    let daemon = device.run();
    let collector = Collector::start(&device, &["--jsonl", &text]);
    drained(&daemon);
    assert_eq!(collector.end()["stored"], 0);
}

#[test]
fn a_full_outbox_names_what_it_lost_and_the_counts_add_up() {
    const SAMPLES: u64 = 400;
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = device(&site, &first, "max-bytes = 65536\n");
    let daemon = device.run();
    let ids = (0..SAMPLES).map(|number| number.to_string());
    let answered = feed(&daemon, ids, Instant::now() + DEADLINE);
    assert_eq!(answered.len() as u64, SAMPLES);
    let (folder, text) = folder(&site, "collected");
    let collector = Collector::start(&device, &["--jsonl", &text]);
    let state = drained(&daemon);
    let report = collector.end();
    let lines = lines(&folder);
    let (records, losses): (Vec<&Value>, Vec<&Value>) =
        lines.iter().partition(|line| line["kind"] == "record");
    let stored = records.len() as u64;
    let evicted = report["lost"]["evicted"].as_u64().unwrap();
    assert!(evicted > 0 && stored > 0, "{report:#}");
    assert_eq!(stored + evicted, SAMPLES, "{report:#}");
    assert_eq!(state["outbox"]["lost"]["evicted"], evicted);
    let counted: u64 = numbers(losses.iter().copied(), "count").iter().sum();
    assert_eq!(counted, evicted);
    let mut known: BTreeSet<u64> = numbers(records.iter().copied(), "sequence")
        .into_iter()
        .collect();
    for loss in &losses {
        let (from, to) = (loss["from"].as_u64().unwrap(), loss["to"].as_u64().unwrap());
        known.extend(from..=to);
    }
    let all: BTreeSet<u64> = (1..=SAMPLES).collect();
    assert_eq!(known, all);
    // The store may be a database as well.
    feed(&daemon, ["more".to_owned()], Instant::now() + DEADLINE);
    let database = site.workspace.path("collected.db").display().to_string();
    let collector = Collector::start(&device, &["--device", "cam", "--sqlite", &database]);
    daemon.wait_until(|state| {
        let delivered = state["outbox"]["delivered"].as_u64().unwrap();
        delivered > stored
    });
    assert_eq!(collector.end()["stored"], 1);
}

#[test]
fn a_device_that_requires_signatures_takes_no_unsigned_acknowledgement() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = device(&site, &first, "[deploy]\nstatements = \"signed\"\n");
    let daemon = device.run();
    assert_eq!(daemon.feed(&[("one", b"abc".to_vec())]).len(), 1);
    let (_, text) = folder(&site, "collected");
    let unsigned = Collector::start(&device, &["--jsonl", &text]);
    let state = daemon.wait_until(|state| state["outbox"]["outlet"]["error"]["name"] == "unsigned");
    assert_eq!(state["outbox"]["records"], 1);
    // It was stored all the same, and is dropped when it comes again.
    assert_eq!(unsigned.end()["stored"], 1);
    let key = site.workspace.path("alice.key").display().to_string();
    let signed = Collector::start(&device, &["--jsonl", &text, "--key", &key]);
    drained(&daemon);
    let report = signed.end();
    assert_eq!(report["stored"], 0, "{report:#}");
    assert_eq!(report["duplicates"], 1, "{report:#}");
}

#[test]
fn a_class_of_the_release_makes_its_outputs_durable() {
    let site = Site::new();
    let contract = "[data-contract.classes.results]\nupload = \"yes\"\ndurable = true\npriority = \"high\"\n\
                    [data-contract.outputs]\ninsight = \"results\"\n";
    let first = site.pack(&light(1, contract));
    let device = site.device("cam", &first, "[outbox]\nenabled = true\n");
    let daemon = device.run();
    assert_eq!(daemon.feed(&[("one", b"abc".to_vec())]).len(), 1);
    let (folder, text) = folder(&site, "collected");
    let collector = Collector::start(&device, &["--jsonl", &text]);
    drained(&daemon);
    assert_eq!(collector.end()["stored"], 1);
    let lines = lines(&folder);
    assert_eq!(
        (&lines[0]["source"], &lines[0]["class"]),
        (&"insight".into(), &"results".into())
    );
}
