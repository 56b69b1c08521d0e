//! `hotshoe bench governor`: what sensors and plans cost, how soon a mode is in force, and what a change of mode does to a stream.

mod board;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_devkit::Environment;
use hotshoe_link::Feeder;
use serde_json::{Value, json};

use self::board::Board;
use super::report::{Counts, Row, Unit};
use super::setup::{BenchSetup, PackedRelease};
use super::stream::{Record, Span, Stream};
use super::timings::median;
use hotshoe_release::terminal::Terminal;

/// Highest accepted share of one core, in percent.
const COST_TARGET: f64 = 0.5;
/// Highest accepted ratio of the time to a mode in force to one sampling period and one sample.
const CROSSING_TARGET: f64 = 1.0;
/// Highest accepted ratio of the largest gap with changes of mode to that without.
const GAP_TARGET: f64 = 2.0;
/// The sampling period where modes change. The cost is measured with the default one.
const PERIOD: Duration = Duration::from_millis(200);
/// Time between two samples of one source.
const SAMPLE: Duration = Duration::from_millis(5);
/// Longest wait for a mode.
const DEADLINE: Duration = Duration::from_secs(30);
/// Degrees Celsius in the full mode and in the other one.
const COOL: f64 = 40.0;
const HOT: f64 = 80.0;
/// Parts of a period that follow each other without a pattern.
const GOLDEN: f64 = 0.618_034;

/// Number of repetitions of each measurement.
struct Rounds {
    idle: Duration,
    crossings: u32,
    turns: u32,
    changes: u32,
}

/// About two and a half minutes.
const FULL: Rounds = Rounds {
    idle: Duration::from_secs(60),
    crossings: 60,
    turns: 5,
    changes: 16,
};

/// For a quick overview.
const QUICK: Rounds = Rounds {
    idle: Duration::from_secs(10),
    crossings: 10,
    turns: 2,
    changes: 6,
};

/// Returns the counts and all rows.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = if quick { QUICK } else { FULL };
    let setup = BenchSetup::prepare(environment)?;
    let release = release(&setup)?;
    terminal.note("measuring        sampling and deciding");
    let mut rows = cost(&setup, &release, rounds.idle)?;
    let period = PERIOD.as_millis();
    let often = format!(
        "period-ms = {period}\nleast-time-ms = 0\ncalm-ms = 0\nmost-changes-per-hour = 3600\n"
    );
    let board = Board::start(&setup, "changing", &release.layout, &often)?;
    terminal.note("measuring        a threshold crossed to the mode in force");
    rows.extend(crossings(&board, rounds.crossings)?);
    let (counts, gaps) = gaps(&board, &rounds, terminal)?;
    rows.extend(gaps);
    board.stop()?;
    Ok((counts, rows))
}

