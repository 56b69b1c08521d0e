//! The health gate: judges a trial by its counts and its time. Pure.
//!
//! Some samples are bad, and no release can process them. So the limit for a trial's error rate is `max-error-rate`, or the error rate
//! of the previous release on the same stream if that is higher. Traps and missed deadlines are never the fault of a sample, so their
//! limits do not depend on the previous release.

use std::fmt;
use std::time::Duration;

use hotshoe_store::Cause;
use hotshoe_trust::HealthGate;

use crate::serving::{Observed, Seen, Variation};

/// Longest pause of a trial's statistics. After it, the trial goes on with the samples of the mode in force.
pub const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Verdict of the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Too few samples, or too little time.
    Wait,
    /// The trial is within every limit.
    Confirm,
    /// The trial exceeds a limit.
    Fail(ExceededLimit),
}

/// The limit that a trial exceeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExceededLimit {
    /// Too many samples fail.
    ErrorRate {
        /// Failed samples.
        errors: u64,
        /// All samples.
        samples: u64,
        /// The allowed share, from 0 to 1.
        most: f64,
    },
    /// A component traps on too many samples.
    TrapRate {
        /// Samples with a trap.
        traps: u64,
        /// All samples.
        samples: u64,
        /// The allowed share, from 0 to 1.
        most: f64,
    },
    /// A component misses its deadline on too many samples.
    DeadlineMisses {
        /// Samples with a missed deadline.
        misses: u64,
        /// All samples.
        samples: u64,
        /// The allowed share, from 0 to 1.
        most: f64,
    },
    /// The latency exceeds the release's limit.
    LatencyP95 {
        /// The 95th percentile, in microseconds.
        p95_us: u64,
        /// The limit, in milliseconds.
        most_ms: u64,
    },
    /// The latency exceeds that of the previous release by too much.
    LatencyRatio {
        /// The 95th percentile, in microseconds.
        p95_us: u64,
        /// The 95th percentile of the previous release, in microseconds.
        before_us: u64,
        /// The largest allowed ratio.
        most: f64,
    },
}

impl ExceededLimit {
    /// The stable name, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ErrorRate { .. } => "error_rate",
            Self::TrapRate { .. } => "trap_rate",
            Self::DeadlineMisses { .. } => "deadline_misses",
            Self::LatencyP95 { .. } => "latency_p95",
            Self::LatencyRatio { .. } => "latency_ratio",
        }
    }

    /// The cause for the ledger and events.
    pub fn cause(self) -> Cause {
        Cause::new(self.name(), self.to_string())
    }
}

impl fmt::Display for ExceededLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate {
                errors,
                samples,
                most,
            } => {
                write!(
                    f,
                    "{errors} of {samples} samples failed; at most {:.1}% is allowed",
                    most * 100.0
                )
            }
            Self::TrapRate {
                traps,
                samples,
                most,
            } => write!(
                f,
                "a component trapped on {traps} of {samples} samples; at most {:.1}% is allowed",
                most * 100.0
            ),
            Self::DeadlineMisses {
                misses,
                samples,
                most,
            } => write!(
                f,
                "a component missed its deadline on {misses} of {samples} samples; at most {:.1}% is allowed",
                most * 100.0
            ),
            Self::LatencyP95 { p95_us, most_ms } => {
                write!(
                    f,
                    "the 95th percentile of the latency is {p95_us} us; at most {most_ms} ms is allowed"
                )
            }
            Self::LatencyRatio {
                p95_us,
                before_us,
                most,
            } => write!(
                f,
                "the 95th percentile of the latency is {p95_us} us, and was {before_us} us for the release before; at most {most:.2} times that is allowed"
            ),
        }
    }
}

/// Judges a trial by its counts after `elapsed`, and by the last counts of the previous release.
///
/// Until there are `min-samples` samples, rates are computed over `min-samples`, so that a trial fails as soon as it can no longer
/// pass. The previous release is compared only if it has at least `min-samples` samples. After `confirm-after-seconds`, a trial with fewer
/// samples is confirmed.
pub fn judge(
    gate: &HealthGate,
    seen: &Observed,
    before: Option<&Observed>,
    elapsed: Duration,
) -> Verdict {
    let before = before.filter(|before| before.samples >= gate.min_samples.max(1));
    if let Some(failing) = rates(gate, seen, before) {
        return Verdict::Fail(failing);
    }
    if seen.samples < gate.min_samples && !is_confirmed_by_time(gate, seen, before, elapsed) {
        return Verdict::Wait;
    }
    if let Some(failing) = latency(gate, seen, before) {
        return Verdict::Fail(failing);
    }
    if elapsed < Duration::from_secs(gate.min_seconds) {
        return Verdict::Wait;
    }
    Verdict::Confirm
}

/// The way to run by whose samples a trial is judged: the one at its start. While another one is in force, the statistics pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    variation: Variation,
    /// Time of the trial since which another one is in force.
    paused: Option<Duration>,
}

