//! The gate of a stage: whether the next stage may follow.

use hotshoe_store::Cause;
use serde::{Deserialize, Serialize};

use crate::{
    checks::{WHOLE_PPM, within},
    error::RolloutError,
    figures::{Figures, Tally},
    quantiles::Quantiles,
};

/// What must be true of all devices that a rollout has reached. Shares are in millionths, ratios in thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Gate {
    /// At least this share of the devices that reached an end confirmed the release. Default: 950,000.
    pub min_success_ppm: u32,
    /// At most so many devices failed. Default: no limit.
    pub max_failed: Option<u64>,
    /// At most this share of devices failed. Default: 20,000.
    pub max_failed_ppm: u32,
    /// At most this share of devices is silent. Default: 200,000.
    pub max_silent_ppm: u32,
    /// At most this share of samples ended with an error. Default: 50,000.
    pub max_error_ppm: u32,
    /// At most this share of samples trapped. Default: 0.
    pub max_trap_ppm: u32,
    /// At most this multiple of the previous release's latency of 95 in 100 samples, in the same mode. Default: no limit.
    pub max_latency_permille: Option<u64>,
    /// At most this multiple of the previous release's median energy of a sample, in the same mode. Default: no limit.
    pub max_energy_permille: Option<u64>,
    /// At most this drift of 95 in 100 samples, in thousandths of the thresholds of the release. Default: no limit.
    pub max_drift_permille: Option<u64>,
    /// Samples that a rate or a figure needs, of each release where two are compared. Default: 20. A figure with a limit needs one at least.
    pub min_samples: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            min_success_ppm: 950_000,
            max_failed: None,
            max_failed_ppm: 20_000,
            max_silent_ppm: 200_000,
            max_error_ppm: 50_000,
            max_trap_ppm: 0,
            max_latency_permille: None,
            max_energy_permille: None,
            max_drift_permille: None,
            min_samples: 20,
        }
    }
}

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Devices or samples are still missing.
    Open,
    /// All is as it must be.
    Pass,
    /// Too little is known to decide, and waiting longer would not help.
    NotEnough(Cause),
    /// A limit is exceeded.
    Fail(Cause),
}

impl Gate {
    pub(crate) fn check(&self) -> Result<(), RolloutError> {
        for (what, share) in [
            ("min-success-ppm", self.min_success_ppm),
            ("max-failed-ppm", self.max_failed_ppm),
            ("max-silent-ppm", self.max_silent_ppm),
            ("max-error-ppm", self.max_error_ppm),
            ("max-trap-ppm", self.max_trap_ppm),
        ] {
            within(what, share.into(), 0, WHOLE_PPM.into())?;
        }
        Ok(())
    }

    /// Judges the figures. `is_over` says that the deadline of the stage has passed, so that nothing more is waited for.
    ///
    /// A limit counts at once. It must also be kept without any one site, so that a registry that lies about its site hides nothing
    /// of the others.
    pub fn judge(&self, figures: &Figures, is_over: bool) -> Outcome {
        if let Some(cause) = self.failure(figures) {
            return Outcome::Fail(cause);
        }
        let whole = &figures.whole;
        if (whole.open > 0 || figures.behind > 0) && !is_over {
            return Outcome::Open;
        }
        if exceeds(whole.silent, whole.total, self.max_silent_ppm) {
            return Outcome::NotEnough(Cause::new(
                "too_many_silent",
                format!("{} of {} devices are silent", whole.silent, whole.total),
            ));
        }
        if whole.confirmed == 0 {
            return not_enough(is_over, "no device has confirmed the release".to_owned());
        }
        if whole.samples < self.min_samples {
            let (has, needs) = (whole.samples, self.min_samples);
            return not_enough(is_over, format!("{has} of {needs} samples"));
        }
        match self.missing_figure(figures) {
            Some(message) => not_enough(is_over, message),
            None => Outcome::Pass,
        }
    }