/// One light stage, a policy that rests in the other mode, and the governor that ships, which leaves no sample out.
fn release(setup: &BenchSetup<'_>) -> anyhow::Result<PackedRelease> {
    let thresholds = setup.folder().join("governor.json");
    std::fs::write(&thresholds, r#"{"every": 1, "interval-ms": 1}"#)
        .context("cannot write the thresholds")?;
    let guest = |name: &str| setup.guest(name).display().to_string();
    let recipe = format!(
        r#"name = "light"
generation = 1
expires-in = "1d"
[components.measure]
file = "{measure}"
world = "stage"
[components.counting-policy]
file = "{policy}"
world = "policy"
grants = ["state"]
[components.governor]
file = "{governor}"
world = "governor"
grants = ["data"]
data = ["governor.json"]
[data."governor.json"]
file = "{thresholds}"
media-type = "application/json"
[modes.full]
level = 0
[modes.minimal]
level = 1
rests = {{ components = ["counting-policy"] }}
[[pipeline]]
stage = "measure"
[[pipeline]]
policy = "counting-policy"
on-failure = "fail-open"
"#,
        measure = guest("measure"),
        policy = guest("counting-policy"),
        governor = guest("governor"),
        thresholds = thresholds.display(),
    );
    setup.make("governed", &recipe)
}

/// An idle daemon that reads about a hundred files in each default period, beside one that reads none.
fn cost(
    setup: &BenchSetup<'_>,
    release: &PackedRelease,
    idle: Duration,
) -> anyhow::Result<Vec<Row>> {
    let with = Board::start(setup, "governed", &release.layout, "")?;
    let without = Board::start(setup, "ungoverned", &release.layout, "enabled = false\n")?;
    let files = with.files()?;
    let (begun, before) = (Instant::now(), (with.cpu()?, without.cpu()?));
    thread::sleep(idle);
    let seconds = begun.elapsed().as_secs_f64();
    let percent = |now: Duration, before: Duration| {
        now.saturating_sub(before).as_secs_f64() / seconds * 100.0
    };
    let of_with = percent(with.cpu()?, before.0);
    let of_without = percent(without.cpu()?, before.1);
    let said = with.governor()?;
    let cost = said.get("cost_ratio").and_then(Value::as_f64);
    let cost = cost.context("the status has no `cost_ratio` of the governor")?;
    with.stop()?;
    without.stop()?;
    Ok(vec![
        Row::alone(
            &format!("sampling {files} files and deciding: of one core"),
            Unit::Percent,
            cost * 100.0,
            Some(COST_TARGET),
        ),
        Row::compared(
            "an idle daemon: of one core, with the governor",
            Unit::Percent,
            of_with,
            ("without", of_without),
            None,
        ),
    ])
}

/// The time from a changed temperature to the first result in the other mode.
fn crossings(board: &Board, count: u32) -> anyhow::Result<Vec<Row>> {
    let feeder = board.feeder(1);
    follow(board, &feeder, COOL, false)?;
    let mut times = Vec::new();
    for round in 1..=count {
        // Somewhere in a period.
        let part = (f64::from(round) * GOLDEN).fract();
        thread::sleep(PERIOD + PERIOD.mul_f64(part));
        times.push(follow(board, &feeder, HOT, true)?);
        follow(board, &feeder, COOL, false)?;
    }
    let most = micros(PERIOD + SAMPLE);
    let middle = median(&times).context("no times were measured")?;
    times.sort_unstable();
    let late = times.get(times.len() * 95 / 100).copied();
    let late = micros(late.context("no times were measured")?);
    let against = ("one period and one sample", most);
    Ok(vec![
        Row::compared(
            "a threshold crossed to the first result in the mode, median",
            Unit::Millis,
            middle,
            against,
            None,
        ),
        Row::compared(
            "the same, 95th percentile",
            Unit::Millis,
            late,
            against,
            Some(CROSSING_TARGET),
        ),
    ])
}

/// Sets the temperature and sends samples until one has its result in that mode. Returns the time from one to the other.
fn follow(board: &Board, feeder: &Feeder, celsius: f64, rests: bool) -> anyhow::Result<Duration> {
    let started = Instant::now();
    board.heat(celsius)?;
    while started.elapsed() < DEADLINE {
        feeder.send("probe", "application/octet-stream", "probe", vec![1; 16])?;
        let reply = feeder.next(DEADLINE).context("a sample has no answer")?;
        let elapsed = started.elapsed();
        if let Ok(body) = &reply.result
            && does_policy_rest(body) == rests
        {
            return Ok(elapsed);
        }
        thread::sleep(SAMPLE);
    }
    anyhow::bail!("the mode does not follow {celsius} C; see the daemon's log")
}

/// The policy of the full mode alerts on each sample.
fn does_policy_rest(answer: &Value) -> bool {
    let actions = answer.get("actions").and_then(Value::as_array);
    let mut actions = actions.into_iter().flatten();
    !actions.any(|action| action.get("action") == Some(&json!("alert")))
}

/// Alternates phases with and without changes of the mode, of the same length, on a stream.
fn gaps(board: &Board, rounds: &Rounds, terminal: &Terminal) -> anyhow::Result<(Counts, Vec<Row>)> {
    let client = board.connect()?;
    let over = AtomicBool::new(false);
    let before = changes(board)?;
    let outcome = thread::scope(|scope| {
        let stream = Stream::start(scope, &client, &board.device, &over)?;
        let spans = drive(board, rounds, terminal);
        over.store(true, Ordering::Release);
        anyhow::Ok((spans, stream.finish()?))
    });
    let (spans, record) = outcome?;
    let (with, without) = spans?;
    let changes = changes(board)?.saturating_sub(before);
    client.close();
    ensure!(changes > 0, "the mode never changed");
    let counts = Counts::from([
        ("samples", json!(record.samples)),
        ("failed", json!(record.failed)),
        ("skipped", json!(record.skipped)),
        ("lost", json!(record.lost())),
        ("duplicated", json!(record.duplicated())),
        ("mode_changes", json!(changes)),
    ]);
    Ok((counts, gap_rows(&record, &with, &without)))
}

fn drive(
    board: &Board,
    rounds: &Rounds,
    terminal: &Terminal,
) -> anyhow::Result<(Vec<Span>, Vec<Span>)> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for turn in 1..=rounds.turns {
        terminal.note(format!(
            "measuring        changes of mode, turn {turn} of {}",
            rounds.turns
        ));
        let begun = Instant::now();
        for change in 0..rounds.changes {
            board.heat(if change % 2 == 0 { HOT } else { COOL })?;
            // One period, and some time to see it.
            thread::sleep(PERIOD + PERIOD / 4);
        }
        let ended = Instant::now();
        thread::sleep(ended.duration_since(begun));
        with.push((begun, ended));
        without.push((ended, Instant::now()));
    }
    Ok((with, without))
}

fn gap_rows(record: &Record, with: &[Span], without: &[Span]) -> Vec<Row> {
    let gap = |spans: &[Span]| micros(record.largest_gap(spans));
    let count = |name: &str, count: u64| Row::alone(name, Unit::Count, count as f64, Some(0.0));
    vec![
        Row::compared(
            "largest gap between results: with changes of mode",
            Unit::Millis,
            gap(with),
            ("without", gap(without)),
            Some(GAP_TARGET),
        ),
        count("samples lost", record.lost()),
        count("samples failed or dropped", record.failed),
        count("results published twice", record.duplicated()),
    ]
}

fn changes(board: &Board) -> anyhow::Result<u64> {
    let governor = board.governor()?;
    let changes = governor.get("changes").and_then(Value::as_u64);
    changes.context("the status has no `changes` of the governor")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_rests_where_it_does_not_alert() {
        let full =
            json!({"actions": [{"action": "alert", "message": "seen 1"}, {"action": "publish"}]});
        assert!(!does_policy_rest(&full));
        assert!(does_policy_rest(
            &json!({"actions": [{"action": "publish"}]})
        ));
        assert!(does_policy_rest(&json!({"actions": []})));
    }
}
