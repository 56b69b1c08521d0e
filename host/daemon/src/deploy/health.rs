//! Whether a trial is as good as its release promises. Pure: counts and a time go in, a verdict comes out.
//!
//! Some samples are bad, and no release is to blame for them. So the error rate of a trial is held against `max-error-rate` or against
//! the rate that the release before it had on the same stream, whichever is higher. Traps and missed deadlines are never the
//! sample's fault, and are compared with nothing.

use std::fmt;
use std::time::Duration;

use hotshoe_store::Cause;
use hotshoe_trust::HealthGate;

use crate::deploy::observed::Observed;

/// What the gate says now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Too few samples, or too little time.
    Wait,
    /// The trial keeps every limit.
    Confirm,
    /// It does not.
    Fail(Failing),
}

/// The limit that a trial does not keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failing {
    /// Samples fail, more often than they may and than they did before.
    ErrorRate {
        /// Failed samples.
        errors: u64,
        /// Of so many.
        samples: u64,
        /// The share that may fail.
        most: f64,
    },
    /// Components break off.
    TrapRate {
        /// Samples by which one did.
        traps: u64,
        /// Of so many.
        samples: u64,
        /// The share that may.
        most: f64,
    },
    /// Components run past their deadlines.
    DeadlineMisses {
        /// Samples by which one did.
        misses: u64,
        /// Of so many.
        samples: u64,
        /// The share that may.
        most: f64,
    },
    /// Slower than the release allows itself.
    LatencyP95 {
        /// The 95th percentile, in microseconds.
        p95_us: u64,
        /// The most that it may be, in milliseconds.
        most_ms: u64,
    },
    /// Slower than the release before it by more than it may be.
    LatencyRatio {
        /// The 95th percentile, in microseconds.
        p95_us: u64,
        /// That of the release before, in microseconds.
        before_us: u64,
        /// The most that their ratio may be.
        most: f64,
    },
}

impl Failing {
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

    /// As the ledger and events carry it.
    pub fn cause(self) -> Cause {
        Cause::new(self.name(), self.to_string())
    }
}

impl fmt::Display for Failing {
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

/// Judges a trial by what was seen of it in `elapsed`, and by what was last seen of the release before it.
///
/// A share that may fail is held against `min-samples` until there are as many, so that a trial fails as soon as nothing that
/// comes can save it. The release before counts only with at least `min-samples` of its own.
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
    if seen.samples < gate.min_samples {
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

fn rates(gate: &HealthGate, seen: &Observed, before: Option<&Observed>) -> Option<Failing> {
    let samples = seen.samples;
    let of = samples.max(gate.min_samples);
    if exceeds(seen.traps, of, gate.max_trap_rate) {
        let (traps, most) = (seen.traps, gate.max_trap_rate);
        return Some(Failing::TrapRate {
            traps,
            samples,
            most,
        });
    }
    if exceeds(seen.deadline_misses, of, gate.max_deadline_miss_rate) {
        let (misses, most) = (seen.deadline_misses, gate.max_deadline_miss_rate);
        return Some(Failing::DeadlineMisses {
            misses,
            samples,
            most,
        });
    }
    let usual = before.map_or(0.0, |before| share(before.errors, before.samples));
    let most = gate.max_error_rate.max(usual);
    let errors = seen.errors;
    exceeds(errors, of, most).then_some(Failing::ErrorRate {
        errors,
        samples,
        most,
    })
}

fn latency(gate: &HealthGate, seen: &Observed, before: Option<&Observed>) -> Option<Failing> {
    let p95_us = seen.p95_us?;
    if let Some(most_ms) = gate.max_latency_p95_ms
        && p95_us > most_ms.saturating_mul(1_000)
    {
        return Some(Failing::LatencyP95 { p95_us, most_ms });
    }
    let most = gate.max_latency_ratio?;
    let before_us = before?.p95_us?;
    (share(p95_us, before_us.max(1)) > most).then_some(Failing::LatencyRatio {
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
