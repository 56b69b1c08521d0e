//! The plan of a device without a governor: heat, charge, deadlines and backends, each with its own rule. A full queue has none: the
//! intake's own policy decides there.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::{Because, Plan, Rate, Rest, Severity, SignedModes};
use crate::reading::Reading;
use crate::thresholds::Thresholds;

/// What the default plan depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moment {
    /// Temperature of the hottest zone, in degrees Celsius.
    pub celsius: Option<f64>,
    /// That zone.
    pub hottest: Option<String>,
    /// The zones with a temperature.
    pub zones: BTreeSet<String>,
    /// Charge of the batteries, in percent.
    pub charge_percent: Option<f64>,
    /// Whether another supply than the batteries suffices.
    pub is_on_mains: Option<bool>,
    /// The latency of a window that has just ended; each window is given once.
    pub window: Option<WindowLatency>,
    /// How many variants the models have behind their preferred one, at most.
    pub smaller_variants: u32,
    /// The backends and providers, in the order of preference.
    pub backends: Vec<BackendHealth>,
}

/// The latency of a window, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLatency {
    /// 95th percentile.
    pub p95_us: u64,
    /// What it should not exceed.
    pub deadline_us: u64,
}

/// How a backend does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendHealth {
    /// Its name.
    pub name: String,
    /// Failures since the last run that succeeded. An avoided backend has to be tried now and then.
    pub failures_in_a_row: u32,
}

impl Moment {
    /// What the sensors tell of it. The rest is left as it is in the default.
    pub fn of(reading: &Reading) -> Self {
        Self {
            celsius: reading.hottest().map(|zone| zone.celsius),
            hottest: reading.hottest().map(|zone| zone.zone.clone()),
            zones: reading.thermal.iter().map(|it| it.zone.clone()).collect(),
            charge_percent: reading.charge_percent(),
            is_on_mains: reading.is_on_mains(),
            ..Self::default()
        }
    }
}

/// What the default plan keeps from one reading to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DefaultPlan {
    heat: Level,
    charge: Level,
    late: u32,
    headroom: u32,
    skipped: u32,
    avoided: BTreeSet<String>,
}

/// How many limits a sensor is over, and what it says.
#[derive(Debug, Clone, Default, PartialEq)]
struct Level {
    level: usize,
    reason: String,
    /// Which of several sensors says it, where that is known.
    sensor: Option<String>,
    was_known: bool,
    missing_since: Option<Duration>,
}

impl Level {
    /// `level` counts the limits that a value is over, and `held` those that it is over or near. A lower level waits for `hold` where the
    /// sensor that said the higher one is gone: the others tell nothing of its place.
    fn update(
        &mut self,
        value: Option<Value>,
        is_gone: impl Fn(&str) -> bool,
        hold: Duration,
        at: Duration,
    ) {
        let is_lower = value.as_ref().is_none_or(|it| it.level < self.level);
        let is_lost = is_lower && self.sensor.as_deref().is_some_and(is_gone);
        if value.is_none() && !self.was_known {
            return;
        }
        if value.is_none() || is_lost {
            let since = *self.missing_since.get_or_insert(at);
            if at.saturating_sub(since) < hold {
                return;
            }
        }
        match value {
            Some(value) => {
                self.level = value.level.max(self.level.min(value.held));
                (self.reason, self.sensor) = (value.text, value.sensor);
                (self.was_known, self.missing_since) = (true, None);
            }
            None => self.level = 0,
        }
    }
}

struct Value {
    level: usize,
    held: usize,
    text: String,
    sensor: Option<String>,
}

impl DefaultPlan {
    /// The plan for a moment.
    pub fn next(
        mut self,
        thresholds: &Thresholds,
        modes: &SignedModes,
        moment: &Moment,
        at: Duration,
    ) -> (Self, Plan) {
        let hold = Duration::from_secs(u64::from(thresholds.missing_sensor_s));
        let is_gone = |zone: &str| !moment.zones.contains(zone);
        self.heat
            .update(heat(thresholds, moment), is_gone, hold, at);
        self.charge
            .update(charge(thresholds, moment), |_| false, hold, at);
        let heat = self.plan_of_heat(thresholds, modes, moment);
        let plan = heat
            .stricter(&self.plan_of_charge(thresholds), modes)
            .stricter(&self.plan_of_latency(thresholds, moment), modes)
            .stricter(&self.plan_of_backends(thresholds, moment), modes);
        (self, plan)
    }

    fn plan_of_heat(&self, thresholds: &Thresholds, modes: &SignedModes, moment: &Moment) -> Plan {
        let mut plan = Plan::default();
        let Level { level, reason, .. } = &self.heat;
        if self.heat.missing_since.is_some() {
            let reason = match moment.celsius {
                None => "no thermal zone has a value",
                Some(_) => "the hottest thermal zone has no value any more",
            };
            alert(&mut plan, "no-temperature", Severity::Warning, reason);
        }
        let fan = match level {
            0 => return plan,
            1 => 50,
            _ => 100,
        };
        let fan = Because::new(fan, reason);
        plan.outputs.insert(thresholds.fan.clone(), fan);
        plan.rate = rate(*level - 1, thresholds, reason);
        if *level >= 3 {
            if modes.contains(&thresholds.minimal_mode) {
                plan.mode = Some(Because::new(thresholds.minimal_mode.clone(), reason));
            } else if moment.smaller_variants > 0 {
                plan.skip_variants = Some(Because::new(moment.smaller_variants, reason));
            }
        }
        if *level >= 4 {
            plan.rest = Some(Because::new(Rest::Stop, reason));
            alert(&mut plan, "too-hot", Severity::Critical, reason);
        }
        plan
    }

