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

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, VirtualClock, resident};
use hotshoe_collect::{RECORDS, ReceivedBatch, Store};
use hotshoe_outbox::{Host, Item, Limits, Options, Outbox, Priority, Record};
use hotshoe_protocol::outbox::{
    BATCH_FORMAT, Batch, BatchItem, LossItem, RecordItem, encode_payload,
};
use hotshoe_tests::{DEADLINE, until};
use hotshoe_trust::Digest;
use serde_json::Value;

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

/// What is known of the month.
#[derive(Default)]
struct Books {
    /// The numbers of accepted records, by source and sequence.
    accepted: BTreeMap<(usize, u64), u64>,
    starts: u64,
    cuts: u64,
    kills: u64,
    /// Of each day the bytes that were written, those of accepted payloads, and the starts.
    days: Vec<(u64, u64, u64)>,
}

impl Books {
    fn day(&mut self) -> &mut (u64, u64, u64) {
        self.days.last_mut().unwrap()
    }

    /// Runs in this process; returns the hour at which it ended.
    fn run(
        &mut self,
        folder: &Path,
        faults: &Faults,
        (hour, end): (u64, u64),
        may_refuse: bool,
    ) -> u64 {
        self.starts += 1;
        let (mut written, mut accepted) = ((0, 0), Vec::new());
        let place = (hour, end, self.starts);
        let ended = run(folder, faults, place, may_refuse, &mut |told| match told {
            Told::Accepted(source, sequence, number) => accepted.push(((source, sequence), number)),
            Told::Hour(bytes, payload) => written = (bytes, payload),
        });
        self.accepted.extend(accepted);
        self.add(written);
        ended
    }

    fn add(&mut self, (bytes, payload): (u64, u64)) {
        let day = self.day();
        day.0 += bytes;
        day.1 += payload;
        day.2 += 1;
    }

    /// Cuts the power once in each start of a day, each time one step of the disk later.
    fn day_of_cuts(&mut self, folder: &Path, mut hour: u64, end: u64) {
        while hour < end {
            let cut = Faults::after(self.cuts);
            hour = self.run(folder, &cut, (hour, end), false);
            self.cuts += u64::from(hour < end);
        }
    }

    /// Kills a process in a day, again and again.
    fn day_of_kills(&mut self, folder: &Path, mut hour: u64, end: u64) {
        while hour < end {
            self.starts += 1;
            let values = [
                folder.display().to_string(),
                hour.to_string(),
                end.to_string(),
                self.starts.to_string(),
            ];
            let mut child = Command::new(env::current_exe().unwrap())
                .envs(CHILD.into_iter().zip(values))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // From none to those of five hours. What comes after the kill was said before it.
            let before_the_kill = usize::try_from(self.starts * 37 % 110).unwrap();
            let mut said: Vec<String> = Vec::new();
            while said.len() < before_the_kill
                && let Some(line) = lines.next()
            {
                said.push(line.unwrap());
            }
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            said.extend(lines.map_while(Result::ok));
            // It may have reached the end of the day before.
            self.kills += u64::from(ended.code().is_none());
            let mut written = (0, 0);
            for line in &said {
                let words: Vec<u64> = line
                    .split(' ')
                    .filter_map(|word| word.parse().ok())
                    .collect();
                match words[..] {
                    [source, sequence, number] => {
                        let source = usize::try_from(source).unwrap();
                        self.accepted.insert((source, sequence), number);
                    }
                    [bytes, payload] => {
                        written = (bytes, payload);
                        hour += 1;
                    }
                    // The line was not finished.
                    _ => {}
                }
            }
            self.add(written);
            // The rest of the hour in which it was killed.
            hour += 1;
        }
    }

