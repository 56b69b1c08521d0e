//! The outbox against a plain file with the same syncs, and against SQLite with the same promise.

mod sides;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_outbox::{Host, Limits, Options, Outbox, Priority, Record};
use hotshoe_sealing::AtRest;

use super::report::{Counts, Row, Unit};
use super::timings::median;
pub(crate) use sides::Side;
use sides::{Plain, Sqlite};

/// Bytes of a payload.
const PAYLOAD: usize = 512;
/// Records of one commit.
const BATCHES: [usize; 4] = [1, 4, 32, 256];
/// Threads that each append one record at a time.
const WRITERS: [usize; 3] = [4, 32, 256];
/// Least share of a plain file's records per second, from batches of 32 on.
const LEAST_SHARE: f64 = 0.9;
/// Most bytes on the disk for one of payload.
const MOST_BYTES: f64 = 1.1;
/// Most records of one turn, so that a fast disk is not filled.
const MOST_RECORDS: usize = 40_000;
/// Records that are sent at once when the log is replayed.
const REPLAY_BATCH: usize = 256;
const DEADLINE: Duration = Duration::from_secs(300);

/// How much is measured.
struct Amounts {
    rounds: usize,
    /// How long each side appends in one round.
    turn: Duration,
    /// Bytes of the log that is recovered.
    recovered: u64,
}

/// The outbox as one of the sides.
pub(crate) struct Ours {
    outbox: Outbox,
    source: Arc<str>,
    class: Arc<str>,
}

impl Ours {
    fn open(folder: &Path, limits: Limits) -> anyhow::Result<Self> {
        Self::open_at_rest(folder, limits, AtRest::plain())
    }

    /// An outbox whose records may be sealed.
    pub(crate) fn open_at_rest(
        folder: &Path,
        limits: Limits,
        at_rest: AtRest,
    ) -> anyhow::Result<Self> {
        let (outbox, _) = Outbox::open(Options {
            folder: folder.to_owned(),
            limits,
            disk: Disk::new(Faults::never()),
            at_rest,
            supervisor: Supervisor::default(),
            host: Host::here(),
        })?;
        Ok(Self {
            outbox,
            source: Arc::from("camera"),
            class: Arc::from("insight"),
        })
    }

    fn record(&self, payload: &[u8]) -> Record {
        Record {
            source: Arc::clone(&self.source),
            class: Arc::clone(&self.class),
            priority: Priority::Normal,
            retention: None,
            payload: payload.to_vec(),
        }
    }

    pub(crate) fn end(self) -> anyhow::Result<()> {
        ensure!(self.outbox.close(deadline()), "the outbox did not end");
        Ok(())
    }
}

impl Side for Ours {
    fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()> {
        let records = (0..count).map(|_| self.record(payload)).collect();
        self.outbox.append(records, deadline())?;
        Ok(())
    }
}

fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// Limits that nothing of a measurement reaches.
pub(crate) fn unbounded() -> Limits {
    Limits {
        bytes: 8 << 30,
        records: 16 << 20,
        ..Limits::default()
    }
}

/// Measures in a folder beside the checkout's other results, so that the disk is the same.
pub(crate) fn measure(root: &Path, quick: bool) -> anyhow::Result<(Counts, Vec<Row>)> {
    let amounts = if quick {
        Amounts {
            rounds: 2,
            turn: Duration::from_millis(400),
            recovered: 64 << 20,
        }
    } else {
        Amounts {
            rounds: 7,
            turn: Duration::from_secs(2),
            recovered: 1 << 30,
        }
    };
    let target = root.join("target");
    std::fs::create_dir_all(&target).context("cannot create the folder of results")?;
    let folder = tempfile::tempdir_in(&target).context("cannot create a folder for the bench")?;
    let mut rows = Vec::new();
    let journal = batches(folder.path(), &amounts, &mut rows)?;
    writers(&folder.path().join("writers"), &amounts, &mut rows)?;
    latency(&folder.path().join("latency"), &amounts, &mut rows)?;
    recovery(&folder.path().join("recovery"), &amounts, &mut rows)?;
    let mut counts = Counts::new();
    counts.insert("payload_bytes", PAYLOAD.into());
    counts.insert("sqlite_journal", journal.into());
    counts.insert("recovered_bytes", amounts.recovered.into());
    Ok((counts, rows))
}