impl Judged {
    /// The one in force at the start of a trial.
    pub const fn at_start(variation: Variation) -> Self {
        Self {
            variation,
            paused: None,
        }
    }

    /// The way to run whose samples count.
    pub const fn variation(&self) -> &Variation {
        &self.variation
    }

    /// Follows the one in force after `elapsed`. After [`MAX_PAUSE`], it is the one whose samples count from then on, so that a trial also
    /// ends where a mode never returns.
    pub fn follow(&mut self, in_force: &Variation, elapsed: Duration) {
        if *in_force == self.variation {
            self.paused = None;
            return;
        }
        let since = *self.paused.get_or_insert(elapsed);
        if elapsed.saturating_sub(since) >= MAX_PAUSE {
            *self = Self::at_start(in_force.clone());
        }
    }
}

/// Judges a trial as [`judge`], by the samples of one way to run.
///
/// Traps count however the release runs, since no mode excuses them. The error rate of the previous release is that of all its samples, and
/// its latency only that of the same way to run: if it has too few of these, the two latencies are not compared. A trial that is
/// confirmed by its time must also be within the limits over all its samples.
pub fn judge_by_mode(
    gate: &HealthGate,
    seen: &Seen,
    before: Option<&Seen>,
    judged: &Variation,
    elapsed: Duration,
) -> Verdict {
    if let Some(failing) = traps(gate, &seen.all) {
        return Verdict::Fail(failing);
    }
    let before = before.map(|before| {
        let alike = before.of(judged);
        let is_enough = alike.samples >= gate.min_samples.max(1);
        Observed {
            p95_us: alike.p95_us.filter(|_| is_enough),
            ..before.all
        }
    });
    let counted = seen.of(judged);
    let verdict = judge(gate, &counted, before.as_ref(), elapsed);
    let is_by_time = counted.samples < gate.min_samples;
    if verdict == Verdict::Confirm && is_by_time {
        let few = HealthGate {
            min_samples: seen.all.samples,
            ..gate.clone()
        };
        let before = before.filter(|before| before.samples >= gate.min_samples.max(1));
        if rates(&few, &seen.all, before.as_ref()).is_some() {
            return Verdict::Wait;
        }
    }
    verdict
}

/// Whether a trial with too few samples has served for `confirm-after-seconds`, and the samples so far are within the limits.
fn is_confirmed_by_time(
    gate: &HealthGate,
    seen: &Observed,
    before: Option<&Observed>,
    elapsed: Duration,
) -> bool {
    let is_due = |seconds| elapsed >= Duration::from_secs(seconds);
    let few = HealthGate {
        min_samples: seen.samples,
        ..gate.clone()
    };
    gate.confirm_after_seconds.is_some_and(is_due) && rates(&few, seen, before).is_none()
}

fn rates(gate: &HealthGate, seen: &Observed, before: Option<&Observed>) -> Option<ExceededLimit> {
    if let Some(failing) = traps(gate, seen) {
        return Some(failing);
    }
    let samples = seen.samples;
    let of = samples.max(gate.min_samples);
    if exceeds(seen.deadline_misses, of, gate.max_deadline_miss_rate) {
        let (misses, most) = (seen.deadline_misses, gate.max_deadline_miss_rate);
        return Some(ExceededLimit::DeadlineMisses {
            misses,
            samples,
            most,
        });
    }
    let usual = before.map_or(0.0, |before| share(before.errors, before.samples));
    let most = gate.max_error_rate.max(usual);
    let errors = seen.errors;
    exceeds(errors, of, most).then_some(ExceededLimit::ErrorRate {
        errors,
        samples,
        most,
    })
}

fn traps(gate: &HealthGate, seen: &Observed) -> Option<ExceededLimit> {
    let Observed { samples, traps, .. } = *seen;
    let of = samples.max(gate.min_samples);
    let most = gate.max_trap_rate;
    exceeds(traps, of, most).then_some(ExceededLimit::TrapRate {
        traps,
        samples,
        most,
    })
}

fn latency(gate: &HealthGate, seen: &Observed, before: Option<&Observed>) -> Option<ExceededLimit> {
    let p95_us = seen.p95_us?;
    if let Some(most_ms) = gate.max_latency_p95_ms
        && p95_us > most_ms.saturating_mul(1_000)
    {
        return Some(ExceededLimit::LatencyP95 { p95_us, most_ms });
    }
    let most = gate.max_latency_ratio?;
    let before_us = before?.p95_us?;
    (share(p95_us, before_us.max(1)) > most).then_some(ExceededLimit::LatencyRatio {
        p95_us,
        before_us,
        most,
    })
}

fn exceeds(count: u64, of: u64, most: f64) -> bool {
    count > 0 && share(count, of) > most
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more than 53 bits"
)]
fn share(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}
