//! A month offline, by an accelerated clock: power cuts at each step, SIGKILL, a disk that fills, days without power; then all is replayed into
//! a store, and each record is checked. Without a harness, since the process that is killed is this program.
//!
//! A run of the outbox has a [`VirtualClock`], which its thread waits by; the next run begins at the time of day at which the last one ended,
//! as a new start of the machine, so that ages go on as they do on a device.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "month/books.rs"]
mod books;
#[path = "month/replay.rs"]
mod replay;

use std::env;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, VirtualClock, resident};
use hotshoe_outbox::{Host, Limits, Options, Outbox, Priority, Record};
use hotshoe_tests::DEADLINE;

use books::Books;
use replay::{check_store, replay};

/// What tells the process that is killed what to do: folder, hour to begin at, last hour, number of the start.
const CHILD: [&str; 4] = [
    "HOTSHOE_MONTH_FOLDER",
    "HOTSHOE_MONTH_HOUR",
    "HOTSHOE_MONTH_END",
    "HOTSHOE_MONTH_START",
];
const DAYS: u64 = 30;
const HOUR_S: u64 = 3_600;
/// Some day in 2026, in seconds since 1970.
const BEGIN_S: u64 = 1_790_000_000;
/// How long records about people may be kept, in hours: two days.
const PEOPLE_HOURS: u64 = 48;
/// Days on which the disk fills, and stays full for some hours.
const FULL_DAYS: [u64; 3] = [11, 19, 26];
/// Days without power.
const OFF_DAYS: [u64; 2] = [14, 15];
/// Least number of power cuts of the month.
const LEAST_CUTS: u64 = 40;
/// Least number of kills of the month.
const LEAST_KILLS: u64 = 15;
/// What a day may write for each byte of payload: once, again when space is made, and what the state takes.
const MOST_WRITTEN: u64 = 16;
/// What a start may write beside that, in bytes: the state, the reserve, the head of a segment.
const MOST_WRITTEN_BY_START: u64 = 512 << 10;
/// What the process may grow after the fifth day, in bytes. The books of this test are within it.
const MOST_GROWTH: u64 = 24 << 20;
/// Bytes of the folder beside the segments: state and reserve.
const MOST_BESIDE: u64 = 1 << 20;

/// A source, its priority, its records of an hour, and the bytes that fill a record.
const SOURCES: [(&str, Priority, u64, usize); 4] = [
    ("action", Priority::Critical, 1, 100),
    ("insight", Priority::Normal, 8, 800),
    ("people", Priority::High, 2, 200),
    ("count", Priority::Low, 10, 20),
];

fn limits() -> Limits {
    Limits {
        bytes: 1 << 20,
        segment_bytes: 64 << 10,
        records: 4_096,
        payload_bytes: 4 << 10,
        age: Duration::from_secs(20 * 24 * HOUR_S),
        commit_window: Duration::ZERO,
        ..Limits::default()
    }
}

/// What a run tells.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// A record is durable: its source by number, its sequence, its own number.
    Accepted(usize, u64, u64),
    /// An hour is over: bytes that this run has written, bytes of payloads that it accepted.
    Hour(u64, u64),
}

/// The number of a record: no other one has it, unless an hour is repeated after a kill.
fn number(hour: u64, source: usize, at: u64) -> u64 {
    (hour * 10 + source as u64) * 100 + at
}

fn payload(hour: u64, source: usize, at: u64) -> Vec<u8> {
    let (name, _, _, fill) = SOURCES[source];
    let (number, fill) = (number(hour, source, at), "x".repeat(fill));
    format!("{{\"number\":{number},\"{name}-of-hour\":{hour},\"fill\":\"{fill}\"}}").into_bytes()
}

fn soon(clock: &Clock) -> std::time::Instant {
    clock.deadline(DEADLINE)
}

/// The outbox in its start number `start`, at an hour of the month.
fn open(folder: &Path, faults: Faults, hour: u64, start: u64) -> Option<(Outbox, VirtualClock)> {
    let time = VirtualClock::at(UNIX_EPOCH + Duration::from_secs(BEGIN_S + hour * HOUR_S));
    let options = Options {
        limits: limits(),
        host: Host {
            machine: "machine".to_owned(),
            boot: start.to_string(),
            uptime: Duration::from_secs(1),
        },
        ..Options::new(
            folder,
            Disk::new(faults),
            &Supervisor::timed_by(time.clock()),
        )
    };
    let (outbox, _) = Outbox::open(options).ok()?;
    Some((outbox, time))
}

/// Appends what an hour brings. Ends where a record is refused for another reason than that the outbox is full of more important ones.
fn append(
    outbox: &Outbox,
    clock: &Clock,
    hour: u64,
    told: &mut impl FnMut(Told),
) -> ControlFlow<String> {
    for (place, (source, priority, records, _)) in SOURCES.into_iter().enumerate() {
        let record = |at| Record {
            source: Arc::from(source),
            class: Arc::from(source),
            priority,
            retention: (source == "people").then(|| Duration::from_secs(PEOPLE_HOURS * HOUR_S)),
            payload: payload(hour, place, at),
        };
        match outbox.append((0..records).map(record).collect(), soon(clock)) {
            Ok(positions) => {
                for (at, position) in (0..).zip(positions) {
                    let number = number(hour, place, at);
                    told(Told::Accepted(place, position.sequence, number));
                }
            }
            // Of some, which are then stored or named as well.
            Err(error) if error.name() == "no_room" => {}
            Err(error) => return ControlFlow::Break(error.name().to_owned()),
        }
    }
    ControlFlow::Continue(())
}

