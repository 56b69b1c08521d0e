//! Whether something grows.

use hotshoe_release::ratio::{T, ratio_bound};
use serde::Serialize;

use super::aging::Aged;
use super::load::LoadReport;
use super::watch::Point;

/// Fewest points in the second half, and its shortest length in seconds, below which growth is not judged: a daemon warms up for minutes.
const LEAST_POINTS: usize = 12;
const LEAST_SECONDS: f64 = 140.0;
/// Growth of memory over the second half that is not noise, as a share of its mean, if the slope is significant.
const MOST_GROWTH: f64 = 0.01;
/// Factor by which the last quarter may exceed the second one: handles and threads, disk, p95, and p99.9.
const MOST_HANDLES: f64 = 1.05;
const MOST_DISK: f64 = 1.2;
const MOST_P95: f64 = 1.2;
const MOST_P999: f64 = 1.5;
/// Handles and threads of one session, which may come between two points.
const OF_A_SESSION: f64 = 4.0;
/// Share of samples that may fail: at this load, some wait too long while a release is loaded.
const MOST_FAILED: f64 = 0.01;
/// Upper bound of what an aged daemon may cost more than a fresh one.
const MOST_AGED: f64 = 1.05;

/// A judgement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub(super) what: &'static str,
    pub(super) is_good: bool,
    pub(super) found: String,
}

/// What is compared: its name, its value at a point, the factor and the amount by which it may grow.
type Compared = (&'static str, fn(&Point) -> Option<f64>, f64, f64);

/// Judges a soak under load.
pub(super) fn load(report: &LoadReport) -> Vec<Verdict> {
    let counts = &report.counts;
    let failure = counts.failure.as_deref().unwrap_or("no failure");
    let mut verdicts = vec![
        Verdict {
            what: "samples",
            is_good: counts.unanswered == 0
                && counts.failed as f64 <= counts.sent as f64 * MOST_FAILED
                && report.add_up,
            found: format!(
                "{} sent, {} results, {} left out, {} failed, {} unanswered ({failure}); the daemon's counters {}",
                counts.sent,
                counts.results,
                counts.skipped,
                counts.failed,
                counts.unanswered,
                if report.add_up {
                    "add up"
                } else {
                    "do not add up"
                }
            ),
        },
        Verdict {
            what: "swaps",
            is_good: report.swaps > 0 && report.rollbacks > 0,
            found: format!("{} swaps, {} rollbacks", report.swaps, report.rollbacks),
        },
    ];
    let half = report.points.len() / 2;
    let (_, second) = report.points.split_at(half);
    if second.len() < LEAST_POINTS || seconds(second) < LEAST_SECONDS {
        verdicts.push(Verdict {
            what: "growth",
            is_good: true,
            found: "too short to judge: it takes five minutes".to_owned(),
        });
        return verdicts;
    }
    verdicts.push(memory(second));
    let compared: [Compared; 5] = [
        (
            "file handles",
            |it| Some(it.handles as f64),
            MOST_HANDLES,
            OF_A_SESSION,
        ),
        (
            "threads",
            |it| Some(it.threads as f64),
            MOST_HANDLES,
            OF_A_SESSION,
        ),
        ("disk", |it| Some(it.disk_mb), MOST_DISK, 1.0),
        ("p95", |it| it.p95_ms, MOST_P95, 1.0),
        ("p99.9", |it| it.p999_ms, MOST_P999, 5.0),
    ];
    for (what, of, factor, more) in compared {
        verdicts.push(quarters(what, &report.points, of, factor, more));
    }
    verdicts
}

/// The length of a part of a soak.
fn seconds(points: &[Point]) -> f64 {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => last.at_s - first.at_s,
        _ => 0.0,
    }
}

/// Judges the slope of memory by linear regression.
fn memory(points: &[Point]) -> Verdict {
    let pairs: Vec<(f64, f64)> = points.iter().map(|it| (it.at_s, it.private_mb)).collect();
    let (slope, error) = slope(&pairs);
    let seconds = seconds(points);
    let mean = pairs.iter().map(|it| it.1).sum::<f64>() / pairs.len().max(1) as f64;
    let (least, most) = (slope - T * error, slope + T * error);
    Verdict {
        what: "memory",
        is_good: least <= 0.0 || slope * seconds <= MOST_GROWTH * mean,
        found: format!(
            "{mean:.1} MB on average; {:+.2} MB per hour over the second half, {:+.2} to {:+.2} with 95% confidence",
            slope * 3_600.0,
            least * 3_600.0,
            most * 3_600.0
        ),
    }
}

