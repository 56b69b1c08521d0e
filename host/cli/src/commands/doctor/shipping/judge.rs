//! Whether what was measured is good enough, and the way out where it is not.

use hotshoe_base::Resident;
use hotshoe_config::{Config, Statements};
use hotshoe_release::device::trust_root;
use hotshoe_release::terminal::size;
use hotshoe_senses::{Reading, Thresholds};
use hotshoe_store::Store;
use hotshoe_trust::{DEVELOPMENT_KEY, HealthGate};

use super::load::Measured;
use crate::commands::doctor::{Finding, State, nearest};

/// Share of the available memory above which there is little room for a second release beside the first.
const MUCH_MEMORY: f64 = 0.5;
/// Degrees below the limit at which the device takes fewer samples, that should be left: rooms get warmer than the one of the test.
const HEADROOM_CELSIUS: f64 = 10.0;
/// The end of a run may be slower than its beginning by this factor.
const MOST_SLOWDOWN: f64 = 1.2;

/// What must not be left as it was on a developer's desk.
pub(super) fn settings(config: &Config) -> Vec<Finding> {
    const WHAT: &str = "keys";
    let mut findings = Vec::new();
    let root = trust_root(&config.trust).ok();
    let has_development_key = root
        .as_ref()
        .is_some_and(|root| root.keys().any(|key| key.name() == DEVELOPMENT_KEY));
    if config.development || has_development_key {
        findings.push(Finding::bad(
            WHAT,
            State::Fail,
            "development mode: the throw-away key of `hotshoe dev` is trusted".to_owned(),
            "set `development = false`, and remove the key from trust.toml",
        ));
    }
    if root.is_some_and(|root| root.threshold() < 2) {
        findings.push(Finding::bad(
            WHAT,
            State::Warn,
            "one key alone can change what this device runs".to_owned(),
            "with three keys and `--threshold 2`, a stolen key is not enough: `hotshoe trust --help`",
        ));
    }
    let is_on_a_network = !config.zenoh.connect.is_empty() || !config.zenoh.listen.is_empty();
    if is_on_a_network && config.deploy.statements == Statements::Any {
        findings.push(Finding::bad(
            "statements",
            State::Warn,
            "a statement needs no signature, so that others on the network choose among signed releases".to_owned(),
            "set `statements = \"signed\"` in [deploy]; `hotshoe site init` does it",
        ));
    }
    findings
}

/// Whether a time server has set the clock.
pub(super) fn clock(reading: &Reading) -> Option<Finding> {
    const WHAT: &str = "time server";
    match reading.is_clock_synchronised {
        Some(true) => Some(Finding::ok(WHAT, "it has set the clock")),
        Some(false) => Some(Finding::bad(
            WHAT,
            State::Warn,
            "none has set the clock since the system started".to_owned(),
            "enable one (`timedatectl set-ntp true`), or fit a clock with a battery: a device refuses releases by a wrong time",
        )),
        None => None,
    }
}

/// Whether the disk holds a release beside the two that are kept.
pub(super) fn disk(config: &Config, store: &Store) -> Finding {
    const WHAT: &str = "room";
    let quota = config.deploy.quota_mib.saturating_mul(1 << 20);
    let outbox = if config.outbox.is_enabled() {
        config.outbox.max_bytes
    } else {
        0
    };
    let folder = nearest(store.folder());
    let free = rustix::fs::statvfs(folder).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    match free {
        Ok(free) if free < quota.saturating_add(outbox) => Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "{} are free, and releases may take {}, the outbox {}",
                size(free),
                size(quota),
                size(outbox)
            ),
            "lower `quota-mib` in [deploy] or `max-bytes` in [outbox], or use a larger disk",
        ),
        Ok(free) => Finding::ok(
            WHAT,
            format!("{} are free for releases and the outbox", size(free)),
        ),
        Err(error) => Finding::ok(WHAT, format!("the system does not say: {error}")),
    }
}

