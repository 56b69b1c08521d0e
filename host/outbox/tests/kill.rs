//! Kills a process that appends, at random moments: what it said to be durable is there. Without a harness, since the process is this program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_outbox::{Item, Options, Outbox, Priority};

use common::{end, record, soon};

/// The folder of the process that appends.
const FOLDER: &str = "HOTSHOE_OUTBOX_FOLDER";
/// Times that a process is killed.
const ROUNDS: u64 = 12;

fn main() {
    if let Some(folder) = env::var_os(FOLDER) {
        return append(Path::new(&folder));
    }
    // The test runner lists and filters by arguments; there is one test.
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--list") {
        println!("what_a_killed_process_accepted_is_there: test");
        return;
    }
    what_a_killed_process_accepted_is_there();
    println!("test what_a_killed_process_accepted_is_there ... ok");
}

fn options(folder: &Path) -> Options {
    let mut options = Options::new(folder, Disk::new(Faults::never()), &Supervisor::default());
    options.limits.segment_bytes = 8 << 10;
    options.limits.commit_window = Duration::from_millis(1);
    options
}

/// Appends with four threads until it is killed, and prints the source, the sequence and the payload of what is durable.
fn append(folder: &Path) {
    let (outbox, _) = Outbox::open(options(folder)).unwrap();
    std::thread::scope(|scope| {
        for source in ["a", "b", "c", "d"] {
            let outbox = &outbox;
            scope.spawn(move || {
                for number in 0u64.. {
                    let payload = format!("{source}-{}-{number}", std::process::id());
                    let first = record(source, Priority::Normal, payload.as_bytes());
                    let more = vec![first.clone(); (number % 4) as usize];
                    let records = [vec![first], more].concat();
                    let positions = outbox.append(records, soon()).unwrap();
                    let lines = positions.iter();
                    let lines = lines.map(|it| format!("{source} {} {payload}\n", it.sequence));
                    let lines: String = lines.collect();
                    std::io::stdout()
                        .lock()
                        .write_all(lines.as_bytes())
                        .unwrap();
                }
            });
        }
    });
}

fn what_a_killed_process_accepted_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut accepted: BTreeMap<(String, u64), String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Different numbers of lines, from none to hundreds. What comes after the kill was said before it.
        let before_the_kill = (round * 37) % 401;
        let mut said: Vec<String> = Vec::new();
        for _ in 0..before_the_kill {
            said.push(lines.next().expect("it goes on").unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines.map_while(Result::ok));
        for line in said {
            let parts: Vec<&str> = line.split(' ').collect();
            // The last line may be cut off.
            if let [source, sequence, payload] = parts[..]
                && let Ok(sequence) = sequence.parse()
            {
                let before = accepted.insert((source.to_owned(), sequence), payload.to_owned());
                assert_eq!(before, None, "{source} {sequence} was given twice");
            }
        }
        check(folder.path(), &mut accepted);
    }
    assert!(!accepted.is_empty());
}

/// Checks all that was accepted, and acknowledges half of it.
fn check(folder: &Path, accepted: &mut BTreeMap<(String, u64), String>) {
    let (outbox, recovery) = Outbox::open(options(folder)).unwrap();
    assert_eq!(recovery.losses, []);
    let items = outbox.next_batch(usize::MAX, usize::MAX).unwrap();
    let mut found = BTreeMap::new();
    for item in items {
        let Item::Record(record) = item else {
            panic!("{item:?}");
        };
        let payload = String::from_utf8(record.payload).unwrap();
        found.insert((record.id.source.to_string(), record.id.sequence), payload);
    }
    for (key, payload) in accepted.iter() {
        // A last line may have been cut off in its payload.
        let there = found.get(key).unwrap_or_else(|| panic!("{key:?} is gone"));
        assert!(there.starts_with(payload.as_str()), "{key:?}: {there}");
    }
    for source in ["a", "b", "c", "d"] {
        let own = found.keys().filter(|(name, _)| name == source);
        let sequences: Vec<u64> = own.map(|(_, sequence)| *sequence).collect();
        let is_whole = sequences.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(is_whole, "{source}: {sequences:?}");
        let Some(first) = sequences.first() else {
            continue;
        };
        let middle = sequences[sequences.len() / 2];
        outbox.acknowledge(source, &[(*first, middle)]).unwrap();
        accepted.retain(|(name, sequence), _| name != source || *sequence > middle);
    }
    end(outbox);
}