/// The slope of a line through points, and its standard error.
fn slope(pairs: &[(f64, f64)]) -> (f64, f64) {
    let count = pairs.len() as f64;
    if count < 3.0 {
        return (0.0, f64::INFINITY);
    }
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let sxx: f64 = pairs.iter().map(|it| (it.0 - x).powi(2)).sum();
    let sxy: f64 = pairs.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    if sxx <= 0.0 {
        return (0.0, f64::INFINITY);
    }
    let slope = sxy / sxx;
    let rest: f64 = pairs
        .iter()
        .map(|it| (it.1 - y - slope * (it.0 - x)).powi(2))
        .sum();
    (slope, (rest / (count - 2.0) / sxx).sqrt())
}

/// Compares the mean of the last quarter with that of the second one: the first one warms up.
fn quarters(
    what: &'static str,
    points: &[Point],
    of: fn(&Point) -> Option<f64>,
    factor: f64,
    more: f64,
) -> Verdict {
    let quarter = points.len().div_ceil(4).max(1);
    let mean = |number: usize| {
        let part = points.chunks(quarter).nth(number)?;
        let values: Vec<f64> = part.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let (Some(second), Some(last)) = (mean(1), mean(3)) else {
        return Verdict {
            what,
            is_good: false,
            found: "no values in the second or the last quarter".to_owned(),
        };
    };
    Verdict {
        what,
        is_good: last <= second * factor + more,
        found: format!("{second:.1} in the second quarter, {last:.1} in the last"),
    }
}

/// Judges what many swaps left behind.
pub(super) fn aging(aged: &Aged) -> Vec<Verdict> {
    let ratio = |what, ratios: &[f64]| {
        let (mean, bound) = ratio_bound(ratios);
        Verdict {
            what,
            is_good: bound <= MOST_AGED,
            found: format!(
                "{mean:.3} times that of a fresh daemon, at most {bound:.3} with 95% confidence, of {} pairs",
                ratios.len()
            ),
        }
    };
    let (before, after) = (&aged.before, &aged.after);
    vec![
        ratio("sample", &aged.sample_ratios),
        ratio("swap", &aged.swap_ratios),
        Verdict {
            what: "file handles",
            is_good: after.handles as f64 <= before.handles as f64 * MOST_HANDLES + OF_A_SESSION,
            found: format!("{} before, {} after", before.handles, after.handles),
        },
        Verdict {
            what: "disk",
            is_good: after.disk_mb <= before.disk_mb * MOST_DISK + 1.0,
            found: format!(
                "{:.1} MB before, {:.1} MB after",
                before.disk_mb, after.disk_mb
            ),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(memory: impl Fn(f64) -> f64) -> Vec<Point> {
        (0..40)
            .map(|number| Point {
                at_s: f64::from(number) * 10.0,
                private_mb: memory(f64::from(number)),
                ..Point::default()
            })
            .collect()
    }

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let pairs: Vec<_> = (0..10)
            .map(|it| (f64::from(it), 3.0 * f64::from(it) + 1.0))
            .collect();
        let (slope, error) = slope(&pairs);
        assert!(
            (slope - 3.0).abs() < 1e-9 && error < 1e-6,
            "{slope} {error}"
        );
        assert_eq!(super::slope(&[]).0, 0.0);
    }

    #[test]
    fn a_leak_is_growth_and_noise_is_not() {
        let noise = |number: f64| if number % 2.0 == 0.0 { 0.4 } else { -0.4 };
        assert!(memory(&points(|number| 100.0 + noise(number))).is_good);
        // 4 MB of 100 within 400 s.
        assert!(!memory(&points(|number| 100.0 + noise(number) + number * 0.1)).is_good);
        // Significant, and less than 1%.
        assert!(memory(&points(|number| 100.0 + number * 0.01)).is_good);
        assert!(memory(&points(|number| 100.0 - number)).is_good);
    }

    #[test]
    fn the_last_quarter_is_compared_with_the_second() {
        let handles = |of: fn(usize) -> usize| -> Vec<Point> {
            let point = |number| Point {
                handles: of(number),
                ..Point::default()
            };
            (0..40).map(point).collect()
        };
        let judge = |points: &[Point]| {
            quarters(
                "file handles",
                points,
                |it| Some(it.handles as f64),
                1.05,
                4.0,
            )
            .is_good
        };
        assert!(judge(&handles(|number| 60 + number % 3)));
        assert!(judge(&handles(|number| if number < 10 { 20 } else { 60 })));
        assert!(!judge(&handles(|number| 60 + number)));
    }
}
