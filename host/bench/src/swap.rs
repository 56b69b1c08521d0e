//! `hotshoe bench swap`: the effect of swaps and rollbacks on a stream of samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwap;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_devkit::Environment;
use serde_json::json;

use super::first_result;
use super::report::{Counts, Row, Unit};
use super::setup::{BenchSetup, PackedRelease};
use super::site::Site;
use super::stream::{Record, Span, Stream};
use super::timings::median;
use hotshoe_release::terminal::Terminal;

/// Highest accepted ratio of the largest gap with swaps to that without.
const GAP_TARGET: f64 = 2.0;
/// Highest accepted ratio of the swap itself to a store to an uncached `ArcSwap`.
const POINTER_TARGET: f64 = 2.0;
/// Number of pointers, of 128 bytes each: 64 MiB, more than caches hold.
const BARE_LINES: usize = 1 << 19;
/// Number of stores.
const BARE_STORES: usize = 1 << 11;
/// How long the stream runs before the measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// The time of the swap itself is read once every this many swaps.
const LOOK_EVERY: usize = 5;
/// A health gate that is passed after a few samples.
const SHORT: &str = "min-samples = 5\nmin-seconds = 0";
/// A health gate that is not passed while the bench runs.
const LONG: &str = "min-samples = 5\nmin-seconds = 3600";

/// Number of repetitions of each measurement.
pub(crate) struct Rounds {
    turns: usize,
    swaps: usize,
    rollbacks: usize,
    first_results: usize,
}

/// About a minute and a half on two cores.
const FULL: Rounds = Rounds {
    turns: 5,
    swaps: 20,
    rollbacks: 10,
    first_results: 7,
};

/// For a quick overview.
const QUICK: Rounds = Rounds {
    turns: 2,
    swaps: 5,
    rollbacks: 2,
    first_results: 2,
};

/// Returns the counts and all rows.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = if quick { QUICK } else { FULL };
    let setup = BenchSetup::prepare(environment)?;
    let (counts, mut rows) = swaps(&setup, &rounds, terminal)?;
    terminal.note("measuring        publish to first result");
    rows.extend(first_result::measure(&setup, rounds.first_results)?);
    Ok((counts, rows))
}

/// The measured times.
#[derive(Default)]
struct Times {
    with_swaps: Vec<Span>,
    without: Vec<Span>,
    pointer: Vec<Duration>,
    rollback: Vec<Duration>,
    rollback_pointer: Vec<Duration>,
}

fn swaps(
    setup: &BenchSetup<'_>,
    rounds: &Rounds,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let wanted = rounds.turns * rounds.swaps;
    terminal.note(format!(
        "packing          {} releases",
        wanted + rounds.rollbacks + 1
    ));
    let first = release(setup, 1, SHORT)?;
    let good = releases(setup, 2, wanted, SHORT)?;
    let left = releases(setup, 2 + wanted, rounds.rollbacks, LONG)?;
    let mut site = Site::start(setup, "swapped", &first.layout)?;
    // The stream has a separate session, so that nothing else of the bench delays it.
    let client = site.connect()?;
    let over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let stream = Stream::start(scope, &client, &site.device, &over)?;
        let times = drive(&mut site, rounds, &good, &left, terminal);
        over.store(true, Ordering::Release);
        anyhow::Ok((times, stream.finish()?))
    });
    let (times, record) = outcome?;
    let (times, swaps) = (times?, site.deployer.status()?.swaps);
    client.close();
    site.stop()?;
    let counts = Counts::from([
        ("samples", json!(record.samples)),
        ("failed", json!(record.failed)),
        ("lost", json!(record.lost())),
        ("duplicated", json!(record.duplicated())),
        ("order_kept", json!(record.order_kept())),
        ("swaps", json!(swaps)),
    ]);
    Ok((counts, rows(&record, &times)?))
}

