//! `hotshoe bench throughput`: small samples from a Zenoh put to the received result, against a plain echo; many sources; memory.

mod device;
mod echo;
mod samples;
mod side;

use std::path::Path;
use std::time::Duration;

use hotshoe_devkit::Environment;
use serde_json::json;

use self::device::Device;
pub(crate) use self::echo::serve;
use self::echo::{EchoProcess, INPUT, OUTPUT};
use self::side::{Paced, Side};
use super::page;
use super::process::{memory, threads};
use super::report::{Counts, Row, Unit};
use super::setup::BenchSetup;

use hotshoe_release::terminal::Terminal;

/// Lowest accepted ratio of the samples per second.
const RATE_TARGET: f64 = 0.5;
/// Highest accepted ratios of the latency at the same rate.
const P50_TARGET: f64 = 1.6;
const P99_TARGET: f64 = 2.0;
/// Highest accepted ratio of threads, and of anonymous memory, after more samples of many sources.
const THREADS_TARGET: f64 = 1.0;
const MEMORY_TARGET: f64 = 1.05;
/// Most samples on the way, and the length of the daemon's queue.
const WINDOW: u64 = 64;
/// Bytes of a sample.
const SIZES: [usize; 2] = [64, 4096];
/// Sources at once.
const MANY: usize = 1_000;
/// The media type of an insight, which the light pipeline reads as any bytes.
const INSIGHT_TYPE: &str = "application/json";

/// How much is measured.
struct Amounts {
    rounds: usize,
    /// Of one side in one round, twice.
    turn: Duration,
    /// Samples of each source, where there are many.
    of_each: u64,
}

/// About two and a half minutes.
const FULL: Amounts = Amounts {
    rounds: 7,
    turn: Duration::from_millis(1000),
    of_each: 100,
};

/// For a quick overview.
const QUICK: Amounts = Amounts {
    rounds: 3,
    turn: Duration::from_millis(500),
    of_each: 20,
};

/// Returns the counts and all rows.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let amounts = if quick { QUICK } else { FULL };
    let setup = BenchSetup::prepare(environment)?;
    let policy = samples::empty_policy(&setup)?.layout;
    let light = samples::light(&setup)?.layout;
    let page = setup.release(page::RELEASE)?;
    let text = setup.picture(page::PAGE)?;
    let echo = EchoProcess::start()?;

    let mut rows = Vec::new();
    let mut rest = Vec::new();
    for (name, layout, sample) in [
        (
            "empty policy",
            &policy,
            samples::insight as fn(usize) -> Vec<u8>,
        ),
        ("light pipeline", &light, samples::bytes),
    ] {
        let device = Device::start(&setup, &name.replace(' ', "-"), Some(layout))?;
        device.ask(INSIGHT_TYPE, samples::insight(64))?;
        rest.extend(at_rest(name, device.id())?);
        for size in SIZES {
            terminal.note(format!("measuring        {name}, {size} B"));
            let case = format!("{name}, {size} B");
            rows.extend(compare(&case, &device, &echo, &sample(size), &amounts)?);
        }
        if name == "light pipeline" {
            terminal.note(format!("measuring        {MANY} sources"));
            rows.extend(many_sources(&device, amounts.of_each)?);
        }
        device.stop()?;
    }
    terminal.note("measuring        memory at rest");
    let resting = |name: &str, release: Option<&Path>, sample: Option<Vec<u8>>| {
        let device = Device::start(&setup, &name.replace(' ', "-"), release)?;
        if let Some(sample) = sample {
            device.ask("image/png", sample)?;
        }
        let rows = at_rest(name, device.id())?;
        device.stop()?;
        anyhow::Ok(rows)
    };
    rows.extend(at_rest("plain echo", echo.id())?);
    rows.extend(resting("no release", None, None)?);
    rows.extend(rest);
    rows.extend(resting("text reading", Some(&page), Some(text))?);
    let counts = Counts::from([
        ("window", json!(WINDOW)),
        ("sources", json!(MANY)),
        ("rounds", json!(amounts.rounds)),
    ]);
    Ok((counts, rows))
}