    /// Fills the disk for some hours of a day.
    fn day_of_a_full_disk(&mut self, folder: &Path, hour: u64, end: u64) {
        let faults = Faults::full_after(8);
        let later = hour + (end - hour) / 4;
        self.run(folder, &faults, (hour, later), true);
        self.run(folder, &Faults::never(), (later, end), false);
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

/// Sends all to a store, as a device does that has its network back; some acknowledgements are lost.
fn replay(folder: &Path, store: &Path, start: u64) {
    let (outbox, _time) = open(folder, Faults::never(), DAYS * 24, start).unwrap();
    let mut lines = Store::jsonl(store, Disk::new(Faults::never())).unwrap();
    let waiting = outbox.stats().records as u64;
    let (mut batches, mut stored, mut duplicates) = (0_u64, 0, 0);
    until("all is delivered", || {
        loop {
            let items = outbox.next_batch(256, 256 << 10).unwrap();
            if items.is_empty() {
                break;
            }
            let outcome = lines
                .put(&received(&items, outbox.stats().instance))
                .unwrap();
            stored += outcome.stored;
            duplicates += outcome.duplicates;
            assert!(outcome.conflicts.is_empty());
            batches += 1;
            if batches % 5 == 0 {
                // The acknowledgement is lost: the batch comes again.
                continue;
            }
            for item in &items {
                let (source, from, to) = item.range();
                outbox.acknowledge(source, &[(from, to)]).unwrap();
            }
        }
        let stats = outbox.stats();
        stats.records == 0 && stats.losses == 0
    });
    assert_eq!(stored, waiting);
    assert!(batches < 5 || duplicates > 0);
}

/// A batch as a collector reads it from the wire.
fn received(items: &[Item], instance: u128) -> ReceivedBatch {
    let items = items.iter().map(|item| match item {
        Item::Record(record) => {
            let (payload, payload_base64) = encode_payload(&record.payload);
            BatchItem::Record(RecordItem {
                source: record.id.source.to_string(),
                epoch: record.id.epoch,
                sequence: record.id.sequence,
                digest: Digest::from_bytes(record.id.digest).hex(),
                class: record.class.clone(),
                priority: record.priority.name().to_owned(),
                wall_ms: record.wall_ms,
                payload,
                payload_base64,
            })
        }
        Item::Loss(loss) => BatchItem::Loss(LossItem {
            source: loss.source.to_string(),
            epoch: loss.epoch,
            from: loss.from,
            to: loss.to,
            count: loss.count,
            bytes: loss.bytes,
            cause: loss.cause.name().to_owned(),
        }),
    });
    let batch = Batch {
        format: BATCH_FORMAT,
        site: "lab".to_owned(),
        device: "line-4".to_owned(),
        instance: format!("{instance:032x}"),
        session: "replay".to_owned(),
        left: 0,
        items: items.collect(),
    };
    let bytes = serde_json::to_vec(&batch).unwrap();
    let batch: Batch = serde_json::from_slice(&bytes).unwrap();
    ReceivedBatch::try_from(&batch).unwrap()
}

/// Checks that each accepted record is stored, once and as it was, or within a loss, and that each sequence is one or the other.
fn check_store(store: &Path, accepted: &BTreeMap<(usize, u64), u64>) {
    let text = fs::read_to_string(store.join(RECORDS)).unwrap();
    let mut stored: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut lost: BTreeMap<(usize, u64), String> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["source"].as_str().unwrap();
        let source = SOURCES.iter().position(|it| it.0 == name).unwrap();
        let whole = |key: &str| line[key].as_u64().unwrap();
        if line["kind"] == "record" {
            let number = line["payload"]["number"].as_u64().unwrap();
            let twice = stored.insert((source, whole("sequence")), number);
            assert_eq!(twice, None, "{line}");
        } else {
            let cause = line["cause"].as_str().unwrap();
            for sequence in whole("from")..=whole("to") {
                lost.insert((source, sequence), cause.to_owned());
            }
        }
    }
    let mut causes = BTreeMap::new();
    for (place, number) in accepted {
        match (stored.get(place), lost.get(place)) {
            (Some(found), None) => assert_eq!(found, number, "{place:?}"),
            (None, Some(cause)) => {
                *causes.entry(cause.as_str()).or_insert(0_u64) += 1;
            }
            (None, None) => panic!("{place:?} was accepted, and is neither stored nor lost"),
            (Some(_), Some(_)) => panic!("{place:?} is stored and lost"),
        }
    }
    println!("accepted and lost: {causes:?}");
    // What was accepted was lost for its age or for space. Where losses are many, neighbours have the cause of the larger one.
    let (needed, allowed) = (["evicted", "expired"], ["evicted", "expired", "disk_full"]);
    assert!(
        needed.iter().all(|it| causes.contains_key(it)),
        "{causes:?}"
    );
    assert!(causes.keys().all(|it| allowed.contains(it)), "{causes:?}");
    for source in 0..SOURCES.len() {
        let of = |places: &mut dyn Iterator<Item = (usize, u64)>| -> BTreeSet<u64> {
            let of_source = places.filter(|it| it.0 == source);
            of_source.map(|it| it.1).collect()
        };
        let stored = of(&mut stored.keys().copied());
        let lost = of(&mut lost.keys().copied());
        assert!(stored.is_disjoint(&lost), "source {source}");
        let all: Vec<u64> = stored.union(&lost).copied().collect();
        let last = all.last().copied().unwrap_or_default();
        assert_eq!(all, (1..=last).collect::<Vec<u64>>(), "source {source}");
    }
}