    /// The first figure with a limit that too few samples are known of.
    fn missing_figure(&self, figures: &Figures) -> Option<String> {
        let (new, old) = (&figures.health, &figures.baseline);
        let latency = self.max_latency_permille.is_some();
        let energy = self.max_energy_permille.is_some();
        let drift = self.max_drift_permille.is_some();
        let needs = self.min_samples.max(1);
        [
            (latency, "latency", "", &new.latency_ms),
            (
                latency,
                "latency",
                " of the previous release",
                &old.latency_ms,
            ),
            (energy, "energy", "", &new.energy_mj),
            (energy, "energy", " of the previous release", &old.energy_mj),
            (drift, "drift", "", &new.drift_permille),
        ]
        .into_iter()
        .find(|(has_limit, _, _, known)| *has_limit && known.count() < needs)
        .map(|(_, what, of, known)| {
            let has = known.count();
            format!("the {what} of {has} of {needs} samples{of} is known")
        })
    }

    fn failure(&self, figures: &Figures) -> Option<Cause> {
        let tally = self.tally_failure(&figures.whole, "");
        let mut without = figures.without.iter();
        tally
            .or_else(|| {
                without.find_map(|(site, rest)| {
                    self.tally_failure(rest, &format!(", without site {site}"))
                })
            })
            .or_else(|| self.figure_failure(figures))
    }

    fn tally_failure(&self, tally: &Tally, part: &str) -> Option<Cause> {
        let Tally { total, failed, .. } = *tally;
        if self.max_failed.is_some_and(|most| failed > most) {
            let message = format!("{failed} devices failed{part}");
            return Some(Cause::new("too_many_failed", message));
        }
        if exceeds(failed, total, self.max_failed_ppm) {
            let message = format!("{failed} of {total} devices failed{part}");
            return Some(Cause::new("failed_share", message));
        }
        let ended = tally.confirmed.saturating_add(failed);
        let missing = WHOLE_PPM.saturating_sub(self.min_success_ppm);
        if tally.open == 0 && exceeds(failed, ended, missing) {
            let confirmed = tally.confirmed;
            let message = format!("{confirmed} of {ended} devices confirmed it{part}");
            return Some(Cause::new("success_share", message));
        }
        if tally.samples < self.min_samples {
            return None;
        }
        let samples = tally.samples;
        if exceeds(tally.errors, samples, self.max_error_ppm) {
            let message = format!("{} of {samples} samples failed{part}", tally.errors);
            return Some(Cause::new("error_rate", message));
        }
        if exceeds(tally.traps, samples, self.max_trap_ppm) {
            let message = format!("trapped on {} of {samples} samples{part}", tally.traps);
            return Some(Cause::new("trap_rate", message));
        }
        None
    }

    /// Figures that are compared with the previous release, or have a limit.
    fn figure_failure(&self, figures: &Figures) -> Option<Cause> {
        let (new, old) = (&figures.health, &figures.baseline);
        let known = |it: &Quantiles, q| it.quantile(q).filter(|_| it.count() >= self.min_samples);
        let ratio = |new: &Quantiles, old: &Quantiles, q, most: Option<u64>| {
            let (new, old, most) = (known(new, q)?, known(old, q)?, most?);
            (new * 1_000.0 > old * most as f64).then_some((new, old))
        };
        let most = self.max_latency_permille;
        if let Some((new, old)) = ratio(&new.latency_ms, &old.latency_ms, 0.95, most) {
            let message = format!("p95 is {new:.1} ms, that of the previous release {old:.1} ms");
            return Some(Cause::new("latency_ratio", message));
        }
        let most = self.max_energy_permille;
        if let Some((new, old)) = ratio(&new.energy_mj, &old.energy_mj, 0.5, most) {
            let message = format!("{new:.1} mJ each, the previous release {old:.1} mJ");
            return Some(Cause::new("energy_ratio", message));
        }
        let drift = known(&new.drift_permille, 0.95)?;
        let most = self.max_drift_permille?;
        // The bin of a value is 2% wide on each side.
        (drift > most as f64 * 1.02).then(|| {
            let message = format!(
                "p95 of the drift is {drift:.0} thousandths of its threshold; {most} are allowed"
            );
            Cause::new("drift", message)
        })
    }
}

fn not_enough(is_over: bool, message: String) -> Outcome {
    if is_over {
        Outcome::NotEnough(Cause::new("not_enough_evidence", message))
    } else {
        Outcome::Open
    }
}

/// Whether `part` is more than the share of `whole`.
fn exceeds(part: u64, whole: u64, share_ppm: u32) -> bool {
    u128::from(part) * u128::from(WHOLE_PPM) > u128::from(whole) * u128::from(share_ppm)
}