/// Alternates phases with and without swaps of the same length, then rolls back.
fn drive(
    site: &mut Site,
    rounds: &Rounds,
    good: &[PackedRelease],
    left: &[PackedRelease],
    terminal: &Terminal,
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    thread::sleep(WARM_UP);
    for (turn, releases) in good.chunks(rounds.swaps).enumerate() {
        terminal.note(format!(
            "measuring        swaps, turn {} of {}",
            turn + 1,
            rounds.turns
        ));
        let begun = Instant::now();
        for (number, packed) in releases.iter().enumerate() {
            site.deliver(packed)?;
            if number % LOOK_EVERY == 0 {
                times.pointer.extend(last_swap(site)?);
            }
        }
        let ended = Instant::now();
        thread::sleep(ended.duration_since(begun));
        times.with_swaps.push((begun, ended));
        times.without.push((ended, Instant::now()));
    }
    terminal.note("measuring        rollbacks");
    for packed in left {
        site.try_out(packed, |_| {})?;
        let ordered = Instant::now();
        control::call(&site.data, &Command::Rollback).context("cannot order a rollback")?;
        times.rollback.push(ordered.elapsed());
        times.rollback_pointer.extend(last_swap(site)?);
    }
    Ok(times)
}

fn last_swap(site: &Site) -> anyhow::Result<Option<Duration>> {
    let nanos = site.deployer.status()?.last_swap_ns;
    Ok(nanos.map(Duration::from_nanos))
}

fn rows(record: &Record, times: &Times) -> anyhow::Result<Vec<Row>> {
    let middle = |times: &[Duration]| median(times).context("no times were measured");
    let gap = |spans: &[Span]| record.largest_gap(spans).as_secs_f64() * 1e6;
    let order = record.order_kept();
    let count = |name: &str, count: u64| Row::alone(name, Unit::Count, count as f64, Some(0.0));
    let bare = middle(&bare_stores())?;
    let disordered = order.values().filter(|kept| !**kept).count() as u64;
    Ok(vec![
        count("samples lost", record.lost()),
        count("samples failed or dropped", record.failed),
        count("results published twice", record.duplicated()),
        count("sources whose order was not kept", disordered),
        Row::compared(
            "largest gap between results: with swaps",
            Unit::Millis,
            gap(&times.with_swaps),
            ("without", gap(&times.without)),
            Some(GAP_TARGET),
        ),
        Row::compared(
            "swap: the pointer",
            Unit::Nanos,
            middle(&times.pointer)?,
            ("a bare store", bare),
            Some(POINTER_TARGET),
        ),
        Row::compared(
            "rollback of a trial: the pointer",
            Unit::Nanos,
            middle(&times.rollback_pointer)?,
            ("a bare store", bare),
            Some(POINTER_TARGET),
        ),
        Row::alone(
            "rollback of a trial: from order to answer",
            Unit::Millis,
            middle(&times.rollback)?,
            None,
        ),
    ])
}

/// The cost of a store to an uncached pointer: each goes to a separate cache line, and all of them exceed any cache.
fn bare_stores() -> Vec<Duration> {
    let lines: Vec<Line> = (0..BARE_LINES).map(|_| Line::default()).collect();
    let values: Vec<Arc<usize>> = (0..BARE_STORES).map(Arc::new).collect();
    let step = BARE_LINES / BARE_STORES;
    let stores = lines.iter().step_by(step).zip(values);
    stores
        .map(|(line, value)| {
            let started = Instant::now();
            line.0.store(value);
            started.elapsed()
        })
        .collect()
}

#[derive(Default)]
#[repr(align(128))]
struct Line(ArcSwap<usize>);

fn releases(
    setup: &BenchSetup<'_>,
    from: usize,
    count: usize,
    health: &str,
) -> anyhow::Result<Vec<PackedRelease>> {
    (from..from + count)
        .map(|generation| release(setup, generation, health))
        .collect()
}

/// A light pipeline; each generation has a different setting.
fn release(
    setup: &BenchSetup<'_>,
    generation: usize,
    health: &str,
) -> anyhow::Result<PackedRelease> {
    let recipe = format!(
        r#"name = "light"
generation = {generation}
expires-in = "1d"

[health]
{health}

[components.measure]
file = "{measure}"
world = "stage"
grants = ["config"]
config = {{ round = "{generation}" }}

[components.empty-policy]
file = "{policy}"
world = "policy"

[[pipeline]]
stage = "measure"

[[pipeline]]
policy = "empty-policy"
"#,
        measure = setup.guest("measure").display(),
        policy = setup.guest("empty-policy").display()
    );
    setup.make(&format!("light-{generation}"), &recipe)
}
