//! The bounds of a plan.

use std::collections::BTreeSet;

use hotshoe_trust::{is_name, printable};

use super::{
    DeviceState, MAX_INTERVAL_SECONDS, MAX_PLAN_ITEMS, MAX_REASON_BYTES, MAX_REST_SECONDS, Plan,
};
use crate::fault::Fault;
use crate::message::listed;

/// Most characters of a text of a plan in a message.
const MAX_SHOWN_CHARS: usize = 128;

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PlanDefect {
    #[error("names the mode `{name}`, which the release does not sign; its modes are: {known}")]
    UnsignedMode { name: String, known: String },
    #[error("names the {what} `{name}`, which is none of the state; known are: {known}")]
    Unknown {
        what: &'static str,
        name: String,
        known: String,
    },
    #[error("names the {what} `{name}` twice")]
    Twice { what: &'static str, name: String },
    #[error(
        "has an alert of the name `{name}`; use 1 to 64 of `a-z 0-9 - _ .`, beginning and ending with a letter or digit"
    )]
    AlertName { name: String },
    #[error("has {found} {what}; at most {MAX_PLAN_ITEMS} are allowed")]
    TooMany { what: &'static str, found: usize },
    #[error("gives a reason of {found} bytes for {what}; allowed are 1 to {MAX_REASON_BYTES}")]
    Reason { what: &'static str, found: usize },
    #[error("has {what} of {value}; allowed are {least} to {most}")]
    Range {
        what: &'static str,
        value: f64,
        least: f64,
        most: f64,
    },
    #[error("rests for {found_us} us after `now-us`; allowed are 1 us to {MAX_REST_SECONDS} s")]
    Rest { found_us: u64 },
}

impl PlanDefect {
    pub(crate) const fn fault(&self) -> Fault {
        match self {
            Self::UnsignedMode { .. } => Fault::UnsignedMode,
            _ => Fault::InvalidPlan,
        }
    }
}

/// Checks every bound of a plan that was made of `state`.
pub(super) fn check_plan(plan: &Plan, state: &DeviceState) -> Result<(), PlanDefect> {
    reasons(plan)?;
    if let Some(chosen) = &plan.mode {
        let mut known = state.modes.iter().map(|mode| mode.name.as_str());
        if !known.any(|name| name == chosen.value) {
            return Err(PlanDefect::UnsignedMode {
                name: shown(&chosen.value),
                known: listed(state.modes.iter().map(|mode| mode.name.as_str())),
            });
        }
    }
    if let Some(rate) = &plan.rate
        && let Some((key, value, least, most)) = rate.value.out_of_range()
    {
        let what = match key {
            "every" => "a rate with an `every`",
            _ => "a rate with a `max-per-second`",
        };
        return Err(PlanDefect::Range {
            what,
            value,
            least,
            most,
        });
    }
    for (what, interval) in [
        ("a `status-interval`", &plan.status_interval_seconds),
        ("a `telemetry-interval`", &plan.telemetry_interval_seconds),
    ] {
        if let Some(interval) = interval
            && !(1..=MAX_INTERVAL_SECONDS).contains(&interval.value)
        {
            return Err(PlanDefect::Range {
                what,
                value: interval.value.into(),
                least: 1.0,
                most: MAX_INTERVAL_SECONDS.into(),
            });
        }
    }
    items(plan, state)?;
    match &plan.rest_us {
        Some(rest) if !(1..=MAX_REST_SECONDS * 1_000_000).contains(&rest.value) => {
            Err(PlanDefect::Rest {
                found_us: rest.value,
            })
        }
        _ => Ok(()),
    }
}

/// Bounds the number of items and the length of each reason.
fn reasons(plan: &Plan) -> Result<(), PlanDefect> {
    for (what, found) in [
        ("outputs", plan.outputs.len()),
        ("alerts", plan.alerts.len()),
        ("avoided backends", plan.avoid.len()),
    ] {
        if found > MAX_PLAN_ITEMS {
            return Err(PlanDefect::TooMany { what, found });
        }
    }
    let single = [
        ("the mode", plan.mode.as_ref().map(|it| &it.reason)),
        ("the rate", plan.rate.as_ref().map(|it| &it.reason)),
        (
            "the `status-interval`",
            plan.status_interval_seconds.as_ref().map(|it| &it.reason),
        ),
        (
            "the `telemetry-interval`",
            plan.telemetry_interval_seconds
                .as_ref()
                .map(|it| &it.reason),
        ),
        ("`rest-until`", plan.rest_us.as_ref().map(|it| &it.reason)),
        ("`hibernate`", plan.hibernate.as_ref()),
        ("`stop`", plan.stop.as_ref()),
    ];
    let single = single
        .into_iter()
        .filter_map(|(what, reason)| Some((what, reason?)));
    let outputs = plan.outputs.iter().map(|it| ("an output", &it.reason));
    let alerts = plan.alerts.iter().map(|it| ("an alert", &it.reason));
    let avoided = plan
        .avoid
        .iter()
        .map(|it| ("an avoided backend", &it.reason));
    let mut all = single.chain(outputs).chain(alerts).chain(avoided);
    let wrong = all.find(|(_, reason)| !(1..=MAX_REASON_BYTES).contains(&reason.len()));
    wrong.map_or(Ok(()), |(what, reason)| {
        Err(PlanDefect::Reason {
            what,
            found: reason.len(),
        })
    })
}

/// Checks the names and values of all lists.
fn items(plan: &Plan, state: &DeviceState) -> Result<(), PlanDefect> {
    let outputs = plan.outputs.iter().map(|it| it.name.as_str());
    let known = state.outputs.iter().map(String::as_str);
    known_once("output", outputs, &known.collect())?;
    let backends = plan.avoid.iter().map(|it| it.value.as_str());
    let known = state.models.iter().map(|it| it.backend.as_str());
    known_once("backend", backends, &known.collect())?;
    let alerts = plan.alerts.iter().map(|it| it.name.as_str());
    if let Some(name) = alerts.clone().find(|name| !is_name(name)) {
        let name = shown(name);
        return Err(PlanDefect::AlertName { name });
    }
    once("alert", alerts)?;
    let mut ratios = plan.outputs.iter().map(|it| it.value_ratio);
    match ratios.find(|ratio| !(0.0..=1.0).contains(ratio)) {
        None => Ok(()),
        Some(value) => Err(PlanDefect::Range {
            what: "an output with a `value-ratio`",
            value,
            least: 0.0,
            most: 1.0,
        }),
    }
}

fn known_once<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str> + Clone,
    known: &BTreeSet<&str>,
) -> Result<(), PlanDefect> {
    if let Some(name) = names.clone().find(|name| !known.contains(name)) {
        return Err(PlanDefect::Unknown {
            what,
            name: shown(name),
            known: listed(known.iter().copied()),
        });
    }
    once(what, names)
}

fn once<'a>(
    what: &'static str,
    mut names: impl Iterator<Item = &'a str>,
) -> Result<(), PlanDefect> {
    let mut seen = BTreeSet::new();
    match names.find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(PlanDefect::Twice {
            what,
            name: shown(name),
        }),
    }
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    printable(&cut, &[])
}

#[cfg(test)]
mod tests;