/// Records per second of each size of batch, on all sides in turn. Returns the journal of SQLite that was faster.
fn batches(folder: &Path, amounts: &Amounts, rows: &mut Vec<Row>) -> anyhow::Result<&'static str> {
    let mut ours = Ours::open(&folder.join("ours"), unbounded())?;
    let mut plain = Plain::create(&folder.join("plain"))?;
    let mut wal = Sqlite::create(&folder.join("wal.db"), "WAL")?;
    let mut delete = Sqlite::create(&folder.join("delete.db"), "DELETE")?;
    let payload = payload();
    let mut wins = 0i32;
    for batch in BATCHES {
        let mut rates: [Vec<f64>; 4] = Default::default();
        for round in 0..=amounts.rounds {
            let sides: [&mut dyn Side; 4] = [&mut ours, &mut plain, &mut wal, &mut delete];
            for (side, rates) in sides.into_iter().zip(&mut rates) {
                let rate = rate(side, &payload, batch, amounts.turn)?;
                // The first round warms up.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let [ours, plain, wal, delete] = rates.map(|rates| middle(&rates));
        wins += if wal >= delete { 1 } else { -1 };
        let name = format!("durable records/s, batches of {batch}");
        let row = Row::compared(
            &name,
            Unit::Count,
            ours,
            ("file and fdatasync", plain),
            None,
        );
        rows.push(if batch >= 32 {
            row.at_least(LEAST_SHARE)
        } else {
            row
        });
        let against = ("SQLite, synchronous=FULL", wal.max(delete));
        rows.push(Row::compared(&name, Unit::Count, ours, against, None));
    }
    let stats = ours.outbox.stats();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let against = ("their payloads", megabytes(stats.payload_bytes));
    let size = megabytes(stats.disk_bytes);
    let name = "records on the disk";
    rows.push(Row::compared(
        name,
        Unit::Megabytes,
        size,
        against,
        Some(MOST_BYTES),
    ));
    ours.end()?;
    Ok(if wins >= 0 { "WAL" } else { "DELETE" })
}

/// Records per second of a side that appends for a time.
pub(crate) fn rate(
    side: &mut dyn Side,
    payload: &[u8],
    batch: usize,
    turn: Duration,
) -> anyhow::Result<f64> {
    let (started, mut records) = (Instant::now(), 0);
    while started.elapsed() < turn && records < MOST_RECORDS {
        side.append(payload, batch)?;
        records += batch;
    }
    Ok(records as f64 / started.elapsed().as_secs_f64())
}

/// Records per second of threads that each append one at a time, against one caller with batches of as many.
fn writers(folder: &Path, amounts: &Amounts, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let mut ours = Ours::open(folder, unbounded())?;
    let payload = payload();
    for writers in WRITERS {
        let (mut together, mut batched) = (Vec::new(), Vec::new());
        for _ in 0..amounts.rounds {
            together.push(of_writers(&ours, &payload, writers, amounts.turn)?);
            batched.push(rate(&mut ours, &payload, writers, amounts.turn)?);
        }
        let name = format!("durable records/s, {writers} writers");
        let against = ("batches of as many", middle(&batched));
        rows.push(Row::compared(
            &name,
            Unit::Count,
            middle(&together),
            against,
            None,
        ));
    }
    ours.end()
}

fn of_writers(ours: &Ours, payload: &[u8], writers: usize, turn: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<usize> {
                    let mut records = 0;
                    while started.elapsed() < turn && records * writers < MOST_RECORDS {
                        ours.outbox.append(vec![ours.record(payload)], deadline())?;
                        records += 1;
                    }
                    Ok(records)
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| {
            let joined = thread.join();
            joined.unwrap_or_else(|_| Err(anyhow::anyhow!("a writer panicked")))
        });
        ended.collect::<anyhow::Result<Vec<usize>>>()
    })?;
    Ok(counts.into_iter().sum::<usize>() as f64 / started.elapsed().as_secs_f64())
}

/// The 99th percentile from an offer to its durability, against the window and that of a bare sync.
fn latency(folder: &Path, amounts: &Amounts, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let mut plain = Plain::create(&folder.with_extension("plain"))?;
    let ours = Ours::open(folder, unbounded())?;
    let payload = payload();
    let window = Limits::default().commit_window;
    let (mut offered, mut bare) = (Vec::new(), Vec::new());
    let started = Instant::now();
    while started.elapsed() < amounts.turn * 4 {
        let began = Instant::now();
        let ticket = ours.outbox.offer(ours.record(&payload))?;
        ticket.wait(deadline())?;
        offered.push(began.elapsed());
        let began = Instant::now();
        plain.append(&payload, 1)?;
        bare.push(began.elapsed());
    }
    let allowed = percentile_99(&mut bare) + window.as_secs_f64() * 1e6;
    let found = percentile_99(&mut offered);
    let against = ("the window and a bare sync", allowed);
    let name = "offer to durable, p99";
    rows.push(Row::compared(name, Unit::Millis, found, against, Some(1.0)));
    ours.end()
}

/// How fast a log is opened, and sent and acknowledged.
fn recovery(folder: &Path, amounts: &Amounts, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let mut ours = Ours::open(folder, unbounded())?;
    let payload = payload();
    while ours.outbox.stats().disk_bytes < amounts.recovered {
        ours.append(&payload, 1024)?;
    }
    ours.end()?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        let ours = Ours::open(folder, unbounded())?;
        times.push(started.elapsed());
        ours.end()?;
    }
    let time = median(&times).context("no time was measured")?;
    let megabytes = amounts.recovered / 1_000_000;
    rows.push(Row::alone(
        &format!("recovery of {megabytes} MB"),
        Unit::Millis,
        time,
        None,
    ));

    let ours = Ours::open(folder, unbounded())?;
    let (started, mut records) = (Instant::now(), 0);
    while started.elapsed() < amounts.turn * 4 {
        let items = ours.outbox.next_batch(REPLAY_BATCH, usize::MAX)?;
        let Some((first, last)) = items.first().zip(items.last()) else {
            break;
        };
        let ((_, from, _), (source, _, to)) = (first.range(), last.range());
        ours.outbox.acknowledge(source, &[(from, to)])?;
        records += items.len();
    }
    let rate = records as f64 / started.elapsed().as_secs_f64();
    rows.push(Row::alone("replayed records/s", Unit::Count, rate, None));
    ours.end()
}

/// Bytes that no side can shrink.
pub(crate) fn payload() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(PAYLOAD).collect()
}

/// The median of rates.
pub(crate) fn middle(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// In microseconds.
fn percentile_99(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let at = times.len().saturating_sub(1) * 99 / 100;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
