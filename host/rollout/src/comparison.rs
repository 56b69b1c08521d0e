//! The comparison of the release with the one before it, over the fleet.

use serde::Serialize;

use crate::{
    fleet::{Fleet, MIN_REMAINING_DEVICES},
    plan::Compare,
    share::Arm,
    verdict::{ArmFigures, Verdict, compare},
};

/// An arm of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ArmSummary {
    /// Devices that gave a value.
    pub devices: u64,
    /// The mean of their values. `None` without devices.
    pub mean: Option<f64>,
}

/// What a comparison says so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric, such as `mean(lines.*.score)`.
    pub metric: String,
    /// Samples of each device that make its value.
    pub samples: u64,
    /// Devices with the release.
    pub new: ArmSummary,
    /// Devices that keep the one before it.
    pub kept: ArmSummary,
    /// `better`, `worse` or `not-known`.
    pub verdict: &'static str,
    /// Further devices of each arm that the difference so far would need. `None` with a verdict, or if both arms are alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
}

impl Comparison {
    /// What is known by the newest counts.
    pub fn of(plan: &Compare, fleet: &Fleet) -> Self {
        let (new, kept) = (fleet.arm(Arm::New), fleet.arm(Arm::Kept));
        let (verdict, needed) = match judge(plan, fleet) {
            Verdict::Better => ("better", None),
            Verdict::Worse => ("worse", None),
            Verdict::NotKnown { needed } => ("not-known", needed),
        };
        let arm = |figures: &ArmFigures| ArmSummary {
            devices: figures.samples,
            mean: figures.mean(),
        };
        let has = new.samples.min(kept.samples);
        Self {
            metric: plan.metric.clone(),
            samples: plan.samples,
            new: arm(&new),
            kept: arm(&kept),
            verdict,
            needed: needed.map(|needed| needed.saturating_sub(has).max(1)),
        }
    }
}

/// The verdict over the fleet. `Better` must be known without any one site too, where 20 devices remain: a registry that reports good values
/// lets no release pass.
pub(crate) fn judge(plan: &Compare, fleet: &Fleet) -> Verdict {
    let (new, kept) = (fleet.arm(Arm::New), fleet.arm(Arm::Kept));
    let whole = compare(&new, &kept, plan.alpha_ppm);
    if whole != Verdict::Better {
        return whole;
    }
    let rests = fleet.site_arms().map(|[site_new, site_kept]| {
        let (new, kept) = (new.without(&site_new), kept.without(&site_kept));
        let remaining = new.samples.saturating_add(kept.samples);
        (remaining >= MIN_REMAINING_DEVICES).then(|| compare(&new, &kept, plan.alpha_ppm))
    });
    let mut unlike = rests.flatten().filter(|rest| *rest != Verdict::Better);
    match unlike.next() {
        None => Verdict::Better,
        Some(Verdict::NotKnown { needed }) => Verdict::NotKnown { needed },
        Some(_) => Verdict::NotKnown { needed: None },
    }
}