    fn plan_of_charge(&self, thresholds: &Thresholds) -> Plan {
        let mut plan = Plan::default();
        let Level { level, reason, .. } = &self.charge;
        if self.charge.missing_since.is_some() {
            let reason = "no battery tells its charge";
            alert(&mut plan, "no-charge", Severity::Warning, reason);
        }
        plan.rate = rate(*level, thresholds, reason);
        let status = match level {
            0 => return plan,
            1 => thresholds.low_status_s,
            _ => thresholds.lowest_status_s,
        };
        plan.status_interval_s = Some(Because::new(status, reason));
        if *level >= 3 {
            plan.rest = Some(Because::new(Rest::Hibernate, reason));
            alert(&mut plan, "battery-empty", Severity::Critical, reason);
        }
        plan
    }

    fn plan_of_latency(&mut self, thresholds: &Thresholds, moment: &Moment) -> Plan {
        if let Some(window) = moment.window {
            let is_late = window.p95_us > window.deadline_us;
            let has_headroom = u128::from(window.p95_us) * 100
                <= u128::from(window.deadline_us) * u128::from(thresholds.headroom_percent);
            self.late = if is_late {
                self.late.saturating_add(1)
            } else {
                0
            };
            self.headroom = if has_headroom {
                self.headroom.saturating_add(1)
            } else {
                0
            };
            if self.late >= thresholds.late_windows {
                (self.skipped, self.late) = (self.skipped.saturating_add(1), 0);
            }
            if self.headroom >= thresholds.headroom_windows {
                (self.skipped, self.headroom) = (self.skipped.saturating_sub(1), 0);
            }
        }
        self.skipped = self.skipped.min(moment.smaller_variants);
        let reason = format!(
            "p95 was over the deadline in {} windows in a row",
            thresholds.late_windows
        );
        Plan {
            skip_variants: (self.skipped > 0).then(|| Because::new(self.skipped, reason)),
            ..Plan::default()
        }
    }

    fn plan_of_backends(&mut self, thresholds: &Thresholds, moment: &Moment) -> Plan {
        let mut plan = Plan::default();
        let fails = |backend: &&BackendHealth| {
            let was_avoided = self.avoided.contains(&backend.name);
            let most = if was_avoided {
                1
            } else {
                thresholds.backend_failures
            };
            backend.failures_in_a_row >= most
        };
        let failing: Vec<&BackendHealth> = moment.backends.iter().filter(fails).collect();
        self.avoided = failing.iter().map(|it| it.name.clone()).collect();
        if failing.is_empty() {
            return plan;
        }
        if failing.len() == moment.backends.len() {
            let reason = "every backend fails";
            alert(&mut plan, "no-backend", Severity::Critical, reason);
        } else {
            let reason = |it: &BackendHealth| format!("{} failures in a row", it.failures_in_a_row);
            let avoided = failing.iter().map(|it| (it.name.clone(), reason(it)));
            plan.avoid_backends = avoided.collect();
        }
        plan
    }
}

fn heat(thresholds: &Thresholds, moment: &Moment) -> Option<Value> {
    let celsius = moment.celsius?;
    let over = |value: f64| {
        let limits = thresholds.celsius();
        limits.iter().filter(|limit| value >= **limit).count()
    };
    Some(Value {
        level: over(celsius),
        held: over(celsius + thresholds.celsius_margin),
        text: format!(
            "the hottest thermal zone has {:.1} C",
            celsius.clamp(-999.0, 999.0)
        ),
        sensor: moment.hottest.clone(),
    })
}

fn charge(thresholds: &Thresholds, moment: &Moment) -> Option<Value> {
    let percent = moment.charge_percent?;
    if moment.is_on_mains == Some(true) {
        return Some(Value {
            level: 0,
            held: 0,
            text: String::new(),
            sensor: None,
        });
    }
    let under = |percent: f64| match percent {
        it if it < thresholds.hibernate_charge_percent => 3,
        it if it < thresholds.minimal_charge_percent => 2,
        it if it <= thresholds.slow_charge_percent => 1,
        _ => 0,
    };
    Some(Value {
        level: under(percent),
        held: under(percent - thresholds.charge_margin_percent),
        text: format!("the batteries have {:.0}%", percent.clamp(0.0, 100.0)),
        sensor: None,
    })
}

/// The rate of a step: all samples, a part of them, or few of that part. A step that took another part would be stricter than the one before
/// in one way and looser in another, which are two changes for the ladder.
fn rate(step: usize, thresholds: &Thresholds, reason: &str) -> Option<Because<Rate>> {
    let interval_ms = match step {
        0 => return None,
        1 => 0,
        _ => thresholds.interval_ms,
    };
    let rate = Rate {
        every: thresholds.every,
        interval_ms,
        on_motion: false,
    };
    Some(Because::new(rate, reason))
}

fn alert(plan: &mut Plan, name: &str, severity: Severity, reason: &str) {
    plan.alerts
        .insert(name.to_owned(), Because::new(severity, reason));
}