/// Runs from an hour to another one. Returns the hour at which it ended. `may_refuse` is for a disk that is full: the run goes on.
fn run(
    folder: &Path,
    faults: &Faults,
    (hour, end, start): (u64, u64, u64),
    may_refuse: bool,
    told: &mut impl FnMut(Told),
) -> u64 {
    let Some((outbox, time)) = open(folder, faults.clone(), hour, start) else {
        return hour + 1;
    };
    let clock = time.clock();
    let mut now = hour;
    while now < end {
        let appended = append(&outbox, &clock, now, told);
        if let ControlFlow::Break(name) = appended
            && !may_refuse
        {
            assert_eq!(name, "io", "hour {now}");
            now += 1;
            break;
        }
        check_bounds(&outbox, folder, now);
        let stats = outbox.stats();
        told(Told::Hour(stats.written_bytes, stats.payload_bytes));
        time.advance(Duration::from_secs(HOUR_S));
        now += 1;
    }
    outbox.close(soon(&clock));
    now
}

fn check_bounds(outbox: &Outbox, folder: &Path, hour: u64) {
    let (stats, limits) = (outbox.stats(), limits());
    assert!(
        stats.disk_bytes <= limits.bytes,
        "hour {hour}: {} bytes of segments",
        stats.disk_bytes
    );
    assert!(stats.records <= limits.records, "hour {hour}");
    // Of four sources, some causes in each epoch, which each start may raise.
    assert!(
        stats.losses <= 4_096,
        "hour {hour}: {} losses",
        stats.losses
    );
    let bytes: u64 = contents(folder).map(|it| it.len() as u64).sum();
    assert!(
        bytes <= limits.bytes + MOST_BESIDE,
        "hour {hour}: {bytes} bytes in the folder"
    );
}

fn contents(folder: &Path) -> impl Iterator<Item = Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    // The outbox may remove one meanwhile.
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default())
}

/// Checks that no byte of a record about people is older than it may be.
fn check_retention(folder: &Path, now: u64) {
    let key = b"\"people-of-hour\":";
    for bytes in contents(folder) {
        for at in 0..bytes.len().saturating_sub(key.len()) {
            if !bytes[at..].starts_with(key) {
                continue;
            }
            let digits = bytes[at + key.len()..].iter();
            let hour = digits
                .take_while(|it| it.is_ascii_digit())
                .fold(0, |hour, digit| hour * 10 + u64::from(digit - b'0'));
            assert!(
                now <= hour + PEOPLE_HOURS,
                "in hour {now}, a record of hour {hour} is there"
            );
        }
    }
}

/// The process that is killed: prints what it was told, each as a line.
fn child(folder: &Path) {
    let number = |name: &str| -> u64 { env::var(name).unwrap().parse().unwrap() };
    let place = (number(CHILD[1]), number(CHILD[2]), number(CHILD[3]));
    let mut out = std::io::stdout();
    run(folder, &Faults::never(), place, false, &mut |told| {
        let line = match told {
            Told::Accepted(source, sequence, number) => format!("{source} {sequence} {number}\n"),
            Told::Hour(bytes, payload) => format!("{bytes} {payload}\n"),
        };
        out.write_all(line.as_bytes()).unwrap();
    });
}

fn main() {
    if let Some(folder) = env::var_os(CHILD[0]) {
        return child(Path::new(&folder));
    }
    // The test runner lists and filters by arguments; there is one test.
    if env::args().any(|it| it == "--list") {
        println!("a_month_offline_loses_nothing_that_is_not_named: test");
        return;
    }
    a_month_offline_loses_nothing_that_is_not_named();
    println!("test a_month_offline_loses_nothing_that_is_not_named ... ok");
}

fn a_month_offline_loses_nothing_that_is_not_named() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    let mut books = Books::default();
    let mut resident_then = None;
    for day in 0..DAYS {
        let (hour, end) = (day * 24, day * 24 + 24);
        books.days.push((0, 0, 0));
        match day {
            day if OFF_DAYS.contains(&day) => continue,
            day if FULL_DAYS.contains(&day) => books.day_of_a_full_disk(&outbox, hour, end),
            day if day % 3 == 0 => books.day_of_cuts(&outbox, hour, end),
            day if day % 3 == 1 => books.day_of_kills(&outbox, hour, end),
            _ => {
                books.run(&outbox, &Faults::never(), (hour, end), false);
            }
        }
        // What a fault left is removed at the next start, at the latest.
        books.run(&outbox, &Faults::never(), (end, end), false);
        check_retention(&outbox, end);
        let (written, payload, starts) = *books.day();
        println!("day {day}: {payload} bytes of payload, {written} written, {starts} starts");
        assert!(
            written <= MOST_WRITTEN * payload + MOST_WRITTEN_BY_START * starts,
            "day {day}: {written} bytes written for {payload} of payload in {starts} starts"
        );
        if day == 4 {
            resident_then = resident().map(|it| it.bytes);
        }
    }
    if let (Some(then), Some(now)) = (resident_then, resident()) {
        assert!(
            now.bytes <= then + MOST_GROWTH,
            "{then} bytes grew to {}",
            now.bytes
        );
    }
    assert!(books.cuts >= LEAST_CUTS, "{} power cuts", books.cuts);
    assert!(books.kills >= LEAST_KILLS, "{} kills", books.kills);
    let store = folder.path().join("collected");
    replay(&outbox, &store, books.starts + 1);
    check_store(&store, &books.accepted);
}
