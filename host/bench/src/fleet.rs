//! A simulated fleet: a whole rollout, a bad release, a reversal, a year of releases; memory and cost per device. All decisions are those
//! of `rollout`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hotshoe_base::resident;
use hotshoe_rollout::{
    Cell, Count, End, Fleet, Health, Observed, Report, Rollout, SiteDevices, State,
};
use hotshoe_simulator::{Faults, Settings, World, YearSettings, year};
use hotshoe_store::Phase;
use hotshoe_trust::{Device, SigningKey, Time, TrustRoot};

use crate::report::{Counts, Row, Unit};

/// Devices of the fleet.
const DEVICES: usize = 10_000;
/// Sites of the fleet.
const SITES: usize = 100;
/// Devices of the small fleet that the cost is compared with.
const FEW: usize = 100;
/// Devices whose memory is measured at once, so that the allocator's own does not count.
const MEASURED: u64 = 100_000;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Most wall time of a whole rollout, in milliseconds.
const MOST_WALL_MS: f64 = 60_000.0;
/// Most of the fleet that a bad release may touch, in percent.
const MOST_TOUCHED: f64 = 1.5;
/// Most time until 99 of 100 devices are back, with the longest swap, in milliseconds.
const MOST_BACK_MS: f64 = 5_500.0;
/// Most messages with news between a registry and its controllers, for each stage.
const MOST_MESSAGES: f64 = 4.0;
/// Least share of devices that a year of releases updates, in percent.
const LEAST_UPDATED: f64 = 99.9;
/// Most memory of a registry for a device, in kilobytes.
const MOST_REGISTRY_KB: f64 = 1.0;
/// Most memory of a controller for a device, in kilobytes.
const MOST_CONTROLLER_KB: f64 = 0.1;
/// Most that a device of the large fleet may cost, by one of the small one.
const MOST_COST: f64 = 1.5;

/// A rollout that passed all stages.
struct Whole {
    world: World,
    stages: usize,
    wall: Duration,
}

pub(crate) fn measure(quick: bool) -> anyhow::Result<(Counts, Vec<Row>)> {
    let devices = if quick { DEVICES / 10 } else { DEVICES };
    let whole = whole(&Settings::new(devices, SITES, 1))?;
    let few = whole_of_few()?;
    let figures = whole.world.figures();
    let mut counts = Counts::new();
    counts.insert("devices", devices.into());
    counts.insert("sites", SITES.into());
    counts.insert("events", figures.events.into());
    counts.insert("reports", figures.reports.into());
    counts.insert("virtual_s", (whole.world.now_ms() / 1_000).into());
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let stages = whole.stages as f64 * SITES as f64;
    let news = figures.counts_with_news + figures.statements;
    let all = figures.counts + figures.statements;
    let mut rows = vec![
        Row::alone(
            "a whole rollout of the fleet, wall time",
            Unit::Millis,
            micros(whole.wall),
            Some(MOST_WALL_MS),
        ),
        Row::alone(
            "messages with news between a registry and its controllers, for each stage",
            Unit::Count,
            news as f64 / stages,
            Some(MOST_MESSAGES),
        ),
        Row::alone(
            "the same, with the counts of every 30 s",
            Unit::Count,
            all as f64 / stages,
            None,
        ),
        Row::compared(
            "wall time for each device",
            Unit::Micros,
            micros(whole.wall) / devices as f64,
            ("100 devices", few),
            Some(MOST_COST),
        ),
        touched(devices)?,
        back(whole.world, devices)?,
    ];
    rows.extend(memory()?);
    rows.extend(whole_year(devices, &mut counts)?);
    Ok((counts, rows))
}

fn whole(settings: &Settings) -> anyhow::Result<Whole> {
    let begun = Instant::now();
    let mut world = World::new(settings.clone())?;
    let end = world.run(WEEK)?;
    ensure!(end == Some(End::Done), "the rollout ended with {end:?}");
    Ok(Whole {
        wall: begun.elapsed(),
        // Before them is that of the first devices.
        stages: settings.shares_ppm.len() + 1,
        world,
    })
}

/// Wall time for each device of a small fleet of one site, in microseconds.
fn whole_of_few() -> anyhow::Result<f64> {
    let whole = whole(&Settings::new(FEW, 1, 2))?;
    Ok(whole.wall.as_secs_f64() * 1e6 / FEW as f64)
}

/// A release that fails everywhere but on the first devices.
fn touched(devices: usize) -> anyhow::Result<Row> {
    let faults = Faults {
        bad_permille: 1_000,
        ..Faults::default()
    };
    let mut world = World::new(Settings {
        faults,
        ..Settings::new(devices, SITES, 3)
    })?;
    match world.run(WEEK)? {
        Some(End::Aborted(_)) => {}
        other => bail!("a bad release ended with {other:?}"),
    }
    world.run_for(Duration::from_secs(3_600))?;
    let percent = world.touched() as f64 * 100.0 / devices as f64;
    let name = "devices that a bad release touched";
    Ok(Row::alone(name, Unit::Percent, percent, Some(MOST_TOUCHED)))
}