/// The daemon, the echo, and the echo again, in turn: the most samples per second, then the latency at half of the daemon's.
fn compare(
    case: &str,
    device: &Device,
    echo: &EchoProcess,
    sample: &[u8],
    amounts: &Amounts,
) -> anyhow::Result<Vec<Row>> {
    let (input, output) = device.keys();
    let keys = (input.as_str(), output.as_str());
    let ours = Side::connect(device.id(), &device.endpoint, keys, 1, sample)?;
    let plain = || Side::connect(echo.id(), &echo.endpoint, (INPUT, OUTPUT), 1, sample);
    let (theirs, again) = (plain()?, plain()?);
    let sides = [&ours, &theirs, &again];

    let rates = in_turn(&sides, amounts.rounds, |side| {
        side.rate(amounts.turn, WINDOW)
    })?;
    let rates = rates.map(|rates| middle(&rates, |rate| *rate));
    let half = rates[0] / 2.0;
    let paced = in_turn(&sides, amounts.rounds, |side| side.pace(half, amounts.turn))?;
    let figures = |of: fn(&Paced) -> Duration| {
        paced
            .each_ref()
            .map(|paced| middle(paced, |it| of(it).as_secs_f64() * 1e6))
    };
    for side in [ours, theirs, again] {
        side.close();
    }

    let row = |what: &str, unit, [ours, theirs, again]: [f64; 3]| {
        let against = ("plain echo", theirs);
        [
            Row::compared(&format!("{case}: {what}"), unit, ours, against, None),
            Row::compared(
                &format!("{case}: {what}, echo against itself"),
                unit,
                again,
                against,
                None,
            ),
        ]
    };
    let [rate, rate_itself] = row("most samples per second", Unit::Count, rates);
    let at_half = |what: &str| format!("{what} at half that rate");
    let [p50, p50_itself] = row(&at_half("p50"), Unit::Micros, figures(|it| it.p50));
    let [p99, p99_itself] = row(&at_half("p99"), Unit::Micros, figures(|it| it.p99));
    let [cpu, cpu_itself] = row(
        &at_half("CPU per sample"),
        Unit::Micros,
        figures(|it| it.processor),
    );
    Ok(vec![
        rate.at_least(RATE_TARGET),
        rate_itself,
        p50.at_most(P50_TARGET),
        p50_itself,
        p99.at_most(P99_TARGET),
        p99_itself,
        cpu,
        cpu_itself,
    ])
}

/// Measures each side once per round, each as often the first as the others. The first round does not count.
fn in_turn<T>(
    sides: &[&Side; 3],
    rounds: usize,
    measure: impl Fn(&Side) -> anyhow::Result<T>,
) -> anyhow::Result<[Vec<T>; 3]> {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let (Some(side), Some(figures)) = (sides.get(at), all.get_mut(at)) else {
                continue;
            };
            let figure = measure(side)?;
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    Ok(all)
}

fn middle<T>(figures: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut sorted: Vec<f64> = figures.iter().map(of).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Samples of one source, then twice of many. What the second time adds is growth.
fn many_sources(device: &Device, of_each: u64) -> anyhow::Result<Vec<Row>> {
    let (input, output) = device.keys();
    let sample = samples::bytes(64);
    let side = |sources| {
        let keys = (input.as_str(), output.as_str());
        Side::connect(device.id(), &device.endpoint, keys, sources, &sample)
    };
    let (one, many) = (side(1)?, side(MANY)?);
    let look = |side: &Side| {
        side.send(of_each * MANY as u64, WINDOW)?;
        anyhow::Ok((threads(device.id())?, memory(device.id())?.anonymous))
    };
    let (of_one, first, second) = (look(&one)?, look(&many)?, look(&many)?);
    one.close();
    many.close();
    let row = |name: &str, unit, ours, against, target| {
        let name = format!("{MANY} sources: {name}");
        Row::compared(&name, unit, ours, against, target)
    };
    let against = "one source";
    Ok(vec![
        row(
            "threads of the daemon",
            Unit::Count,
            second.0,
            (against, of_one.0),
            Some(THREADS_TARGET),
        ),
        row(
            "anonymous memory",
            Unit::Megabytes,
            second.1,
            (against, of_one.1),
            None,
        ),
        row(
            "anonymous memory after as many samples again",
            Unit::Megabytes,
            second.1,
            ("before them", first.1),
            Some(MEMORY_TARGET),
        ),
    ])
}

/// The memory of a process that has answered a sample, and waits.
fn at_rest(name: &str, process: u32) -> anyhow::Result<Vec<Row>> {
    let memory = memory(process)?;
    let row = |what: &str, value| {
        Row::alone(
            &format!("at rest, {name}: {what}"),
            Unit::Megabytes,
            value,
            None,
        )
    };
    Ok(vec![
        row("resident", memory.resident),
        row("anonymous", memory.anonymous),
    ])
}
