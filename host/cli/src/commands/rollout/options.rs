//! Groups of options of a plan: its gates, its comparison, its budget.

use anyhow::{Context, bail};
use hotshoe_drift::{Source, Take};
use hotshoe_rollout::{
    Budget, Compare, DEFAULT_COMPARED_SAMPLES, Gate, MAX_COMPARED_SAMPLES, MIN_COMPARED_SAMPLES,
};

use super::making::share;

/// What must be true before the next stage.
#[derive(Debug, clap::Args)]
pub(super) struct GateArgs {
    /// Most devices that may fail [default: no limit beside the share of 2%]
    #[arg(long, value_name = "N")]
    max_failed: Option<u64>,
    /// Samples that the release must have served before a rate or a figure counts, and before the next stage
    #[arg(long, value_name = "N", default_value_t = Gate::default().min_samples)]
    min_samples: u64,
    /// Most of the previous release's p95 latency, in thousandths [default: no limit]
    #[arg(long, value_name = "PERMILLE")]
    max_latency_permille: Option<u64>,
    /// Most of the previous release's energy of a sample, in thousandths [default: no limit]
    #[arg(long, value_name = "PERMILLE")]
    max_energy_permille: Option<u64>,
    /// Most drift from the baseline of the release, in thousandths of its thresholds [default: no limit]
    #[arg(long, value_name = "PERMILLE")]
    max_drift_permille: Option<u64>,
}

impl GateArgs {
    pub(super) fn gate(&self) -> Gate {
        Gate {
            max_failed: self.max_failed,
            min_samples: self.min_samples,
            max_latency_permille: self.max_latency_permille,
            max_energy_permille: self.max_energy_permille,
            max_drift_permille: self.max_drift_permille,
            ..Gate::default()
        }
    }
}

/// A comparison with the previous release.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Let half of the devices keep the previous release at first, and compare the mean of this number of insights: from 0 to 1, and more is better
    #[arg(long, value_name = "METRIC")]
    compare: Option<String>,
    /// Samples of each device that make its value
    #[arg(
        long, value_name = "N", default_value_t = DEFAULT_COMPARED_SAMPLES, requires = "compare",
        value_parser = clap::value_parser!(u64).range(MIN_COMPARED_SAMPLES..=MAX_COMPARED_SAMPLES)
    )]
    compare_samples: u64,
    /// The last stage in which the half keeps the previous release [default: the last but one]
    #[arg(long, value_name = "STAGE", requires = "compare")]
    compare_through: Option<u32>,
    /// Most probability of a verdict if both are alike, over all looks together
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share, requires = "compare")]
    compare_alpha: u32,
}

impl CompareArgs {
    /// The comparison of a plan whose last stage is this.
    pub(super) fn compare(&self, last_stage: u32) -> anyhow::Result<Option<Compare>> {
        let Some(metric) = &self.compare else {
            return Ok(None);
        };
        let source: Source = metric.parse().context("cannot compare")?;
        let Source::Number {
            take: Take::Mean | Take::Min | Take::Max,
            ..
        } = source
        else {
            bail!(
                "`{metric}` cannot be compared; write mean, min or max with a number of insights, as `mean(lines.*.score)`"
            );
        };
        Ok(Some(Compare {
            metric: source.to_string(),
            samples: self.compare_samples,
            through_stage: self
                .compare_through
                .unwrap_or_else(|| last_stage.saturating_sub(1)),
            alpha_ppm: self.compare_alpha,
        }))
    }
}

/// What downloads may take.
#[derive(Debug, clap::Args)]
pub(super) struct BudgetArgs {
    /// Most bytes per second of all sites together, for which the starts of a stage are spread further if need be [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_bytes_per_second: Option<u64>,
    /// The same for each site
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_site_bytes_per_second: Option<u64>,
}

impl BudgetArgs {
    pub(super) const fn budget(&self) -> Budget {
        Budget {
            fleet: self.max_bytes_per_second,
            site: self.max_site_bytes_per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn compared(metric: &str) -> anyhow::Result<Option<Compare>> {
        let args = CompareArgs {
            compare: Some(metric.to_owned()),
            compare_samples: 100,
            compare_through: None,
            compare_alpha: 50_000,
        };
        args.compare(4)
    }

    #[test]
    fn a_comparison_is_of_a_number_from_insights_and_ends_before_the_last_stage() {
        let compare = compared("mean(lines.*.score)").unwrap().unwrap();
        assert_eq!(compare.metric, "mean(lines.*.score)");
        assert_eq!((compare.through_stage, compare.alpha_ppm), (3, 50_000));
        for wrong in [
            "score",
            "count(lines)",
            "label(classes.0.label)",
            "brightness(@sample)",
        ] {
            assert!(compared(wrong).is_err(), "{wrong}");
        }
    }
}
