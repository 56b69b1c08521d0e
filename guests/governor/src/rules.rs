//! The rules: each has wishes, and the strictest of all wishes become the plan.

use hotshoe_sdk::governor::{
    self, Alert, DeviceState, Drive, Interval, Mode, ModeChoice, Plan, Rate, RateChoice, Severity,
    Window,
};

use super::thresholds::{LatencyRule, Thresholds};

/// What all rules want together.
#[derive(Debug, Default)]
struct Wishes {
    /// Level and name.
    mode: Option<(u32, String)>,
    mode_reason: String,
    every: u32,
    max_per_second: Option<f64>,
    rate_reasons: Vec<String>,
    status_seconds: Option<(u32, String)>,
    fan: Option<(f64, String)>,
    stop: Vec<String>,
    hibernate: Option<String>,
}

/// The plan for a state. `latency_level` is the level of the mode that the latency asked for last; 0 at first.
pub(crate) fn plan(state: &DeviceState, by: &Thresholds, latency_level: &mut u32) -> Plan {
    let mut wishes = Wishes::default();
    heat(state, by, &mut wishes);
    battery(state, by, &mut wishes);
    if let Some(rule) = by.latency {
        latency(state, rule, latency_level, &mut wishes);
    }
    wishes.into_plan(state, by)
}

fn heat(state: &DeviceState, by: &Thresholds, wishes: &mut Wishes) {
    let zones = state.thermal_zones.iter();
    let Some(hottest) = zones.max_by(|a, b| a.celsius.total_cmp(&b.celsius)) else {
        return;
    };
    let celsius = hottest.celsius;
    let mut steps = by.heat.iter().flatten().rev();
    let Some(step) = steps.find(|step| celsius >= step.from_celsius) else {
        return;
    };
    let reason = format!(
        "{} is at {celsius:.1} C, from {} C on",
        hottest.name, step.from_celsius
    );
    wishes.rate(step.every, step.max_per_second, &reason);
    if step.fan_ratio > 0.0 {
        wishes.fan = Some((step.fan_ratio, reason.clone()));
    }
    if let Some(name) = &step.mode {
        let named = state.modes.iter().find(|mode| mode.name == *name);
        wishes.mode(named.or(state.modes.last()), &reason);
    }
    if step.stop {
        wishes.stop.push(reason);
    }
}

fn battery(state: &DeviceState, by: &Thresholds, wishes: &mut Wishes) {
    if state.power.mains == Some(true) {
        return;
    }
    let known = state
        .power
        .batteries
        .iter()
        .filter_map(|battery| Some((battery, battery.charge_ratio?)));
    let Some((emptiest, charge)) = known.min_by(|(_, a), (_, b)| a.total_cmp(b)) else {
        return;
    };
    let mut steps = by.battery.iter().flatten().rev();
    let Some(step) = steps.find(|step| step.applies_to(charge)) else {
        return;
    };
    let reason = format!("battery {} is at {:.0} %", emptiest.name, charge * 100.0);
    wishes.rate(step.every, step.max_per_second, &reason);
    wishes.status_seconds = step.status_seconds.map(|it| (it, reason.clone()));
    wishes.hibernate = step.hibernate.then(|| reason.clone());
    if step.stop {
        wishes.stop.push(reason);
    }
}

/// Moves along the modes by the windows that the mode in force has served alone.
fn latency(state: &DeviceState, rule: LatencyRule, level: &mut u32, wishes: &mut Wishes) {
    let (Some(deadline), Some(current)) = (state.deadline_ms, in_force(state)) else {
        *level = 0;
        return;
    };
    let over = |window: &Window| window.p95_ms.is_some_and(|p95| p95 > deadline);
    let under = |window: &Window| {
        window
            .p95_ms
            .is_some_and(|p95| p95 < deadline * rule.headroom_ratio)
    };
    if last_windows(state, rule.windows_over, over) {
        let mut after = state.modes.iter().filter(|mode| mode.level > current.level);
        *level = after.next().map_or(current.level, |mode| mode.level);
    } else if *level == current.level && last_windows(state, rule.windows_under, under) {
        let mut before = state.modes.iter().filter(|mode| mode.level < current.level);
        *level = before.next_back().map_or(0, |mode| mode.level);
    }
    let wanted = state.modes.iter().find(|mode| mode.level == *level);
    let reason = format!("the p95 of a sample against its deadline of {deadline:.0} ms");
    wishes.mode(wanted.filter(|mode| mode.level > 0), &reason);
}

fn in_force(state: &DeviceState) -> Option<&Mode> {
    let name = state.mode.as_ref()?;
    state.modes.iter().find(|mode| mode.name == *name)
}

/// Whether the last `count` windows all had the mode in force, and fulfil the condition.
fn last_windows(state: &DeviceState, count: usize, fulfils: impl Fn(&Window) -> bool) -> bool {
    let mut last = state.history.iter().rev().take(count);
    let enough = count > 0 && state.history.len() >= count;
    enough && last.all(|window| window.mode == state.mode && fulfils(window))
}

impl Wishes {
    fn rate(&mut self, every: Option<u32>, max_per_second: Option<f64>, reason: &str) {
        if every.is_none() && max_per_second.is_none() {
            return;
        }
        self.every = self.every.max(every.unwrap_or(1));
        self.max_per_second = [self.max_per_second, max_per_second]
            .into_iter()
            .flatten()
            .reduce(f64::min);
        self.rate_reasons.push(reason.to_owned());
    }

    fn mode(&mut self, mode: Option<&Mode>, reason: &str) {
        let Some(mode) = mode else { return };
        if self
            .mode
            .as_ref()
            .is_none_or(|(level, _)| mode.level > *level)
        {
            self.mode = Some((mode.level, mode.name.clone()));
            self.mode_reason = reason.to_owned();
        }
    }

    fn into_plan(self, state: &DeviceState, by: &Thresholds) -> Plan {
        let is_fan = |name: &&String| {
            let mut fans = by.fans.iter().flatten();
            fans.any(|begins| name.starts_with(begins.as_str()))
        };
        let outputs = self.fan.into_iter().flat_map(|(value_ratio, reason)| {
            let fans = state.outputs.iter().filter(is_fan);
            fans.map(move |name| Drive {
                name: name.clone(),
                value_ratio,
                reason: reason.clone(),
            })
        });
        let stop = (!self.stop.is_empty()).then(|| self.stop.join("; "));
        let alert = stop.as_ref().map(|reason| Alert {
            severity: Severity::Critical,
            reason: format!("inference stops: {reason}"),
        });
        let mode_reason = self.mode_reason;
        Plan {
            mode: self.mode.map(|(_, name)| ModeChoice {
                name,
                reason: mode_reason,
            }),
            rate: (!self.rate_reasons.is_empty()).then(|| RateChoice {
                rate: Rate {
                    every: self.every,
                    max_per_second: self.max_per_second,
                    only_on_motion: false,
                },
                reason: self.rate_reasons.join("; "),
            }),
            status_interval: self
                .status_seconds
                .map(|(seconds, reason)| Interval { seconds, reason }),
            outputs: outputs.collect(),
            alerts: alert.into_iter().collect(),
            hibernate: self.hibernate,
            stop,
            ..governor::nothing()
        }
    }
}
