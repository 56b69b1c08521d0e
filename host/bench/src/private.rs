//! What encryption at rest and figures with noise cost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_base::Clock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_devkit::Environment;
use hotshoe_differential_privacy::{
    Boot, Budget, Definition, Epsilon, Kind, Noise, Window, pack, publish,
};
use hotshoe_sealing::{AtRest, DeviceKey};
use hotshoe_store::Store;
use hotshoe_trust::Blob;

use super::lines;
use super::outbox::{Ours, middle, payload, unbounded};
use super::report::{Counts, Row, Unit};
use super::setup::BenchSetup;
use super::start;

/// Least share of the records per second without encryption.
const LEAST_SHARE: f64 = 0.9;
/// Most of the time of a start without encryption.
const MOST_START: f64 = 1.1;
/// Records of one commit.
const BATCHES: [usize; 3] = [1, 32, 256];
/// Bytes of a blob, as a model may have: 64 MiB.
const BLOB: usize = 64 << 20;
/// Cells of a histogram.
const CELLS: i64 = 64;
/// Windows of a day with a new one each minute.
const MINUTES: i64 = 1_440;

/// How much is measured.
struct Amounts {
    rounds: usize,
    /// How long each side works in one round.
    turn: Duration,
}

pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let amounts = if quick {
        Amounts {
            rounds: 2,
            turn: Duration::from_millis(400),
        }
    } else {
        Amounts {
            rounds: 7,
            turn: Duration::from_secs(2),
        }
    };
    let setup = BenchSetup::prepare(environment)?;
    let folder = setup.folder().join("private");
    std::fs::create_dir_all(&folder).context("cannot create a folder for the bench")?;
    let key = folder.join("bench.key");
    let key = || DeviceKey::read(&key).or_else(|_| DeviceKey::create(&key));
    let mut rows = Vec::new();
    records(&folder, AtRest::sealed(key()?, true), &amounts, &mut rows)?;
    blobs(&folder, AtRest::sealed(key()?, true), &amounts, &mut rows)?;
    let picture = lines::first_line(&setup)?;
    rows.push(start::encrypted(
        &setup,
        &picture,
        amounts.rounds,
        MOST_START,
    )?);
    figures(&folder, &amounts, &mut rows)?;
    let saved = series(&mut rows)?;
    let mut counts = Counts::new();
    counts.insert("blob_bytes", BLOB.into());
    counts.insert("series_saved_bytes", saved.into());
    Ok((counts, rows))
}

/// Durable records per second, with and without encryption in turn.
fn records(
    folder: &Path,
    at_rest: AtRest,
    amounts: &Amounts,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let mut sealed = Ours::open_at_rest(&folder.join("sealed"), unbounded(), at_rest)?;
    let mut plain = Ours::open_at_rest(&folder.join("plain"), unbounded(), AtRest::plain())?;
    let payload = payload();
    for batch in BATCHES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=amounts.rounds {
            let (one, other) = (
                sealed.rate(&payload, batch, amounts.turn)?,
                plain.rate(&payload, batch, amounts.turn)?,
            );
            // The first round warms up.
            if round > 0 {
                ours.push(one);
                theirs.push(other);
            }
        }
        let name = format!("encrypted records/s, batches of {batch}");
        let against = ("not encrypted", middle(&theirs));
        let row = Row::compared(&name, Unit::Count, middle(&ours), against, None);
        rows.push(row.at_least(LEAST_SHARE));
    }
    sealed.end()?;
    plain.end()
}

/// Reading and checking a blob, as at a start.
fn blobs(
    folder: &Path,
    at_rest: AtRest,
    amounts: &Amounts,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let contents: Vec<u8> = payload().into_iter().cycle().take(BLOB).collect();
    let sealed = Store::open_at_rest(&folder.join("sealed-data"), at_rest)?.blobs();
    let plain = Store::open(&folder.join("plain-data"))?.blobs();
    let blob: Blob = sealed.put(&contents)?;
    plain.put(&contents)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..amounts.rounds.max(3) {
        for (blobs, rates) in [(&sealed, &mut ours), (&plain, &mut theirs)] {
            let started = Instant::now();
            blobs.read(&blob)?;
            rates.push(BLOB as f64 / 1e6 / started.elapsed().as_secs_f64());
        }
    }
    let name = "encrypted blob, read and checked";
    let against = ("not encrypted", middle(&theirs));
    rows.push(Row::compared(
        name,
        Unit::MegabytesPerSecond,
        middle(&ours),
        against,
        None,
    ));
    Ok(())
}

/// The cost of a record in a window, and of publishing a window.
fn figures(folder: &Path, amounts: &Amounts, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let epsilon = Epsilon::from_millionths(100_000)?;
    let edges = (1..CELLS).collect();
    let definition = Definition::new("bench", Kind::Histogram { edges }, 1_000, epsilon)?;
    let mut window = Window::new(definition.clone());
    let (started, mut added) = (Instant::now(), 0_u32);
    while started.elapsed() < amounts.turn {
        for value in 0..1_000_i64 {
            window.add(&(value % 97), value % CELLS);
            added += 1;
        }
    }
    let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(added);
    let name = "a record in a window";
    rows.push(Row::alone(name, Unit::Nanos, each, None));
    let boot = Boot {
        id: "bench".to_owned(),
        uptime: Duration::ZERO,
    };
    let mut noise = Noise::system();
    let mut times = Vec::new();
    for round in 0..amounts.rounds.max(3) {
        // Each has a budget of its own: that of a day is soon spent.
        let data = folder.join(format!("budget-{round}"));
        std::fs::create_dir_all(&data)?;
        let (disk, limit) = (
            Disk::new(Faults::never()),
            Epsilon::from_millionths(10_000_000)?,
        );
        let mut budget = Budget::open(&data, disk, Clock::system(), boot.clone(), limit)?;
        let started = Instant::now();
        publish(
            vec![Window::new(definition.clone())],
            &mut budget,
            &mut noise,
        )?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let name = format!("a histogram of {CELLS} cells, published");
    rows.push(Row::alone(&name, Unit::Micros, middle(&times), None));
    Ok(())
}

/// A day of counters, packed. Returns the bytes that are saved.
fn series(rows: &mut Vec<Row>) -> anyhow::Result<usize> {
    let row = |minute: i64| -> Vec<i64> {
        let cells = 1..=8;
        cells.map(|cell| cell * minute + minute % 7).collect()
    };
    let values: Vec<Vec<i64>> = (0..MINUTES).map(row).collect();
    let packed = pack(&values)?;
    let kilobytes = |bytes: usize| bytes as f64 / 1e3;
    let against = ("as integers", kilobytes(packed.raw_bytes));
    let name = "a day of 8 counters, each minute";
    rows.push(Row::compared(
        name,
        Unit::Kilobytes,
        kilobytes(packed.bytes.len()),
        against,
        None,
    ));
    Ok(packed.saved_bytes())
}
