//! What encryption at rest and figures with noise cost.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_base::Clock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_devkit::Environment;
use hotshoe_differential_privacy::{
    Boot, Budget, Definition, Epsilon, Kind, Noise, Scale, Window, pack, publish,
};
use hotshoe_sealing::{AtRest, DeviceKey};
use hotshoe_store::Store;
use hotshoe_trust::Blob;

use super::lines;
use super::outbox::{Ours, Side, middle, payload, rate, unbounded};
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
/// Contributors to a window.
const CONTRIBUTORS: i64 = 97;
/// Samples of each that count in a window.
const CONTRIBUTIONS: u32 = 1_000;
/// Outboxes that are compared.
const SIDES: usize = 4;
/// Series that are packed together.
const COLUMNS: usize = 8;
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
    let at_rest = || -> anyhow::Result<AtRest> { Ok(AtRest::sealed(key()?, true)) };
    records(&folder, at_rest, &amounts, &mut rows)?;
    blobs(&folder, AtRest::sealed(key()?, true), &amounts, &mut rows)?;
    let picture = lines::first_line(&setup)?;
    rows.extend(start::private(
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

/// An outbox whose records also count in a window, as in a daemon with a figure of them.
struct Counted {
    outbox: Ours,
    definition: Definition,
    window: Window,
    added: i64,
}

impl Counted {
    fn add(&mut self) {
        // A contributor with all its samples no longer counts, which costs less: before that, the next window begins.
        if self.added % (CONTRIBUTORS * i64::from(CONTRIBUTIONS)) == 0 {
            self.window = Window::new(self.definition.clone());
        }
        self.window
            .add(&(self.added % CONTRIBUTORS), self.added % CELLS);
        self.added += 1;
    }
}

impl Side for Counted {
    fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()> {
        (0..count).for_each(|_| self.add());
        self.outbox.append(payload, count)
    }
}

/// Durable records per second with encryption, with encryption and a figure, and without either. Two sides have neither: their ratio tells how
/// much of a difference is chance.
fn records(
    folder: &Path,
    at_rest: impl Fn() -> anyhow::Result<AtRest>,
    amounts: &Amounts,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let open = |name: &str, at_rest| Ours::open_at_rest(&folder.join(name), unbounded(), at_rest);
    let mut plain = open("plain", AtRest::plain())?;
    let mut again = open("again", AtRest::plain())?;
    let mut sealed = open("sealed", at_rest()?)?;
    let definition = histogram()?;
    let mut counted = Counted {
        outbox: open("counted", at_rest()?)?,
        window: Window::new(definition.clone()),
        definition,
        added: 0,
    };
    let payload = payload();
    for batch in BATCHES {
        let mut rates: [Vec<f64>; SIDES] = Default::default();
        for round in 0..=amounts.rounds {
            let sides: [&mut dyn Side; SIDES] = [&mut plain, &mut again, &mut sealed, &mut counted];
            let mut turns: Vec<_> = sides.into_iter().zip(&mut rates).collect();
            // Each is the first of a round in turn. Round 0 warms up.
            turns.rotate_left(round % SIDES);
            for (side, rates) in turns {
                let rate = rate(side, &payload, batch, amounts.turn)?;
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let [neither, itself, encrypted, figure] = rates.map(|rates| middle(&rates));
        for (name, rate, target) in [
            ("neither, against itself", itself, None),
            ("encrypted", encrypted, Some(LEAST_SHARE)),
            ("encrypted and with a figure", figure, Some(LEAST_SHARE)),
        ] {
            let name = format!("records/s, {name}, batches of {batch}");
            let row = Row::compared(&name, Unit::Count, rate, ("neither", neither), None);
            rows.push(match target {
                Some(target) => row.at_least(target),
                None => row,
            });
        }
    }
    for outbox in [plain, again, sealed, counted.outbox] {
        outbox.end()?;
    }
    Ok(())
}

/// The figure that records count in.
fn histogram() -> anyhow::Result<Definition> {
    let epsilon = Epsilon::from_millionths(100_000)?;
    let edges = (1..CELLS).collect();
    let kind = Kind::Histogram { edges };
    Ok(Definition::new("bench", kind, CONTRIBUTIONS, epsilon)?)
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
    for round in 0..=amounts.rounds.max(3) {
        let mut sides = [(&sealed, &mut ours), (&plain, &mut theirs)];
        sides.rotate_left(round % 2);
        for (blobs, rates) in sides {
            let started = Instant::now();
            blobs.read(&blob)?;
            // Round 0 warms up.
            if round > 0 {
                rates.push(BLOB as f64 / 1e6 / started.elapsed().as_secs_f64());
            }
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
    let definition = histogram()?;
    let (mut spent, mut added) = (Duration::ZERO, 0_u32);
    while spent < amounts.turn {
        // A window in which every record counts.
        let mut window = Window::new(definition.clone());
        let started = Instant::now();
        for value in 0..CONTRIBUTORS * i64::from(CONTRIBUTIONS) {
            window.add(&(value % CONTRIBUTORS), value % CELLS);
            added = added.saturating_add(1);
        }
        spent += started.elapsed();
    }
    let each = spent.as_secs_f64() * 1e6 / f64::from(added);
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

/// A day of 8 series with a value each minute, packed: counters whose increments vary, and cells with noise, which cannot be packed as small.
/// Returns the bytes that are saved together.
fn series(rows: &mut Vec<Row>) -> anyhow::Result<usize> {
    let scale = Scale::new(Epsilon::from_millionths(100_000)?, 1).context("a scale")?;
    let mut noise = Noise::system();
    let (mut counters, mut cells) = (Vec::new(), Vec::new());
    let mut counted = vec![0_i64; COLUMNS];
    for _ in 0..MINUTES {
        let mut noisy = Vec::with_capacity(COLUMNS);
        for (rate, total) in (1_i64..).zip(&mut counted) {
            let drawn = i64::try_from(noise.laplace(scale)?).unwrap_or_default();
            // About 100 to 800 a minute, more or less by the spread of real counts.
            *total += (100 * rate + drawn).max(0);
            noisy.push(100 * rate + drawn);
        }
        counters.push(counted.clone());
        cells.push(noisy);
    }
    let mut saved = 0;
    for (name, values) in [("counters", counters), ("cells with noise", cells)] {
        let packed = pack(&values)?;
        saved += packed.saved_bytes();
        let kilobytes = |bytes: usize| bytes as f64 / 1e3;
        rows.push(Row::compared(
            &format!("a day of {COLUMNS} {name}, each minute"),
            Unit::Kilobytes,
            kilobytes(packed.bytes.len()),
            ("as integers", kilobytes(packed.raw_bytes)),
            None,
        ));
    }
    Ok(saved)
}