/// The reversal of a rollout that reached all devices.
fn back(mut world: World, devices: usize) -> anyhow::Result<Row> {
    let said_ms = world.now_ms();
    world.say(world.reversal())?;
    world.run_for(Duration::from_secs(600))?;
    let times = world.went_back_ms();
    ensure!(
        world.in_phase(Phase::RolledBack) == devices,
        "not all devices went back"
    );
    let place = (times.len() * 99).div_ceil(100).saturating_sub(1);
    let last_ms = times.get(place).context("no device went back")?;
    let micros = last_ms.saturating_sub(said_ms) as f64 * 1e3;
    let name = "99 of 100 devices back after a reversal, virtual time";
    Ok(Row::alone(name, Unit::Millis, micros, Some(MOST_BACK_MS)))
}

/// A year of weekly releases.
fn whole_year(devices: usize, counts: &mut Counts) -> anyhow::Result<Vec<Row>> {
    let settings = YearSettings::new(devices, SITES, 5);
    let begun = Instant::now();
    let figures = year(&settings)?;
    let wall = begun.elapsed();
    ensure!(figures.due > 0, "no device had the time to update");
    for (name, count) in [
        ("year_rollouts", figures.rollouts),
        ("year_updates_due", figures.due),
        ("year_updates", figures.updated),
        ("year_power_cuts", figures.cuts),
        ("year_attacks", figures.attacks),
        ("year_devices_off_ppm", figures.off_ppm),
    ] {
        counts.insert(name, count.into());
    }
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
    let newest = percent(figures.newest, devices as u64);
    let none = |name, count: u64| Row::alone(name, Unit::Count, count as f64, Some(0.0));
    Ok(vec![
        Row::alone(
            "a year of weekly releases: updates that took place",
            Unit::Percent,
            percent(figures.updated, figures.due),
            None,
        )
        .at_least(LEAST_UPDATED),
        Row::alone(
            "the same: devices with the newest release at the end",
            Unit::Percent,
            newest,
            None,
        )
        .at_least(LEAST_UPDATED),
        none("the same: devices bricked", figures.bricked),
        none("the same: devices on an unsigned release", figures.unsigned),
        none(
            "the same: devices on a withdrawn release",
            figures.withdrawn,
        ),
        Row::alone(
            "the same: wall time",
            Unit::Millis,
            wall.as_secs_f64() * 1e6,
            None,
        ),
    ])
}

/// The memory of a registry and of a controller for each device. No row if the system does not report resident memory.
fn memory() -> anyhow::Result<Vec<Row>> {
    let rollout = rollout()?;
    let now = rollout.plan().issued;
    let held = || resident().map(|it| it.bytes as f64);
    let Some(before) = held() else {
        return Ok(Vec::new());
    };
    let mut devices = SiteDevices::default();
    for number in 0..MEASURED {
        let device = Device {
            name: format!("cam-{number}"),
            site: "site-0".to_owned(),
            ..Device::default()
        };
        devices.hear(rollout.plan(), &device, "jetson", report(&rollout), now);
    }
    let with_registry = held().unwrap_or(before);
    let mut fleet = Fleet::default();
    for site in 0..MEASURED / FEW as u64 {
        fleet.hear(rollout.plan(), count(&rollout, site, now), now)?;
    }
    let with_fleet = held().unwrap_or(with_registry);
    ensure!(devices.len() as u64 == MEASURED, "a device is missing");
    let each = |from: f64, to: f64| (to - from).max(0.0) / MEASURED as f64 / 1e3;
    Ok(vec![
        Row::alone(
            "memory of a registry for each device",
            Unit::Kilobytes,
            each(before, with_registry),
            Some(MOST_REGISTRY_KB),
        ),
        Row::alone(
            "memory of a controller for each device",
            Unit::Kilobytes,
            each(with_registry, with_fleet),
            Some(MOST_CONTROLLER_KB),
        ),
    ])
}

/// A rollout whose plan allows as many devices for one site.
fn rollout() -> anyhow::Result<Rollout> {
    let key = SigningKey::generate()?;
    let entry = TrustRoot::key_entry("deployer", &key.public_key()?, &["*"]);
    let trust = TrustRoot::parse(&format!("threshold = 1\n{entry}"))?;
    let plan = hotshoe_simulator::plan(&Settings::new(DEVICES, SITES, 4), Time::now());
    let mut text = hotshoe_rollout::SignedText::of_plan(&plan)?;
    text.sign(&key)?;
    Ok(Rollout::read(&text, &trust, plan.issued)?)
}

/// The report of a device that confirmed the release.
fn report(rollout: &Rollout) -> Report {
    let observed = Observed::of(State::Confirmed, "");
    let mut health = Health {
        samples: 100,
        ..Health::default()
    };
    health.latency_ms.add(20.0);
    Report {
        plan: rollout.plan().digest(),
        number: 1,
        state: observed.state,
        cause: observed.cause,
        baseline: health.clone(),
        health,
        metric: observed.metric,
    }
}

/// The count of a site of 100 devices, of two classes, in all stages.
fn count(rollout: &Rollout, site: u64, now: Time) -> Count {
    let cell = |number: u32| Cell {
        stage: number / 2,
        state: State::Confirmed,
        cause: String::new(),
        class: format!("class-{}", number % 2),
        open: false,
        devices: 10,
        health: report(rollout).health,
        baseline: Health::default(),
    };
    Count {
        plan: rollout.plan().digest(),
        site: format!("site-{site}"),
        registry: "registry".to_owned(),
        number: 1,
        at: now,
        stage: 4,
        cells: (0..10).map(cell).collect(),
        arms: Default::default(),
    }
}