/// Whether what must arrive has a place to go.
pub(super) fn outbox(config: &Config, reading: &Reading) -> Finding {
    const WHAT: &str = "outbox";
    let outbox = &config.outbox;
    if !outbox.is_enabled() {
        return Finding::ok(WHAT, "no output is durable");
    }
    if outbox.mqtt.is_none() && config.zenoh.connect.is_empty() && config.zenoh.listen.is_empty() {
        return Finding::bad(
            WHAT,
            State::Fail,
            "outputs are durable, and there is no way to a collector or a broker".to_owned(),
            "set `connect` in [zenoh], or [outbox.mqtt]",
        );
    }
    if let Some(space) = reading.data
        && space.free_bytes < outbox.max_bytes
    {
        return Finding::bad(
            WHAT,
            State::Fail,
            format!(
                "it may take {}, and {} are free",
                size(outbox.max_bytes),
                size(space.free_bytes)
            ),
            "lower `max-bytes` in [outbox], or use a larger disk",
        );
    }
    Finding::ok(
        WHAT,
        format!(
            "it keeps at most {} for {} hours",
            size(outbox.max_bytes),
            outbox.max_age_hours
        ),
    )
}

/// Whether samples were fast and right enough, and their rate.
pub(super) fn latency(
    config: &Config,
    gate: &HealthGate,
    measured: &Measured,
    threads: usize,
) -> Vec<Finding> {
    const WHAT: &str = "latency";
    let mut findings = Vec::new();
    let gate = gate.bounded(&config.deploy.health);
    let (samples, failed) = (measured.samples as f64, measured.failed as f64);
    if failed > 0.0 {
        let state = if failed > samples * gate.max_error_rate {
            State::Fail
        } else {
            State::Warn
        };
        let why = measured.failure.as_deref().unwrap_or_default();
        findings.push(Finding::bad(
            "errors",
            state,
            format!("{failed} of {samples} samples failed, the first one with {why}"),
            "correct the release, or give other files with --sample",
        ));
    }
    let Some(summary) = measured.all().summary() else {
        findings.push(Finding::bad(
            WHAT,
            State::Fail,
            format!(
                "no sample was processed: a component left all {} out",
                measured.skipped
            ),
            "give files with --sample that the release processes",
        ));
        return findings;
    };
    let seconds = measured.elapsed.as_secs_f64();
    let found = format!(
        "p95 {:.1} ms, p99 {:.1} ms, {:.1} samples per second on {threads} threads, over {seconds:.0} s{}",
        summary.p95,
        summary.p99,
        samples / seconds.max(1e-3),
        match measured.skipped {
            0 => String::new(),
            skipped => format!("; {skipped} more were left out by a component"),
        }
    );
    let limits = [config.governor.deadline_ms, gate.max_latency_p95_ms];
    let limit = limits.into_iter().flatten().min().map(|it| it as f64);
    findings.push(match limit {
        Some(limit) if summary.p95 > limit => Finding::bad(
            WHAT,
            State::Fail,
            format!("{found}; at most {limit} ms are allowed"),
            "use a smaller variant of the model (`hotshoe model optimise`), fewer threads, or a higher `deadline-ms` in [governor]",
        ),
        Some(limit) => Finding::ok(WHAT, format!("{found}; {limit} ms are allowed")),
        None => Finding::bad(
            WHAT,
            State::Warn,
            format!("{found}; no limit is set"),
            "set `deadline-ms` in [governor], so that the device keeps to it by itself",
        ),
    });
    findings
}

/// Whether the release fits into memory, also beside the next one.
pub(super) fn memory(before: &Reading, resident: Option<Resident>) -> Finding {
    const WHAT: &str = "model memory";
    let (Some(memory), Some(resident)) = (before.memory, resident) else {
        return Finding::ok(WHAT, "the system does not say");
    };
    let found = format!(
        "at most {} under load, of {} that were available",
        size(resident.peak_bytes),
        size(memory.available_bytes)
    );
    let advice = "use a smaller variant of the model, fewer threads in [workers], or `keep-previous = \"disk\"` in [deploy]";
    let share = resident.peak_bytes as f64 / memory.available_bytes.max(1) as f64;
    if share > 1.0 {
        Finding::bad(WHAT, State::Fail, found, advice)
    } else if share > MUCH_MEMORY {
        let found = format!("{found}; an update needs room for a second release");
        Finding::bad(WHAT, State::Warn, found, advice)
    } else {
        Finding::ok(WHAT, found)
    }
}

