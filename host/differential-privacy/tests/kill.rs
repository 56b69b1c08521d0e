//! A process that spends its budget is killed at any moment: what it has spent by then is never given back. Without a harness: the process
//! that is killed is this one, run again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_differential_privacy::{Boot, Budget, Epsilon};

/// The argument of the process that is killed; its folder follows.
const SPENDS: &str = "spends-until-it-is-killed";
/// The budget of a day, in millionths.
const LIMIT: u64 = 1_000_000;
/// What is spent each time, in millionths.
const EACH: u64 = 7;
/// How often a process is killed.
const KILLS: u64 = 24;

fn open(folder: &Path) -> Budget {
    let boot = Boot {
        id: "one".to_owned(),
        uptime: Duration::ZERO,
    };
    let disk = Disk::new(Faults::never());
    let limit = Epsilon::from_millionths(LIMIT).unwrap();
    Budget::open(folder, disk, Clock::system(), boot, limit).unwrap()
}

/// Spends without an end, and writes a line each time that it has.
fn spend(folder: &Path) {
    let mut budget = open(folder);
    let mut out = std::io::stdout();
    loop {
        budget
            .spend(Epsilon::from_millionths(EACH).unwrap())
            .unwrap();
        writeln!(out, "spent").unwrap();
        out.flush().unwrap();
    }
}

/// Kills a process after some lines. Returns how many it wrote.
fn kill_after(folder: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(SPENDS)
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut read = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..lines {
        read.next().unwrap().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it wrote before it was killed.
    lines + read.map_while(Result::ok).count() as u64
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|it| it == SPENDS) {
        return spend(Path::new(&arguments[2]));
    }
    // The test runner lists and filters by arguments; there is one test.
    if arguments.iter().any(|it| it == "--list") {
        println!("a_killed_process_gives_nothing_back: test");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut told = 0;
    for kill in 0..KILLS {
        told += kill_after(folder.path(), kill % 9);
        let spent = LIMIT - open(folder.path()).left_millionths();
        assert!(
            spent >= told * EACH,
            "{spent} of {told} times are stored after {kill} kills"
        );
        // One for each kill may be stored and not told.
        assert!(
            spent <= (told + kill + 1) * EACH,
            "{spent} are stored after {told} times"
        );
    }
    println!("test a_killed_process_gives_nothing_back ... ok");
}
