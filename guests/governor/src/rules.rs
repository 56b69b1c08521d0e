//! The rules for heat, charge, latency and backends. Each has wishes, and the strictest of all wishes become the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use hotshoe_sdk::governor::{
    Avoidance, DeviceState, Drive, Interval, Mode, Plan, Severity, Window,
};

use super::memory::{Memory, Value};
use super::thresholds::Thresholds;
use super::wishes::Wishes;

const MICROS: u64 = 1_000_000;

pub(crate) fn plan(state: &DeviceState, by: &Thresholds, memory: &mut Memory) -> Plan {
    let hold_us = by.missing_sensor_s.saturating_mul(MICROS);
    let at_us = monotonic_us(state);
    let is_gone = |zone: &str| state.thermal_zones.iter().all(|it| it.name != zone);
    memory
        .heat
        .update(hottest(state, by), is_gone, hold_us, at_us);
    memory
        .charge
        .update(charge(state, by), |_| false, hold_us, at_us);
    let mut wishes = Wishes::default();
    heat(state, by, memory, &mut wishes);
    battery(by, memory, &mut wishes);
    latency(state, by, &mut memory.latency_level, &mut wishes);
    backends(state, by, &mut wishes);
    wishes.into_plan()
}

/// The time since the start of the system, which a clock that is set does not change; else the time of day.
fn monotonic_us(state: &DeviceState) -> u64 {
    let uptime = state.uptime_seconds.map(Duration::try_from_secs_f64);
    let uptime = uptime.and_then(|it| u64::try_from(it.ok()?.as_micros()).ok());
    uptime.unwrap_or(state.now_us)
}

fn hottest(state: &DeviceState, by: &Thresholds) -> Option<Value> {
    let zones = state.thermal_zones.iter();
    let hottest = zones.max_by(|a, b| a.celsius.total_cmp(&b.celsius))?;
    let over = |value: f64| by.celsius().iter().filter(|limit| value >= **limit).count();
    Some(Value {
        level: over(hottest.celsius),
        held: over(hottest.celsius + by.celsius_margin),
        reason: format!("the hottest thermal zone has {:.1} C", hottest.celsius),
        sensor: Some(hottest.name.clone()),
    })
}

fn heat(state: &DeviceState, by: &Thresholds, memory: &Memory, wishes: &mut Wishes) {
    let (level, reason) = (memory.heat.level, &memory.heat.reason);
    if memory.heat.is_missing() {
        let reason = if state.thermal_zones.is_empty() {
            "no thermal zone has a value"
        } else {
            "the hottest thermal zone has no value any more"
        };
        wishes.alert("no-temperature", Severity::Warning, reason);
    }
    if level == 0 {
        return;
    }
    if state.outputs.contains(&by.fan) {
        let value_ratio = if level == 1 { 0.5 } else { 1.0 };
        wishes.outputs.push(Drive {
            name: by.fan.clone(),
            value_ratio,
            reason: reason.clone(),
        });
    }
    wishes.slow(level - 1, by, reason);
    if level >= 3 {
        let mut modes = state.modes.iter();
        let named = modes.find(|mode| mode.name == by.minimal_mode);
        wishes.mode(named.or(state.modes.last()), reason);
    }
    if level >= 4 {
        wishes.stop = Some(reason.clone());
        wishes.alert("too-hot", Severity::Critical, reason);
    }
}

fn charge(state: &DeviceState, by: &Thresholds) -> Option<Value> {
    let percent = state.power.charge_ratio? * 100.0;
    let under = |percent: f64| match percent {
        it if it < by.hibernate_charge_percent => 3,
        it if it < by.minimal_charge_percent => 2,
        it if it <= by.slow_charge_percent => 1,
        _ => 0,
    };
    let mains = state.power.mains == Some(true);
    let of = |percent: f64| if mains { 0 } else { under(percent) };
    Some(Value {
        level: of(percent),
        held: of(percent - by.charge_margin_percent),
        reason: format!("the batteries have {percent:.0} %"),
        sensor: None,
    })
}

fn battery(by: &Thresholds, memory: &Memory, wishes: &mut Wishes) {
    let (level, reason) = (memory.charge.level, &memory.charge.reason);
    if memory.charge.is_missing() {
        wishes.alert(
            "no-charge",
            Severity::Warning,
            "no battery tells its charge",
        );
    }
    wishes.slow(level, by, reason);
    let seconds = match level {
        0 => return,
        1 => by.low_status_s,
        _ => by.lowest_status_s,
    };
    wishes.status = Some(Interval {
        seconds,
        reason: reason.clone(),
    });
    if level >= 3 {
        wishes.stop.get_or_insert_with(|| reason.clone());
        wishes.hibernate = Some(reason.clone());
        wishes.alert("battery-empty", Severity::Critical, reason);
    }
}

/// Moves along the modes by the windows that the mode in force has served alone.
fn latency(state: &DeviceState, by: &Thresholds, level: &mut u32, wishes: &mut Wishes) {
    let (Some(deadline), Some(current)) = (state.deadline_ms, in_force(state)) else {
        *level = 0;
        return;
    };
    let is_late = |p95: f64| p95 > deadline;
    let has_headroom = |p95: f64| p95 * 100.0 <= deadline * by.headroom_percent;
    if last_windows(state, by.late_windows, is_late) {
        let mut after = state.modes.iter().filter(|mode| mode.level > current.level);
        *level = after.next().map_or(current.level, |mode| mode.level);
    } else if *level == current.level && last_windows(state, by.headroom_windows, has_headroom) {
        let mut before = state.modes.iter().filter(|mode| mode.level < current.level);
        *level = before.next_back().map_or(0, |mode| mode.level);
    }
    if *level > 0 {
        let wanted = state.modes.iter().find(|mode| mode.level == *level);
        let windows = by.late_windows;
        let reason =
            format!("p95 was over the deadline of {deadline:.0} ms in {windows} windows in a row");
        wishes.mode(wanted, &reason);
    }
}

fn in_force(state: &DeviceState) -> Option<&Mode> {
    let name = state.mode.as_ref()?;
    state.modes.iter().find(|mode| mode.name == *name)
}

/// Whether the last `count` windows all had the mode in force, and a p95 that fulfils the condition.
fn last_windows(state: &DeviceState, count: usize, fulfils: impl Fn(f64) -> bool) -> bool {
    let is_one = |window: &Window| window.mode == state.mode && window.p95_ms.is_some_and(&fulfils);
    let mut last = state.history.iter().rev().take(count);
    count > 0 && state.history.len() >= count && last.all(is_one)
}

/// Avoids backends that fail, unless all do.
fn backends(state: &DeviceState, by: &Thresholds, wishes: &mut Wishes) {
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    for runs in &state.models {
        let most = faults.entry(runs.backend.as_str()).or_default();
        *most = (*most).max(runs.faults_in_a_row);
    }
    let all = faults.len();
    faults.retain(|_, in_a_row| *in_a_row >= by.backend_failures);
    if all > 0 && faults.len() == all {
        wishes.alert("no-backend", Severity::Critical, "every backend fails");
        return;
    }
    let avoided = faults.into_iter().map(|(backend, in_a_row)| Avoidance {
        backend: backend.to_owned(),
        reason: format!("{in_a_row} failures in a row"),
    });
    wishes.avoid.extend(avoided);
}