/// Whether the device stays cool enough under load.
pub(super) fn heat(after: &Reading, measured: &Measured) -> Finding {
    const WHAT: &str = "heat";
    let thresholds = Thresholds::default();
    let advice = "cool the device better, lower the load, or give the release modes for a governor";
    let celsius = after.thermal.iter().map(|zone| zone.celsius);
    let hottest = celsius.max_by(f64::total_cmp);
    let throttled = after
        .cpus
        .iter()
        .any(|cpu| cpu.is_throttled() == Some(true));
    let slower = measured.slowdown().filter(|it| *it > MOST_SLOWDOWN);
    if let Some(celsius) = hottest.filter(|it| *it >= thresholds.slow_celsius) {
        let found = format!(
            "{celsius:.0} °C after the load; from {:.0} °C on, the device takes fewer samples",
            thresholds.slow_celsius
        );
        return Finding::bad(WHAT, State::Fail, found, advice);
    }
    if let Some(slower) = slower {
        let found =
            format!("the last quarter of the run was {slower:.1} times as slow as the first");
        return Finding::bad(WHAT, State::Warn, found, advice);
    }
    if throttled {
        let found = "the system permits less than the highest frequency".to_owned();
        return Finding::bad(WHAT, State::Warn, found, advice);
    }
    match hottest {
        Some(celsius) if celsius > thresholds.slow_celsius - HEADROOM_CELSIUS => Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "{celsius:.0} °C after the load, {:.0} below the limit",
                thresholds.slow_celsius - celsius
            ),
            advice,
        ),
        Some(celsius) => Finding::ok(WHAT, format!("{celsius:.0} °C after the load")),
        None if measured.slowdown().is_none() => Finding::ok(
            WHAT,
            "there is no sensor, and the run was too short to tell by its speed",
        ),
        None => Finding::ok(WHAT, "there is no sensor; the run did not get slower"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use hotshoe_senses::{Memory, ThermalZone};

    fn hot(celsius: f64) -> Reading {
        Reading {
            thermal: vec![ThermalZone {
                zone: "thermal_zone0".to_owned(),
                label: None,
                celsius,
            }],
            ..Reading::default()
        }
    }

    #[test]
    fn heat_needs_headroom() {
        let state = |celsius| heat(&hot(celsius), &Measured::default()).state;
        assert_eq!(state(40.0), State::Ok);
        assert_eq!(state(55.0), State::Ok);
        assert_eq!(state(55.1), State::Warn);
        assert_eq!(state(65.0), State::Fail);
        let none = heat(&Reading::default(), &Measured::default());
        assert_eq!(none.state, State::Ok);
    }

    #[test]
    fn a_run_that_slows_down_is_reported() {
        let mut measured = Measured {
            elapsed: Duration::from_secs(3600),
            ..Measured::default()
        };
        measured.parts[0].add(10.0);
        measured.parts[3].add(13.0);
        assert_eq!(heat(&Reading::default(), &measured).state, State::Warn);
    }

    #[test]
    fn samples_that_a_component_leaves_out_are_no_failures_and_no_load() {
        let config = Config::parse("site = \"lab\"\ndevice = \"cam\"", Path::new("/")).unwrap();
        let judged = |measured: &Measured| {
            latency(&config, &HealthGate::default(), measured, 1)
                .into_iter()
                .map(|it| (it.what, it.state))
                .collect::<Vec<_>>()
        };
        let mut measured = Measured {
            skipped: 7,
            ..Measured::default()
        };
        assert_eq!(judged(&measured), [("latency", State::Fail)]);
        measured.samples = 1;
        measured.parts[0].add(10.0);
        assert_eq!(
            judged(&measured),
            [("latency", State::Warn)],
            "no limit is set"
        );
    }

    #[test]
    fn a_release_must_fit_twice() {
        let reading = |available_bytes| Reading {
            memory: Some(Memory {
                total_bytes: 1 << 30,
                available_bytes,
                swap_total_bytes: None,
                swap_free_bytes: None,
            }),
            ..Reading::default()
        };
        let used = Some(Resident {
            bytes: 90,
            file_bytes: 0,
            peak_bytes: 100,
        });
        assert_eq!(memory(&reading(99), used).state, State::Fail);
        assert_eq!(memory(&reading(199), used).state, State::Warn);
        assert_eq!(memory(&reading(200), used).state, State::Ok);
        assert_eq!(memory(&Reading::default(), used).state, State::Ok);
    }
}
