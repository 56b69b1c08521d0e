//! From the plan of a component to the plan of the ladder, and from the modes of a release to those of a plan.

use std::num::NonZeroU32;

use hotshoe_engine as engine;
use hotshoe_engine::Reasoned;
use hotshoe_senses::{Because, Plan, Rate, Rest, Severity, SignedMode, SignedModes};
use hotshoe_trust::Release;

const MILLIS: f64 = 1_000.0;
const MICROS: u64 = 1_000_000;
/// What an interval may lack of its last millisecond, so that 1000 / (1000 / 300) is 300.
const ROUNDING: f64 = 1e-6;

/// The modes of a release, the full one first.
pub fn signed_modes(release: &Release) -> SignedModes {
    let mut modes: Vec<_> = release.modes.iter().collect();
    modes.sort_by_key(|(_, mode)| mode.level);
    let modes = modes.into_iter().map(|(name, mode)| SignedMode {
        name: name.clone(),
        rate: rate(mode.rate),
    });
    SignedModes(modes.collect())
}

/// The plan of a governor, which `engine` has checked, made of a state of the time `now_us`. Naming the full mode is the same as naming none.
pub fn plan(made: &engine::Plan, full_mode: Option<&str>, now_us: u64) -> Plan {
    let mode = made.mode.as_ref();
    let mode = mode.filter(|it| Some(it.value.as_str()) != full_mode);
    let outputs = made.outputs.iter().map(|it| {
        let percent = Because::new(percent(it.value_ratio), &it.reason);
        (it.name.clone(), percent)
    });
    let alerts = made.alerts.iter().map(|it| {
        let alert = Because::new(severity(it.severity), &it.reason);
        (it.name.clone(), alert)
    });
    let avoided = made.avoid.iter();
    Plan {
        mode: mode.map(|it| Because::new(it.value.clone(), &it.reason)),
        rate: made
            .rate
            .as_ref()
            .map(|it| Because::new(rate(it.value), &it.reason)),
        skip_variants: None,
        avoid_backends: avoided
            .map(|it| (it.value.clone(), it.reason.clone()))
            .collect(),
        status_interval_s: seconds(made.status_interval_seconds.as_ref()),
        telemetry_interval_s: seconds(made.telemetry_interval_seconds.as_ref()),
        outputs: outputs.collect(),
        alerts: alerts.collect(),
        rest: rest(made, now_us),
    }
}

/// A rate of a release or of a component. The interval is rounded up, so that there are never more samples than it says.
pub fn rate(rate: hotshoe_trust::Rate) -> Rate {
    Rate {
        every: NonZeroU32::new(rate.every).unwrap_or(NonZeroU32::MIN),
        interval_ms: rate.max_per_second.map_or(0, interval_ms),
        on_motion: rate.only_on_motion,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and is at most 1,000,000 for the rates that a release may have"
)]
fn interval_ms(per_second: f64) -> u32 {
    (MILLIS / per_second - ROUNDING).ceil() as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 100"
)]
fn percent(ratio: f64) -> u8 {
    (ratio.clamp(0.0, 1.0) * 100.0).round() as u8
}

fn seconds(interval: Option<&Reasoned<u32>>) -> Option<Because<u32>> {
    interval.map(|it| Because::new(it.value, &it.reason))
}

const fn severity(severity: engine::Severity) -> Severity {
    match severity {
        engine::Severity::Info => Severity::Info,
        engine::Severity::Warning => Severity::Warning,
        engine::Severity::Critical => Severity::Critical,
    }
}

/// The strictest of what the plan says: to hibernate, to stop, to rest for a time.
fn rest(made: &engine::Plan, now_us: u64) -> Option<Because<Rest>> {
    if let Some(reason) = &made.hibernate {
        return Some(Because::new(Rest::Hibernate, reason));
    }
    if let Some(reason) = &made.stop {
        return Some(Because::new(Rest::Stop, reason));
    }
    let rest = made.rest_us.as_ref()?;
    let until_s = now_us.saturating_add(rest.value).div_ceil(MICROS);
    Some(Because::new(Rest::Until(until_s), &rest.reason))
}
